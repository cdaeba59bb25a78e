"""Names that the store gives to files whose own names are not kept."""

from pathlib import PurePosixPath

from tumorlens.images.raster import SUFFIXES


def nameless(digest: str, name: str) -> str:
    """Give a name made of the scan's hash: the sender can find it, and it names nobody.

    >>> nameless("0123456789abcdef" * 4, "Doe_Jane.PNG")
    'scan-0123456789ab.png'
    """
    suffix = PurePosixPath(name).suffix.lower()
    return f"scan-{digest[:12]}{suffix if suffix in SUFFIXES else ''}"
