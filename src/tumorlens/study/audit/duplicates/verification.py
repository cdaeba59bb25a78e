"""Whether two thumbnails show one image, its neighboring slice, or neither.

Three measures decide, on thumbnails that are high-passed and normalized in contrast
(`fingerprints.thumbnail`):

- *score*, their correlation;
- *agreement*, the share of the places with a strong edge in both where both are bright, or
  both dark. Brightening, sharpening, noise and compression change how strong an edge is and
  not where it lies, so copies agree everywhere; from one slice to the next edges move, and a
  few always disagree, however high the correlation;
- *middle*, the correlation within the brain alone. On CT the skull outweighs all else, and it
  hardly changes from slice to slice.

Where the frames differ a little (other crops of one image), both are taken after an affine
alignment: a phase of coarse search over scale and shift, then the enhanced correlation
coefficient of Evangelidis and Psarakis (2008).
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import fft

from tumorlens.study.audit.duplicates.fingerprints import (
    ORIENTATIONS,
    THUMB_SIDE,
    VIEWS,
    Fingerprints,
    orient,
)

STRONG_EDGE = 25  # of a thumbnail, whose deviation is 20
SURELY_SAME = 0.985  # score that needs no more
NEIGHBOR_SLICE = 0.65  # above it, all 608 pairs of figshare were of one patient
WORTH_ALIGNING = 0.40  # score below which alignment has not been seen to help
WORTH_REFINING = 0.6  # peak of the coarse search; the lowest of a copy was 0.68
_SCALES = (0.95, 0.975, 1.0, 1.025, 1.05)
_MAX_SHIFT = 12  # pixels of the thumbnail
_MIN_OVERLAP = 0.7
_BLOCK = 32  # pairs at once, few enough that their memory is used again
_ACROSS = np.arange(THUMB_SIDE) - (THUMB_SIDE - 1) / 2
_MIDDLE = (_ACROSS**2 + _ACROSS[:, None] ** 2 < 20**2).astype(np.float32)


@dataclass(frozen=True)
class Limits:
    """What copies have at least."""

    score: float
    agreement: float
    middle: float


FRAME = Limits(score=0.80, agreement=0.998, middle=0.75)
CONTENT = Limits(score=0.88, agreement=0.998, middle=0.85)  # a common crop makes heads alike
ALIGNED = Limits(score=0.89, agreement=0.998, middle=0.88)  # and alignment more so
MAX_SLANT = 0.003  # of an alignment: other crops of an image neither turn nor shear it


@dataclass(frozen=True)
class Likeness:
    """What was measured of n pairs."""

    score: NDArray[np.float64]  # [n] correlation, -1 to 1
    agreement: NDArray[np.float64]  # [n] 0 to 1
    middle: NDArray[np.float64]  # [n] correlation, -1 to 1
    in_content: NDArray[np.bool_]  # [n] compared in the view of the content

    def reaches(self, limits: Limits) -> NDArray[np.bool_]:
        """Tell which pairs show one image, [n]."""
        enough = (self.score >= limits.score) & (self.middle >= limits.middle)
        return (enough & (self.agreement >= limits.agreement)) | (self.score >= SURELY_SAME)

    @property
    def is_copy(self) -> NDArray[np.bool_]:
        """Which pairs show one image."""
        return np.where(self.in_content, self.reaches(CONTENT), self.reaches(FRAME))

    @property
    def is_neighbor(self) -> NDArray[np.bool_]:
        """Which pairs are no copies and yet nearer than two heads are."""
        return (self.score >= NEIGHBOR_SLICE) & ~self.is_copy


def compare(prints: Fingerprints, pairs: NDArray[np.int64]) -> Likeness:
    """Measure pairs, rows (a, b, orientation of a, view of a, view of b).

    Where the score is that of strangers, agreement and middle are not measured, and zero.
    """
    blocks = [pairs[start : start + _BLOCK] for start in range(0, len(pairs), _BLOCK)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda block: _compare_block(*_thumbnails(prints, block)), blocks))
    columns = np.concatenate(found, 1) if found else np.zeros((3, 0))
    return Likeness(*columns, in_content=pairs[:, 3] == VIEWS.index("content"))


def _compare_block(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float64]:
    measured = np.zeros((3, len(a)))
    measured[0] = _scores(a.reshape(len(a), -1), b.reshape(len(b), -1))
    near = np.flatnonzero(measured[0] >= NEIGHBOR_SLICE)
    if len(near):
        measured[:, near] = _measured(a[near].astype(np.float32), b[near].astype(np.float32))
    return measured


@njit(nogil=True, cache=True)
def _scores(a, b):  # pragma: no cover - compiled
    n, size = a.shape
    scores = np.zeros(n)
    for i in range(n):
        product, of_a, of_b = np.int32(0), np.int32(0), np.int32(0)
        for k in range(size):
            x, y = np.int32(a[i, k]), np.int32(b[i, k])
            product += x * y
            of_a += x * x
            of_b += y * y
        scores[i] = product / np.sqrt(max(float(of_a) * float(of_b), 1.0))
    return scores


def _thumbnails(
    prints: Fingerprints, pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    a = prints.thumbs(pairs[:, 0], pairs[:, 3])
    for turn in range(1, len(ORIENTATIONS)):
        rows = np.flatnonzero(pairs[:, 2] == turn)
        a[rows] = orient(a[rows], turn)
    return a, prints.thumbs(pairs[:, 1], pairs[:, 4])


def _measured(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return score, agreement and middle of pairs of thumbnails: [3, n]."""
    products, squares_a, squares_b = a * b, a * a, b * b
    strong = (np.abs(a) > STRONG_EDGE) & (np.abs(b) > STRONG_EDGE)
    agreed = (strong & (products > 0)).sum((1, 2)) / np.maximum(strong.sum((1, 2)), 1)
    score, middle = (
        np.tensordot(products, weights)
        / np.sqrt(1 + np.tensordot(squares_a, weights) * np.tensordot(squares_b, weights))
        for weights in (np.ones_like(_MIDDLE), _MIDDLE)
    )
    return np.stack([score, agreed, middle]).astype(np.float64)


