"""What of an image stays the same when it is rotated, scaled, shifted, mirrored or inverted.

The Fourier-Mellin idea (Casasent and Psaltis, 1976): the magnitude of a spectrum does not know
where a thing lies, nor its sign; in log-polar coordinates a rotation and a scale become shifts.
The magnitude along the angle then forgets rotation and mirroring, and a few shifts along the
radius cover the scale. Images whose signatures are near are candidates, no more.

The spectrum is that of a round window about the center of what is seen: what a rotation or a shift
brings in, or pushes out, at the edge of the frame is not in it.

What a crop takes away or what a shift pushes out changes the spectrum, so three views of an image
take part: the frame, the head alone (which undoes shift and scale), and the core, which is what a
crop leaves.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from tumorlens.study.audit.duplicates.fingerprints import (
    CORE,
    GRAY_SIDE,
    THUMB_SIDE,
    Fingerprints,
    thumbnail,
)

VIEWS = ("frame", "content", "core", "whole")
WIDE = ("core", "whole")  # views through a wide window; "whole" is the frame again
ANGLES = 64  # of half a turn: the spectrum of an image is the same half a turn on
RADII = 30
RADIUS = (4.0, 44.0)  # cycles of the padded thumbnail
RADIUS_STEP = float(np.log(RADIUS[1] / RADIUS[0])) / (RADII - 1)  # 8 % in scale
PARTNERS = 8  # candidates of one image
WINDOW_RADIUS = 40  # pixels of the thumbnail
_PADDED = 128
_LEVELS = 32  # of int8, for a deviation of 1
_HARMONICS = 24  # of the angle
_WINDOW_RADII = 22
_COMPONENTS = 200
_BLOCK = 2**21  # similarities that a thread holds at once, few enough to be held again
_WIDE = 20_000  # images up to which all scales are compared


class Comparison(NamedTuple):
    """Two views that are compared, one of each image, and how far they are apart in scale."""

    of_a: int  # rows of VIEWS
    of_b: int
    steps: int  # of the radius


FRAMES = [Comparison(0, 0, steps) for steps in (0, -1, 1, -2, 2)]
HEADS = [Comparison(1, 1, 0)]
CROPS = [Comparison(*views, steps) for steps in (0, -1, 1) for views in ((2, 3), (3, 2))]
FEWER = [*FRAMES[:3], *HEADS, *CROPS[:2]]

_angle = np.arange(ANGLES)[:, None] * np.pi / ANGLES
_radius = np.geomspace(*RADIUS, RADII)[None]
_ACROSS = (_PADDED // 2 + _radius * np.cos(_angle)).astype(np.float32)
_DOWN = (_radius * np.sin(_angle)).astype(np.float32)
_far = np.abs(np.arange(1 - THUMB_SIDE, THUMB_SIDE))
_from_center = np.minimum(1, np.hypot(_far, _far[:, None]) / WINDOW_RADIUS)
_TAPER = (0.5 + 0.5 * np.cos(np.pi * _from_center)).astype(np.float32)
_WIDE_TAPER = np.sqrt(cv2.createHanningWindow((THUMB_SIDE, THUMB_SIDE), cv2.CV_32F))


def views(prints: Fingerprints, positions: NDArray[np.int64], view: int) -> NDArray[np.int8]:
    """Return thumbnails of one of VIEWS: [len(positions), 96, 96]."""
    if VIEWS[view] != "core":
        stored = 0 if VIEWS[view] == "whole" else view
        return prints.thumbs(positions, np.full(len(positions), stored))
    edge = round(CORE * GRAY_SIDE)
    inside = prints.grays(positions)[:, edge:-edge, edge:-edge]
    return np.stack([thumbnail(np.ascontiguousarray(image)) for image in inside])


def spectrum(thumb: NDArray[np.int8], *, wide: bool) -> NDArray[np.int8]:
    """Return the log-polar magnitude of a thumbnail's spectrum: [ANGLES, RADII], int8.

    Each radius is divided by its mean, which undoes blur, sharpening and compression.
    """
    taper = _WIDE_TAPER if wide else _taper_of(thumb)
    magnitude = np.abs(fft.rfft2(thumb * taper, (_PADDED, _PADDED), axes=(1, 0)))
    polar = cv2.remap(fft.fftshift(magnitude, 1), _ACROSS, _DOWN, cv2.INTER_LINEAR)
    flat = np.log(polar / (polar.mean(0) + 1e-6) + 0.1)
    return np.clip(np.rint((flat - flat.mean()) * _LEVELS), -127, 127).astype(np.int8)


def _taper_of(thumb: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return the window about the center of the edges, whatever their sign: [96, 96]."""
    edges = np.abs(thumb)
    down, across = (edges.sum(axis, np.int64) for axis in (1, 0))
    total = max(1, int(down.sum()))
    places = np.arange(THUMB_SIDE)
    top, left = (THUMB_SIDE - 1 - round(float(sums @ places) / total) for sums in (down, across))
    return _TAPER[top : top + THUMB_SIDE, left : left + THUMB_SIDE]


