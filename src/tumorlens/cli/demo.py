"""x."""

def register(app):
    """x."""
