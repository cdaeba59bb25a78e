"""Names of slices in files that hold several: FILE#FRAME, with frames counted from 0.

So a slice of a volume goes wherever the path of an image goes: into tables, splits and caches.
"""

import os
import re
from pathlib import Path

_FRAME = re.compile(r"(?s)(?P<file>.+)#(?P<frame>\d{1,9})")


def frame_path(path: str | Path, frame: int | None) -> Path:
    """Return the path that names one slice of a file; the file itself where `frame` is None.

    >>> frame_path("p1.nii.gz", 12).name
    'p1.nii.gz#12'
    """
    return Path(path) if frame is None else Path(f"{path}#{frame}")


def split_frame_path(path: str | Path) -> tuple[Path, int | None]:
    """Return the file and the frame that a path names.

    A file that is called so itself is that file.

    >>> [str(part) for part in split_frame_path("p1.nii.gz#12")]
    ['p1.nii.gz', '12']
    """
    found = _FRAME.fullmatch(os.fspath(path))
    if found is None or os.path.lexists(path):
        return Path(path), None
    return Path(found["file"]), int(found["frame"])


def file_of(path: str | Path) -> Path:
    """Return the file that holds what a path names."""
    return split_frame_path(path)[0]
