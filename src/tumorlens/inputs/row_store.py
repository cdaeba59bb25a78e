"""Rows of arrays on disk, found again by the content of the file each was made from.

A folder holds chunks (`*.npy`, memory-mapped) and beside each the content hashes of its rows
(`*.keys`). A chunk is written whole and then renamed, so a killed run leaves what it finished
and nothing half-written, and two runs can share a folder.
"""

import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.files import open_file, replacing, write_file
from tumorlens.images.frames import split_frame_path

CHUNK = 2048  # rows
MAX_OPEN = 256  # chunks
Place = tuple[Path, int]  # a chunk and a row in it


def hash_files(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the sha256 of each file's bytes, "" for a file that cannot be read.

    Of a path that names a slice, FILE#FRAME, it is the `row_key` of that slice.
    """
    named = [split_frame_path(path) for path in paths]
    files = list(dict.fromkeys(file for file, _ in named))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(files, pool.map(_hash_file, files, chunksize=64), strict=True))
    return tuple(row_key(found[file], frame) for file, frame in named)


def _hash_file(path: Path) -> str:
    try:
        with open_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""


def row_key(content: str, frame: int | None = None) -> str:
    """Return the key of one slice of a file: its content's hash, and its frame where it has one.

    An unreadable file has none.
    """
    return f"{content}#{frame}" if content and frame is not None else content


def in_chunks(items: Sequence[int]) -> Iterator[Sequence[int]]:
    """Cut a list into pieces of at most CHUNK."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


def write_chunk(folder: Path, keys: Sequence[str], rows: NDArray) -> None:
    """Add rows, [n, ...], under their keys."""
    name = uuid.uuid4().hex
    with replacing(folder / f"{name}.npy") as partial, partial.open("wb") as file:
        np.save(file, rows)
    # The keys come last: a chunk without them is not seen.
    write_file(folder / f"{name}.keys", "\n".join(keys))


def load_index(folder: Path) -> dict[str, Place]:
    """Say where the row of each key is; a chunk that was lost or emptied has none."""
    index: dict[str, Place] = {}
    for keys in sorted(folder.glob("*.keys")):
        rows = keys.with_suffix(".npy")
        if not rows.exists() or not rows.stat().st_size:
            continue
        names = keys.read_text(encoding="ascii").split("\n")
        index |= {key: (rows, row) for row, key in enumerate(names)}
    return index


class Rows:
    """Rows of several chunks as one list; only what is taken is read."""

    def __init__(self, places: Sequence[Place | None]) -> None:
        """Find the chunks; a position without a place has no row."""
        files = sorted({place[0] for place in places if place})
        # An open chunk holds a file descriptor, of which a process has about a thousand.
        self._open = lru_cache(MAX_OPEN)(lambda number: np.load(files[number], mmap_mode="r"))
        number = {file: i for i, file in enumerate(files)}
        self._chunk = np.array([number[p[0]] if p else -1 for p in places], np.int64)
        self._row = np.array([p[1] if p else 0 for p in places], np.int64)

    def take(
        self,
        positions: NDArray[np.int64],
        out: NDArray,
        *,
        field: str = "",
        part: NDArray[np.int64] | None = None,
    ) -> NDArray:
        """Fill `out`, [len(positions), ...], from the rows (one `field` of them) and return it.

        With `part`, [len(positions)], each takes that one along the field's first axis.
        Positions without a row leave their part of `out` as it is.
        """
        wanted = self._chunk[positions]
        for number in np.unique(wanted[wanted >= 0]).tolist():
            chosen = np.flatnonzero(wanted == number)
            chunk = self._open(number)
            source = chunk[field] if field else chunk
            rows = self._row[positions[chosen]]
            out[chosen] = source[rows] if part is None else source[rows, part[chosen]]
        return out
