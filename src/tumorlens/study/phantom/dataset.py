"""A labelled dataset of phantoms on disk, laid out like any other dataset."""

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.study.phantom.drawing import CLASSES, FINDINGS, Phantom, draw_phantom

HEADER = ("path", "label", "modality", "patient", "mask")

_README = """Synthetic phantoms, not scans of anybody.

Every picture here was drawn by tumorlens from random numbers. They look like head slices so that
software can be tried and tested; they say nothing about how well anything works on patients.
Do not train, tune or judge a medical tool on them.

<class>/         the pictures, 8-bit grayscale
masks/           the exact extent of each tumor (0 or 255), without edema
cases.csv        path, label, modality, patient, mask
"""


def write_phantoms(
    out: Path,
    *,
    per_class: int = 40,
    seed: int = 0,
    side: int = 192,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `per_class` pictures of each class, masks and `cases.csv`; return `out`.

    `cases.csv` comes last, so a folder that has one is complete. `progress` is told how many
    pictures are done and how many there will be.
    """
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1; got {per_class}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "cases.csv").unlink(missing_ok=True)
    rows = []
    for label, number in _places(per_class):
        phantom = _draw_numbered(label, number, seed=seed, side=side)
        rows.append(_write_case(out, phantom, number=number))
        if progress:
            progress(len(rows), per_class * len(CLASSES))
    (out / "README.txt").write_text(_README, encoding="utf-8", newline="\n")
    _write_cases(out / "cases.csv", rows)
    return out


def _places(per_class: int) -> Iterator[tuple[str, int]]:
    for label in CLASSES:
        for number in range(1, per_class + 1):
            yield label, number


def _draw_numbered(label: str, number: int, *, seed: int, side: int) -> Phantom:
    """Draw the n-th picture of a class, whose seed belongs to it alone."""
    source = np.random.SeedSequence([seed, CLASSES.index(label), number])
    own = int(source.generate_state(1, np.uint64)[0])
    modality, finding = label.split("_")
    if finding == "tumor":
        finding = str(np.random.default_rng(source.spawn(1)[0]).choice(FINDINGS[1:]))
    return draw_phantom(modality, finding, seed=own, side=side)


def _write_case(out: Path, phantom: Phantom, *, number: int) -> tuple[str, ...]:
    """Write a picture and, where there is a tumor, its mask; return the row of `cases.csv`."""
    label = phantom.label
    path = f"{label}/{label}_{number:04d}.png"
    _write_png(out / path, phantom.pixels)
    mask = ""
    if phantom.finding != "healthy":
        mask = f"masks/{label}_{number:04d}.png"
        _write_png(out / mask, phantom.mask.astype(np.uint8) * 255)
    return path, label, phantom.modality, f"phantom-{label}-{number}", mask


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    # Encoded in memory and written by Python, because cv2.imwrite fails silently and cannot write
    # to a path outside the code page on Windows.
    _, encoded = cv2.imencode(".png", pixels)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.tobytes())


def _write_cases(path: Path, rows: list[tuple[str, ...]]) -> None:
    unfinished = path.with_suffix(".csv.part")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows)
    os.replace(unfinished, path)
