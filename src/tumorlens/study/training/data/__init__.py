"""What an epoch shows: subsets, augmentation, counterfactual and synthetic lesions."""
