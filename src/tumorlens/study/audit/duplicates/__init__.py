"""Which files show the same image."""
