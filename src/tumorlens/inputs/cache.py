"""Prepared images on disk, so that every epoch and run after the first decodes nothing.

One folder per input spec, with chunks of uint8 squares in it.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import ImageError, UnreadableImageError
from tumorlens.images.raster import read_scan
from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.inputs.row_store import Rows, hash_files, in_chunks, load_index, write_chunk
from tumorlens.progress import Progress


@dataclass(frozen=True)
class PreparedSet:
    """Prepared images of a list of files, in its order."""

    pixels: NDArray[np.uint8]  # [n, side, side]; zeros where a file failed
    errors: dict[int, ImageError]  # position -> why that file could not be prepared
    hashes: tuple[str, ...]  # sha256 of each file's bytes, "" where it could not be read

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which positions hold an image, [n]."""
        flags = np.ones(len(self.pixels), bool)
        flags[list(self.errors)] = False
        return flags


def prepare_files(
    paths: Sequence[Path],
    spec: InputSpec,
    *,
    cache: Path,
    progress: Progress | None = None,
) -> PreparedSet:
    """Prepare files, each distinct content once; keep the results under `cache`."""
    folder = _folder(cache, spec)
    hashes = hash_files(paths)
    stored = load_index(folder)
    first_of: dict[str, int] = {}
    for position, key in enumerate(hashes):
        if key not in stored:
            first_of.setdefault(key or f"unreadable {position}", position)
    errors, done = {}, len(paths) - len(first_of)
    for positions in in_chunks(list(first_of.values())):
        made = _prepare_chunk([paths[p] for p in positions], spec)
        good = [(p, m) for p, m in zip(positions, made, strict=True) if isinstance(m, np.ndarray)]
        errors |= {p: _unhashed(paths[p]) for p, _ in good if not hashes[p]}
        good = [(p, m) for p, m in good if hashes[p]]
        errors |= {p: m for p, m in zip(positions, made, strict=True) if isinstance(m, ImageError)}
        if good:
            write_chunk(folder, [hashes[p] for p, _ in good], np.stack([m for _, m in good]))
        done += len(positions)
        if progress:
            progress(done, len(paths))
    return _gather(paths, hashes, folder, spec, errors)


def keep_prepared(
    hashes: Sequence[str], pixels: NDArray[np.uint8], spec: InputSpec, *, cache: Path
) -> None:
    """Keep squares, [n, side, side], that were prepared elsewhere, by the hash of their files."""
    folder = _folder(cache, spec)
    stored = load_index(folder)
    new = [row for row, key in enumerate(hashes) if key not in stored]
    if new:
        write_chunk(folder, [hashes[row] for row in new], pixels[new])


def _folder(cache: Path, spec: InputSpec) -> Path:
    folder = cache / "prepared" / _spec_key(spec)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _spec_key(spec: InputSpec) -> str:
    text = json.dumps(spec.to_json(), sort_keys=True)
    return f"{spec.side}px-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _prepare_chunk(paths: Sequence[Path], spec: InputSpec) -> list[NDArray[np.uint8] | ImageError]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda path: _prepare_file(path, spec), paths))


def _prepare_file(path: Path, spec: InputSpec) -> NDArray[np.uint8] | ImageError:
    try:
        return prepare(read_scan(path), spec).pixels
    except ImageError as error:
        return error


def _unhashed(path: Path) -> ImageError:
    return UnreadableImageError(path, "could not be read at first", "Try again.")


def _gather(
    paths: Sequence[Path],
    hashes: tuple[str, ...],
    folder: Path,
    spec: InputSpec,
    errors: dict[int, ImageError],
) -> PreparedSet:
    stored = load_index(folder)
    by_hash = {hashes[p]: error for p, error in errors.items() if hashes[p]}
    pixels = np.zeros((len(paths), spec.side, spec.side), np.uint8)
    Rows([stored.get(key) for key in hashes]).take(np.arange(len(paths)), pixels)
    for position, key in enumerate(hashes):
        if key not in stored and position not in errors:
            twin = by_hash[key]
            errors[position] = type(twin)(paths[position], twin.fact, twin.fix)
    return PreparedSet(pixels, errors, hashes)
