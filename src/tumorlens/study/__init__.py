"""The bench that makes bundles: data sets, splits, networks, training, evaluation."""
