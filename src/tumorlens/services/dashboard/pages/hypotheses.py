"""."""


def show() -> None:
    """."""