def is_copy_aligned(prints: Fingerprints, pair: NDArray[np.int64]) -> tuple[bool, float]:
    """Tell whether the two are one image in different frames, and their aligned score."""
    (a,), (b,) = (side.astype(np.float32) for side in _thumbnails(prints, pair[None]))
    if not (a.any() and b.any()):
        return False, 0.0
    matrix, peak = _coarse_alignment(a, b)
    if peak < WORTH_REFINING:
        return False, 0.0
    matrix = _refine(a, b, matrix)
    size = (THUMB_SIDE, THUMB_SIDE)
    if max(abs(float(matrix[0, 1])), abs(float(matrix[1, 0]))) > MAX_SLANT:
        return False, 0.0
    warped = cv2.warpAffine(a, matrix, size)
    inside = cv2.warpAffine(np.ones_like(a), matrix, size) > 0.99
    if inside.mean() < _MIN_OVERLAP:
        return False, 0.0
    measured = _measured((warped * inside)[None], (b * inside)[None])
    found = Likeness(*measured, in_content=np.zeros(1, bool))
    return bool(found.reaches(ALIGNED)[0]), float(found.score[0])


def _coarse_alignment(
    a: NDArray[np.float32], b: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float]:
    """Find the scale about the middle and the shift that bring a nearest to b: [2, 3].

    The second value is their correlation then, counting what lies outside as zero.
    """
    middle = (THUMB_SIDE - 1) / 2
    matrices = [
        np.array([[s, 0, middle * (1 - s)], [0, s, middle * (1 - s)]], np.float32) for s in _SCALES
    ]
    scaled = np.stack([cv2.warpAffine(a, m, (THUMB_SIDE, THUMB_SIDE)) for m in matrices])
    spectra = np.conj(fft.rfft2(scaled)) * fft.rfft2(b)
    surface = np.asarray(fft.irfft2(spectra, s=a.shape))
    surface /= np.sqrt((scaled**2).sum((1, 2)) * (b**2).sum())[:, None, None] + 1e-6
    shifts = np.arange(-_MAX_SHIFT, _MAX_SHIFT + 1)
    near = surface[:, shifts][:, :, shifts]
    best, dy, dx = np.unravel_index(int(near.argmax()), near.shape)
    matrix = matrices[int(best)].copy()
    matrix[:, 2] += shifts[int(dx)], shifts[int(dy)]
    return matrix, float(near[best, dy, dx])


def _refine(
    a: NDArray[np.float32], b: NDArray[np.float32], matrix: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Improve an alignment; where the method does not converge, keep it."""
    inverse = np.asarray(cv2.invertAffineTransform(matrix), np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 1e-3)
    everywhere = np.full(b.shape, 255, np.uint8)
    try:
        _, inverse = cv2.findTransformECC(b, a, inverse, cv2.MOTION_AFFINE, stop, everywhere, 1)
    except cv2.error:
        return matrix
    return np.asarray(cv2.invertAffineTransform(inverse), np.float32)
