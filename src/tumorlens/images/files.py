"""Which files of a folder are meant as scans."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tumorlens.images.raster import SUFFIXES

# Files that lie beside scans and are not meant as scans; anything else is tried.
BESIDE = frozenset({".csv", ".json", ".txt", ".md", ".html", ".xml", ".yaml", ".yml", ".pdf",
                    ".xlsx", ".zip", ".gz", ".py", ".ipynb", ".log"})  # fmt: skip


def find_scans(paths: Iterable[str | Path]) -> list[Path]:
    """List every scan under `paths`, sorted within each; nothing is dropped in silence.

    A file named outright is always listed. In a folder, hidden files and the kinds in BESIDE
    are passed over; a folder named like an image, a broken link and a link that leads back up
    are listed, so that reading them gives an error that can be shown.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        found.extend(sorted(_walk(path, frozenset())) if os.path.isdir(path) else [path])
    return found


def _walk(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:
        yield folder
        return
    try:
        entries = os.scandir(folder)
    except OSError:
        yield folder
        return
    with entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if _is_folder(entry) and path.suffix.lower() not in SUFFIXES:
                yield from _walk(path, above | {real})
            elif path.suffix.lower() not in BESIDE:
                yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
