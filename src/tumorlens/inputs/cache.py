"""Prepared images on disk, so that every epoch and run after the first decodes nothing.

One folder per input spec, with chunks of uint8 squares in it.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import ImageError, UnreadableImageError
from tumorlens.inputs.prepare import InputSpec, prepare_file
from tumorlens.inputs.row_store import (
    Place,
    Rows,
    hash_files,
    in_chunks,
    load_index,
    row_key,
    write_chunk,
)
from tumorlens.progress import Progress, silent
from tumorlens.records import PreparedScan, Unusable


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
    frames: Sequence[int | None] | None = None,
    progress: Progress = silent,
) -> PreparedSet:
    """Prepare one slice of each file, each distinct one once; keep the results under `cache`.

    `frames` names the slice of each file where files hold several.
    """
    folder = _folder(cache, spec)
    hashes = hash_files(paths)
    wanted = [None] * len(paths) if frames is None else frames
    keys = [row_key(content, frame) for content, frame in zip(hashes, wanted, strict=True)]
    new = _first_of_each(keys, load_index(folder))
    errors: dict[int, ImageError] = {}
    done = len(paths) - len(new)
    for positions in in_chunks(new):
        made = _prepare_chunk([(paths[p], wanted[p]) for p in positions], spec)
        squares = {}
        for position, item in zip(positions, made, strict=True):
            if isinstance(item, Unusable):
                errors[position] = item.error
            elif not keys[position]:
                errors[position] = _unhashed(paths[position])
            else:
                squares[keys[position]] = item.pixels
        if squares:
            write_chunk(folder, list(squares), np.stack(list(squares.values())))
        done += len(positions)
        progress(done, len(paths))
    index = load_index(folder)
    pixels = np.zeros((len(paths), spec.side, spec.side), np.uint8)
    Rows([index.get(key) for key in keys]).take(np.arange(len(paths)), pixels)
    return PreparedSet(pixels, errors | _errors_of_twins(paths, keys, index, errors), hashes)


def keep_prepared(
    keys: Sequence[str], pixels: NDArray[np.uint8], spec: InputSpec, *, cache: Path
) -> None:
    """Keep squares, [n, side, side], that were prepared elsewhere, by their `row_key`."""
    folder = _folder(cache, spec)
    stored = load_index(folder)
    new = [row for row, key in enumerate(keys) if key not in stored]
    if new:
        write_chunk(folder, [keys[row] for row in new], pixels[new])


def _folder(cache: Path, spec: InputSpec) -> Path:
    folder = cache / "prepared" / _spec_key(spec)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _spec_key(spec: InputSpec) -> str:
    text = json.dumps(spec.to_json(), sort_keys=True)
    return f"{spec.side}px-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _prepare_chunk(
    named: Sequence[tuple[Path, int | None]], spec: InputSpec
) -> list[PreparedScan | Unusable]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda one: prepare_file(one[0], spec, frame=one[1]), named))


def _unhashed(path: Path) -> ImageError:
    return UnreadableImageError(path, "could not be read at first", "Try again.")


def _first_of_each(keys: Sequence[str], stored: Mapping[str, Place]) -> list[int]:
    """Return the first position of each key that is not stored, and every one without a key."""
    first: dict[str, int] = {}
    for position, key in enumerate(keys):
        if key not in stored:
            first.setdefault(key or f"unreadable {position}", position)
    return list(first.values())


def _errors_of_twins(
    paths: Sequence[Path],
    keys: Sequence[str],
    index: Mapping[str, Place],
    errors: Mapping[int, ImageError],
) -> dict[int, ImageError]:
    """Return the errors of files whose content failed under another name, with their own."""
    by_key = {keys[p]: error for p, error in errors.items() if keys[p]}
    twins = {p: by_key[key] for p, key in enumerate(keys) if key not in index and p not in errors}
    return {p: type(twin)(paths[p], twin.fact, twin.fix) for p, twin in twins.items()}