def spectra_of(prints: Fingerprints, kept: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return the spectra of files in every view: [len(kept), views, ANGLES, RADII]."""
    spectra = np.zeros((len(kept), len(VIEWS), ANGLES, RADII), np.int8)

    def work(rows: NDArray[np.int64]) -> None:
        for view in range(len(VIEWS)):
            thumbs = views(prints, kept[rows], view)
            spectra[rows, view] = [spectrum(thumb, wide=VIEWS[view] in WIDE) for thumb in thumbs]

    blocks = np.array_split(np.arange(len(kept)), max(1, len(kept) // 256))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, blocks))
    return spectra


def nearest_pairs(spectra: NDArray[np.int8], *, partners: int = PARTNERS) -> NDArray[np.int64]:
    """Return rows (i, j, view of i, view of j, rank) of the nearest signatures, i < j.

    Each image chooses so many `partners`; `rank` 0 is the nearest of one of the two.
    """
    n = len(spectra)
    comparisons = [*FRAMES, *HEADS, *CROPS] if n <= _WIDE else FEWER
    signatures = _signatures(spectra, comparisons)
    blocks = np.array_split(np.arange(n), max(1, n * n // _BLOCK))

    def work(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return list(_nearest(signatures, rows, comparisons, count=min(partners, n - 1)))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pairs = np.concatenate([found for chosen in pool.map(work, blocks) for found in chosen])
    pairs = pairs[np.lexsort((pairs[:, 4], pairs[:, 1], pairs[:, 0]))]
    is_first = (np.diff(pairs[:, :2], axis=0, prepend=-1) != 0).any(1)
    return pairs[is_first]


Signatures = dict[tuple[int, int], NDArray[np.float32]]  # by view and shift of the radius


def _signatures(spectra: NDArray[np.int8], comparisons: list[Comparison]) -> Signatures:
    """Project the magnitudes along the angle on their main components, [n, components] each."""
    project = _projection(_magnitudes(spectra[:: max(1, len(spectra) // 4000), 0], 0))
    needed = {side for row in comparisons for side in _sides(row)}
    return {
        (view, shift): np.concatenate([
            project(_magnitudes(block[:, view], shift))
            for block in np.array_split(spectra, max(1, len(spectra) // 1024))
        ])
        for view, shift in sorted(needed)
    }  # fmt: skip


def _sides(row: Comparison) -> tuple[tuple[int, int], tuple[int, int]]:
    """Share the steps between both images, so that little of the radius is lost."""
    first = row.steps // 2
    return (row.of_a, first), (row.of_b, first - row.steps)


def _magnitudes(spectra: NDArray[np.int8], shift: int) -> NDArray[np.float32]:
    start = (RADII - _WINDOW_RADII) // 2 + shift
    window = spectra[:, :, start : start + _WINDOW_RADII].astype(np.float32)
    return np.abs(fft.rfft(window, axis=1))[:, 1 : _HARMONICS + 1].reshape(len(spectra), -1)


def _projection(
    sample: NDArray[np.float32],
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Learn the main components, half whitened: what all heads share says little."""
    middle = sample.mean(0)
    centered = sample - middle
    values, vectors = np.linalg.eigh(centered.T @ centered / len(sample))
    values, vectors = values[::-1][:_COMPONENTS], vectors[:, ::-1][:, :_COMPONENTS]
    basis = (vectors / np.maximum(values, 1e-3 * values[0] + 1e-6) ** 0.25).astype(np.float32)

    def project(magnitudes: NDArray[np.float32]) -> NDArray[np.float32]:
        projected = (magnitudes - middle) @ basis
        return projected / (np.linalg.norm(projected, axis=1, keepdims=True) + 1e-6)

    return project


def _nearest(
    signatures: Signatures, rows: NDArray[np.int64], comparisons: list[Comparison], *, count: int
) -> Iterator[NDArray[np.int64]]:
    """Yield rows of `nearest_pairs` for each image, its nearest first."""
    best = np.full((len(rows), len(signatures[0, 0])), -1, np.float32)
    similar = np.empty_like(best)
    for row in comparisons:
        of_a, of_b = (signatures[side] for side in _sides(row))
        np.maximum(best, np.matmul(of_a[rows], of_b.T, out=similar), out=best)
    best[np.arange(len(rows)), rows] = -2  # no image is its own copy
    nearest = np.argpartition(np.negative(best, out=best), count - 1)[:, :count]
    for i, near in zip(rows.tolist(), nearest, strict=True):
        similarity = np.stack([
            signatures[one][i] @ signatures[other][near].T
            for one, other in map(_sides, comparisons)
        ])  # fmt: skip
        order = np.argsort(-similarity.max(0), kind="stable")
        j, shown_by = near[order], similarity.argmax(0)[order]
        of_both = np.array(comparisons)[shown_by, :2]
        of_both[j < i] = of_both[j < i, ::-1]
        yield np.column_stack([np.minimum(i, j), np.maximum(i, j), of_both, np.arange(count)])
