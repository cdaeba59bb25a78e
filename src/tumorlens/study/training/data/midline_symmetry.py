"""Where a head's midline lies, and how an image is reflected in it.

Axial and coronal slices are nearly their own mirror image, so the other side of the same
patient and scanner can stand in for a place. Sagittal slices have no such line.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE = 48  # pixels at which the midline is sought
_ANGLES = np.arange(-16, 17, 4)  # degrees
_SHIFTS = np.arange(-5, 6)  # pixels of the reflected image; the line moves by half
MIN_SYMMETRY = 0.9  # correlation of a slice with its reflection; sagittal ones stay below


@dataclass(frozen=True)
class Midline:
    """The line in which an image looks most like itself."""

    angle: float  # degrees from upright, counter-clockwise
    offset: float  # of the line from the middle, in sides of the image
    symmetry: float  # correlation of the image with its reflection, -1 to 1

    @property
    def is_plain(self) -> bool:
        """Whether the image is symmetric enough to be reflected."""
        return self.symmetry >= MIN_SYMMETRY

    def reflection(self, side: int) -> NDArray[np.float64]:
        """Return the affine map [2, 3] that reflects pixels (x, y) of a square in the line."""
        middle = (side - 1) / 2
        turn, back = (_rotation(sign * self.angle, middle) for sign in (1, -1))
        flip = np.array([[-1.0, 0, 2 * (middle + self.offset * side)], [0, 1, 0], [0, 0, 1]])
        return (back @ flip @ turn)[:2]

    def left_half(self, side: int) -> NDArray[np.float32]:
        """Return 1 left of the line and 0 right of it, [side, side], with a soft edge."""
        middle = (side - 1) / 2
        rows, columns = np.mgrid[:side, :side].astype(np.float32)
        turned = _rotation(self.angle, middle)
        across = turned[0, 0] * columns + turned[0, 1] * rows + turned[0, 2]
        return np.clip(0.5 - (across - middle - self.offset * side) / 3, 0, 1).astype(np.float32)


def find_midline(image: NDArray[np.uint8]) -> Midline:
    """Find the midline of a prepared image, uint8 [s, s], among lines near the upright."""
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    small = cv2.GaussianBlur(small, (0, 0), 1.0)
    middle = (_SIDE - 1) / 2
    best = Midline(0.0, 0.0, -1.0)
    for angle in _ANGLES.tolist():
        matrix = _rotation(angle, middle)[:2]
        turned = np.asarray(cv2.warpAffine(small, matrix, (_SIDE, _SIDE)), np.float32)
        for shift in _SHIFTS.tolist():
            symmetry = _correlation(*_overlap(turned, shift))
            if symmetry > best.symmetry:
                best = Midline(float(angle), shift / 2 / _SIDE, symmetry)
    return best


def _overlap(
    turned: NDArray[np.float32], shift: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    flipped = turned[:, ::-1]
    if shift >= 0:
        return turned[:, shift:], flipped[:, : _SIDE - shift]
    return turned[:, :shift], flipped[:, -shift:]


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / scale if scale > 0 else -1.0


def _rotation(degrees: float, middle: float) -> NDArray[np.float64]:
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D((middle, middle), degrees, 1.0)
    return matrix
