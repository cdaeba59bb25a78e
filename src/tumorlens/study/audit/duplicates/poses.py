"""Whether one image is another in a different pose: rotated, scaled, shifted, mirrored, inverted.

Of each candidate the log-polar spectra are laid over one another, which gives rotation and scale
(Reddy and Chatterji, 1996), then the thumbnails, which gives the shift and the sign; the enhanced
correlation coefficient refines. One image is warped into the frame of the other, the coarser one,
and what both show is measured as in `verification`, with higher limits. A head is nearly symmetric:
where the better of a pose and its mirror image comes near and does not hold, the other is tried.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.cluster.hierarchy import DisjointSet

from tumorlens.study.audit.duplicates.fingerprints import (
    CORE,
    GRAY_SIDE,
    ORIENTATIONS,
    THUMB_SIDE,
    Fingerprints,
    thumbnail,
)
from tumorlens.study.audit.duplicates.signatures import (
    ANGLES,
    PARTNERS,
    RADIUS_STEP,
    VIEWS,
    nearest_pairs,
    spectra_of,
    views,
)
from tumorlens.study.audit.duplicates.verification import STRONG_EDGE, Limits

POSED = Limits(score=0.965, agreement=0.998, middle=0.93)
MIN_SPECTRUM = 0.50  # correlation of log-polar spectra; 99 in 100 copies reach 0.60
MIN_PEAK = 0.30  # correlation of small thumbnails before the pose is refined
MIN_OVERLAP = 0.35  # of the frame; a crop of 15 % a side leaves 0.42
MIN_EDGES = 150  # pixels with a strong edge in both
MAX_SCALE = 1.6
MAX_STRETCH = 1.2  # in a square frame a rotation shears an image that was not square
NEARLY = 0.6  # score of a pose that may be the mirror image of the right one; seen: 0.64 to 0.95
_PADDED_RADII = 64
_MAX_STEPS = 5  # of the radius: a scale of 1.5
_SMALL = 48
_MAX_SHIFT = 16  # of small pixels: a third of the frame
_MIDDLE = 20  # pixels around the center of what is seen
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 1e-3)
_BLOCK = 32  # pairs at once, few enough that their memory is used again
_DOWN, _ACROSS = np.mgrid[:THUMB_SIDE, :THUMB_SIDE].astype(np.float32)
_MIRROR = np.diag([-1.0, 1.0])
# How each of ORIENTATIONS moves points (x, y).
_TURNS = np.array([
    [[1, 0], [0, 1]], [[-1, 0], [0, 1]], [[1, 0], [0, -1]], [[-1, 0], [0, -1]],
    [[0, 1], [1, 0]], [[0, -1], [1, 0]], [[0, 1], [-1, 0]], [[0, -1], [-1, 0]],
], np.float64)  # fmt: skip
Matrix = NDArray[np.float64]  # [3, 3], moves points (x, y, 1)


@dataclass(frozen=True)
class PosedCopy:
    """Two files, by position, that show one image in two poses."""

    a: int
    b: int
    orientation: str  # the nearest row of ORIENTATIONS
    score: float  # correlation where both show the image, -1 to 1
    change: str  # in words: "rotated 9 degrees, scaled 1.10, inverted"


def find_posed_copies(prints: Fingerprints, kept: NDArray[np.int64]) -> list[PosedCopy]:
    """Return pairs among the files `kept` that show one image in two poses, a < b.

    The nearest candidates come first; files that a chain of copies joins are not compared again.
    """
    if len(kept) < 2:
        return []
    spectra = spectra_of(prints, kept)
    pairs = nearest_pairs(spectra)
    joined, found = DisjointSet(range(len(kept))), []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for rank in range(PARTNERS):
            rows = [row for row in pairs[pairs[:, 4] == rank] if not joined.connected(*row[:2])]
            blocks = [np.array(rows[at : at + _BLOCK]) for at in range(0, len(rows), _BLOCK)]
            for copies in pool.map(lambda block: _posed(prints, kept, spectra, block), blocks):
                for i, j, copy in copies:
                    joined.merge(i, j)
                    found.append(copy)
    return found


def _posed(
    prints: Fingerprints, kept: NDArray[np.int64], spectra: NDArray[np.int8], pairs: NDArray
) -> list[tuple[int, int, PosedCopy]]:
    """Return the copies among rows of `nearest_pairs`, and which of `kept` they are."""
    surfaces = _spectral_correlation(
        spectra[pairs[:, 0], pairs[:, 2]], spectra[pairs[:, 1], pairs[:, 3]]
    )
    found = []
    for row in np.flatnonzero(surfaces.max((1, 2, 3)) >= MIN_SPECTRUM).tolist():
        i, j, *of, _ = pairs[row].tolist()
        a, b = int(kept[i]), int(kept[j])
        poses = _estimates(_View(prints, a, of[0]), _View(prints, b, of[1]), surfaces[row])
        copy = _first_verified(prints, a, b, poses)
        if copy:
            found.append((i, j, copy))
    return found


def _spectral_correlation(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float32]:
    """Correlate spectra over rotations and scales: [n, as is or mirrored, ANGLES, steps]."""
    of_a, of_b = (_standardized_fft(side) for side in (a, b))
    mirrored = of_a[:, -np.arange(ANGLES) % ANGLES]
    steps = np.arange(-_MAX_STEPS, _MAX_STEPS + 1)
    both = np.conj(np.stack([of_a, mirrored], 1)) * of_b[:, None]
    return np.asarray(fft.irfft2(both, (ANGLES, _PADDED_RADII)))[..., steps]


def _standardized_fft(spectra: NDArray[np.int8]) -> NDArray[np.complex64]:
    values = spectra.astype(np.float32)
    values -= values.mean((1, 2), keepdims=True)
    values /= np.sqrt((values**2).sum((1, 2), keepdims=True)) + 1e-6
    return np.asarray(fft.rfft2(values, (ANGLES, _PADDED_RADII)))


class _View:
    """The thumbnail of one view of a file, and where the view lies in the frame."""

    def __init__(self, prints: Fingerprints, position: int, view: int) -> None:
        (self.thumb,) = views(prints, np.array([position]), view)
        self.small = cv2.resize(
            self.thumb.astype(np.float32), (_SMALL, _SMALL), interpolation=cv2.INTER_AREA
        )
        left, top, right, bottom = (
            prints.boxes(np.array([position]))[0] if VIEWS[view] == "content"
            else (CORE, CORE, 1 - CORE, 1 - CORE) if VIEWS[view] == "core" else (0, 0, 1, 1)
        )  # fmt: skip
        self.to_frame = _scaling(right - left, bottom - top, left, top)


def _scaling(across: float, down: float, left: float = 0, top: float = 0) -> Matrix:
    """Move the middles of pixels of a square of THUMB_SIDE into a part of another."""
    middle = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    part = np.array([[across, 0, left * THUMB_SIDE], [0, down, top * THUMB_SIDE], [0, 0, 1]])
    return np.linalg.inv(middle) @ part @ middle


@dataclass(frozen=True)
class _Pose:
    """What turns the frame of a into that of b, in pixels of thumbnails."""

    matrix: Matrix
    sign: int  # -1 where the brightness is inverted


def _estimates(a: _View, b: _View, surface: NDArray[np.float32]) -> list[_Pose]:
    """Return the likeliest pose as it is and the likeliest mirrored one, the better first."""
    best: dict[bool, tuple[float, Matrix, int]] = {}
    padded = 64
    of_b = fft.rfft2(b.small, (padded, padded))
    shifts = np.arange(-_MAX_SHIFT, _MAX_SHIFT + 1)
    energy_b = float((b.small**2).sum())
    for is_mirrored, matrix in _hypotheses(surface):
        turned = cv2.warpAffine(a.small, matrix[:2], (_SMALL, _SMALL))
        product = np.conj(fft.rfft2(turned, (padded, padded))) * of_b
        near = np.asarray(fft.irfft2(product, (padded, padded)))[shifts[:, None], shifts]
        down, across = np.unravel_index(int(np.abs(near).argmax()), near.shape)
        value = float(near[down, across])
        peak = abs(value) / np.sqrt(float((turned**2).sum()) * energy_b + 1e-6)
        if peak > best.get(is_mirrored, (MIN_PEAK,))[0]:
            matrix[:2, 2] += shifts[across], shifts[down]
            best[is_mirrored] = peak, matrix, 1 if value > 0 else -1
    larger = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
    before, after = np.linalg.inv(a.to_frame @ larger), b.to_frame @ larger
    ranked = sorted(best.values(), key=lambda found: -found[0])
    return [_Pose(after @ matrix @ before, sign) for _, matrix, sign in ranked]


def _hypotheses(surface: NDArray[np.float32]) -> Iterator[tuple[bool, Matrix]]:
    """Yield whether a matrix mirrors, and the matrix about the middle of small thumbnails.

    The spectrum does not tell a rotation from one half a turn further.
    """
    middle = np.full(2, (_SMALL - 1) / 2)
    for is_mirrored in (False, True):
        of_one = surface[int(is_mirrored)]
        angle, step = np.unravel_index(int(of_one.argmax()), of_one.shape)
        scale = np.exp(-(int(step) - _MAX_STEPS) * RADIUS_STEP)
        for turn in (0, np.pi):
            radians = int(angle) * np.pi / ANGLES + turn
            cos, sin = scale * np.cos(radians), scale * np.sin(radians)
            linear = np.array([[cos, -sin], [sin, cos]]) @ (_MIRROR if is_mirrored else np.eye(2))
            matrix = np.eye(3)
            matrix[:2, :2], matrix[:2, 2] = linear, middle - linear @ middle
            yield is_mirrored, matrix


def _first_verified(
    prints: Fingerprints, a: int, b: int, poses: Sequence[_Pose]
) -> PosedCopy | None:
    for pose in poses:
        copy, score = _verified(prints, a, b, pose)
        if copy or score < NEARLY:
            return copy
    return None


def _verified(prints: Fingerprints, a: int, b: int, pose: _Pose) -> tuple[PosedCopy | None, float]:
    """Refine a pose and measure what both show, in the frame of the coarser image.

    Return the copy, where it is one, and the score.
    """
    matrix, first, second = pose.matrix, a, b
    if abs(np.linalg.det(matrix[:2, :2])) > 1:
        matrix, first, second = np.asarray(np.linalg.inv(matrix), float), b, a
    gray, other = prints.grays(np.array([first, second]))
    of_b = thumbnail(other).astype(np.float32)
    matrix = _refined(pose.sign * thumbnail(gray).astype(np.float32), of_b, matrix)
    if not _is_pose(matrix):
        return None, 0.0
    score, is_copy = _measured(*_overlaid(gray, of_b, matrix, pose.sign))
    if not is_copy:
        return None, score
    if first != a:
        matrix = np.asarray(np.linalg.inv(matrix), float)
    name, change = _described(matrix, pose.sign)
    return PosedCopy(a, b, name, round(score, 4), change), score


def _refined(a: NDArray[np.float32], b: NDArray[np.float32], matrix: Matrix) -> Matrix:
    """Improve a pose; where the method does not converge, keep it."""
    inverse = np.linalg.inv(matrix)[:2].astype(np.float32)
    everywhere = np.full(b.shape, 255, np.uint8)
    try:
        _, inverse = cv2.findTransformECC(b, a, inverse, cv2.MOTION_AFFINE, _STOP, everywhere, 3)
    except cv2.error:
        return matrix
    return np.asarray(np.linalg.inv(np.vstack([inverse, [0, 0, 1]])), np.float64)


def _is_pose(matrix: Matrix) -> bool:
    large, small = np.linalg.svd(matrix[:2, :2])[1].tolist()
    return large <= MAX_SCALE and small >= 1 / MAX_SCALE and large <= MAX_STRETCH * small


def _overlaid(
    gray: NDArray[np.float32], of_b: NDArray[np.float32], matrix: Matrix, sign: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Return the thumbnail of a in the frame of b, that of b, and where both show the image."""
    ratio = THUMB_SIDE / GRAY_SIDE
    to_thumb = np.array([[ratio, 0, ratio / 2 - 0.5], [0, ratio, ratio / 2 - 0.5], [0, 0, 1]])
    warp = (matrix @ to_thumb)[:2]
    size = (THUMB_SIDE, THUMB_SIDE)
    shrunk = float(np.sqrt(abs(np.linalg.det(warp[:, :2]))))
    if shrunk < 0.7:  # or the warp would skip pixels
        blur = 0.4 * float(np.sqrt(1 / shrunk**2 - 1))
        gray = np.asarray(cv2.GaussianBlur(gray, (0, 0), blur), np.float32)
    warped = np.asarray(
        cv2.warpAffine(gray, warp, size, borderMode=cv2.BORDER_REPLICATE), np.float32
    )
    inside = cv2.warpAffine(np.ones_like(gray), warp, size) > 0.99
    inside = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return sign * thumbnail(warped).astype(np.float32), of_b, inside


