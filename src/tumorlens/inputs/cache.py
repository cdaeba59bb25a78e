"""Prepared images on disk, so that every epoch and run after the first decodes nothing.

One folder per input spec, with chunks of uint8 squares in it.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import ImageError, UnreadableImageError
from tumorlens.files import write_file
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

_METHOD = 2  # raised whenever something else is kept of a scan


@dataclass(frozen=True)
class PreparedSet:
    """Prepared images of a list of files, in its order."""

    pixels: NDArray[np.uint8]  # [n, side, side]; zeros where a file failed
    errors: dict[int, ImageError]  # position -> why that file could not be prepared
    hashes: tuple[str, ...]  # sha256 of each file's bytes, "" where it could not be read
    not_plain: dict[int, str]  # position -> why that image is not one plain slice

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
        refused = {
            p: item.error if isinstance(item, Unusable) else _unhashed(paths[p])
            for p, item in zip(positions, made, strict=True)
            if isinstance(item, Unusable) or not keys[p]
        }
        kept = dict(zip(positions, made, strict=True))
        usable = {keys[p]: s for p, s in kept.items() if keys[p] and isinstance(s, PreparedScan)}
        if usable:
            _write(folder, list(usable), list(usable.values()))
        errors |= refused
        done += len(positions)
        progress(done, len(paths))
    index, reasons = load_index(folder), _reasons(folder)
    pixels = np.zeros((len(paths), spec.side, spec.side), np.uint8)
    Rows([index.get(key) for key in keys]).take(np.arange(len(paths)), pixels)
    errors |= _errors_of_twins(paths, keys, index, errors)
    odd = {p: reasons[key] for p, key in enumerate(keys) if key in reasons}
    return PreparedSet(pixels, errors, hashes, odd)


def keep_prepared(
    keys: Sequence[str], scans: Sequence[PreparedScan], spec: InputSpec, *, cache: Path
) -> None:
    """Keep scans that were prepared elsewhere, by their `row_key`."""
    folder = _folder(cache, spec)
    stored = load_index(folder)
    new = [row for row, key in enumerate(keys) if key not in stored]
    if new:
        _write(folder, [keys[row] for row in new], [scans[row] for row in new])


def _write(folder: Path, keys: Sequence[str], scans: Sequence[PreparedScan]) -> None:
    """Keep squares, and before them why some are not plain, so that none is seen without."""
    reasons = {
        key: scan.why_not_plain for key, scan in zip(keys, scans, strict=True) if not scan.is_plain
    }
    if reasons:
        write_file(folder / f"{uuid.uuid4().hex}.json", json.dumps(reasons))
    write_chunk(folder, keys, np.stack([scan.pixels for scan in scans]))


def _reasons(folder: Path) -> dict[str, str]:
    """Return why the squares under some keys are not plain slices."""
    reasons: dict[str, str] = {}
    for file in folder.glob("*.json"):
        reasons |= json.loads(file.read_text(encoding="utf-8"))
    return reasons


def _folder(cache: Path, spec: InputSpec) -> Path:
    folder = cache / "prepared" / _spec_key(spec)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _spec_key(spec: InputSpec) -> str:
    text = json.dumps({**spec.to_json(), "method": _METHOD}, sort_keys=True)
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
