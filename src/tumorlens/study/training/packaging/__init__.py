"""A trained network becomes a bundle."""
