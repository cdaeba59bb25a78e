"""One runner of many networks: folds, learning curve, tuning, hypotheses."""