def _measured(
    a: NDArray[np.float32], b: NDArray[np.float32], inside: NDArray[np.bool_]
) -> tuple[float, bool]:
    """Return the correlation inside, and whether the limits of a copy are reached."""
    if inside.mean() < MIN_OVERLAP:
        return 0.0, False
    strong = inside & (np.abs(a) > STRONG_EDGE) & (np.abs(b) > STRONG_EDGE)
    agreed = (strong & (a * b > 0)).sum()
    seen = np.abs(b) * inside
    across, down = (float((seen * at).sum() / (seen.sum() + 1e-6)) for at in (_ACROSS, _DOWN))
    near = inside & ((_ACROSS - across) ** 2 + (_DOWN - down) ** 2 < _MIDDLE**2)
    score, middle = (_correlation(a[chosen], b[chosen]) for chosen in (inside, near))
    is_copy = (
        strong.sum() >= MIN_EDGES
        and score >= POSED.score
        and middle >= POSED.middle
        and agreed >= POSED.agreement * strong.sum()
    )
    return score, bool(is_copy)


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1))


def _described(matrix: Matrix, sign: int) -> tuple[str, str]:
    """Name the nearest orientation, and in words what else was done, in either direction."""
    linear = matrix[:2, :2]
    scale = float(np.sqrt(abs(np.linalg.det(linear))))
    nearest = int(np.einsum("oij,ij->o", _TURNS, linear).argmax())
    rest = _TURNS[nearest].T @ linear
    degrees = abs(float(np.degrees(np.arctan2(rest[1, 0] - rest[0, 1], rest[0, 0] + rest[1, 1]))))
    middle = np.array([(THUMB_SIDE - 1) / 2] * 2 + [1])
    shift = float(np.abs((matrix @ middle - middle)[:2]).max()) / THUMB_SIDE
    words = [
        f"rotated {degrees:.0f} degrees" if degrees >= 0.5 else "",
        f"scaled {max(scale, 1 / scale):.2f}" if abs(np.log(scale)) >= 0.005 else "",
        f"shifted {shift:.0%}" if shift >= 0.005 else "",
        "inverted" if sign < 0 else "",
    ]
    return ORIENTATIONS[nearest], ", ".join(filter(None, words))
