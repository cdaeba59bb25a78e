"""What files tell without a look at the brain, for the negative control: columns of facts."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import ImageError
from tumorlens.images.readers import read_scan_bytes
from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec
from tumorlens.study.audit.facts import PIXEL_FACTS, FileFacts, pixel_facts, read_file_facts

BLOCK = 512  # files held in memory at a time
NUMBERS = (*PIXEL_FACTS, "bytes")
Columns = dict[str, NDArray]


def file_columns(
    paths: Sequence[Path],
    spec: InputSpec,
    *,
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[FileFacts | None], Columns, Columns]:
    """Give the columns, [n] each, of files as stored and as prepared, for `measure_shortcuts`.

    Numbers of a file that cannot be read are NaN, its mode and format are empty.
    """
    stored, prepared = (np.full((len(paths), len(NUMBERS)), np.nan) for _ in range(2))
    headers: list[FileFacts | None] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), BLOCK):
            block = paths[start : start + BLOCK]
            made = prepare_files(block, spec, cache=cache)
            good = np.flatnonzero(made.usable)
            for row, values in zip(
                good, pool.map(_facts_of_prepared, made.pixels[good]), strict=True
            ):
                prepared[start + row] = values
            for row, (header, values) in enumerate(pool.map(_facts_of_file, block)):
                headers.append(header)
                stored[start + row] = values
            if progress:
                progress(start + len(block), len(paths))
    return headers, _named(stored) | _of_headers(headers), _named(prepared)


def _named(table: NDArray[np.float64]) -> Columns:
    return {name: table[:, i] for i, name in enumerate(NUMBERS)}


def _of_headers(headers: Sequence[FileFacts | None]) -> Columns:
    return {
        "width": np.array([header.width if header else np.nan for header in headers]),
        "height": np.array([header.height if header else np.nan for header in headers]),
        "mode": np.array([header.mode if header else "" for header in headers], np.str_),
        "format": np.array([header.format if header else "" for header in headers], np.str_),
    }


def _facts_of_prepared(pixels: NDArray[np.uint8]) -> list[float]:
    return [*pixel_facts(pixels).tolist(), float(len(cv2.imencode(".png", pixels)[1]))]


def _facts_of_file(path: Path) -> tuple[FileFacts | None, list[float]]:
    nothing = [np.nan] * len(NUMBERS)
    try:
        data = path.read_bytes()
        header = read_file_facts(data)
        pixels = read_scan_bytes(data, source=str(path)).pixels
    except (ImageError, OSError):
        return None, nothing
    return header, [*pixel_facts(pixels).tolist(), float(len(data))] if header else nothing
