"""Prepared images on disk, so that every epoch and run after the first decodes nothing.

One folder per input spec; in it, chunks of prepared images (`*.npy`, memory-mapped uint8) with
the content hashes they belong to (`*.keys`). A chunk is written whole and then renamed, so a
killed run leaves what it finished and nothing half-written, and two runs can share a cache.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import ImageError, UnreadableImageError
from tumorlens.images.raster import read_scan
from tumorlens.inputs.prepare import InputSpec, prepare

CHUNK = 2048
Progress = Callable[[int, int], None]


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
    folder = cache / "prepared" / _spec_key(spec)
    folder.mkdir(parents=True, exist_ok=True)
    hashes = hash_files(paths)
    stored = _load_index(folder)
    first_of: dict[str, int] = {}
    for position, key in enumerate(hashes):
        if key not in stored:
            first_of.setdefault(key or f"unreadable {position}", position)
    errors, done = {}, len(paths) - len(first_of)
    for positions in _in_chunks(list(first_of.values())):
        made = _prepare_chunk([paths[p] for p in positions], spec)
        good = [(p, m) for p, m in zip(positions, made, strict=True) if isinstance(m, np.ndarray)]
        errors |= {p: _unhashed(paths[p]) for p, _ in good if not hashes[p]}
        good = [(p, m) for p, m in good if hashes[p]]
        errors |= {p: m for p, m in zip(positions, made, strict=True) if isinstance(m, ImageError)}
        if good:
            _write_chunk(folder, [hashes[p] for p, _ in good], np.stack([m for _, m in good]))
        done += len(positions)
        if progress:
            progress(done, len(paths))
    return _gather(paths, hashes, folder, spec, errors)


def hash_files(paths: Sequence[Path]) -> tuple[str, ...]:
    """Give the sha256 of each file's bytes, "" for a file that cannot be read."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return tuple(pool.map(_hash_file, paths, chunksize=64))


def _hash_file(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    except (OSError, ValueError):
        return ""


def _spec_key(spec: InputSpec) -> str:
    text = json.dumps(spec.to_json(), sort_keys=True)
    return f"{spec.side}px-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _in_chunks(items: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


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


def _write_chunk(folder: Path, keys: Sequence[str], pixels: NDArray[np.uint8]) -> None:
    name = uuid.uuid4().hex
    partial = folder / f"{name}.partial"
    with partial.open("wb") as file:
        np.save(file, pixels)
    partial.replace(folder / f"{name}.npy")
    # The keys come last: a chunk without them is not seen.
    partial.write_text("\n".join(keys), encoding="ascii")
    partial.replace(folder / f"{name}.keys")


def _load_index(folder: Path) -> dict[str, tuple[Path, int]]:
    index: dict[str, tuple[Path, int]] = {}
    for keys in sorted(folder.glob("*.keys")):
        rows = keys.read_text(encoding="ascii").split("\n")
        index |= {key: (keys.with_suffix(".npy"), row) for row, key in enumerate(rows)}
    return index


def _gather(
    paths: Sequence[Path],
    hashes: tuple[str, ...],
    folder: Path,
    spec: InputSpec,
    errors: dict[int, ImageError],
) -> PreparedSet:
    stored = _load_index(folder)
    by_hash = {hashes[p]: error for p, error in errors.items() if hashes[p]}
    pixels = np.zeros((len(paths), spec.side, spec.side), np.uint8)
    chunks: dict[Path, NDArray[np.uint8]] = {}
    for position, key in enumerate(hashes):
        if key in stored:
            chunk, row = stored[key]
            if chunk not in chunks:
                chunks[chunk] = np.load(chunk, mmap_mode="r")
            pixels[position] = chunks[chunk][row]
        elif position not in errors:
            twin = by_hash[key]
            errors[position] = type(twin)(paths[position], twin.fact, twin.fix)
    return PreparedSet(pixels, errors, hashes)
