"""Pictures as fields of numbers: blurring, smooth noise, and the way down from the canvas."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.study.phantom.anatomy import Labels

Image = NDArray[np.float32]

PICTURE = 192  # pixels per side of the rendered picture before it is resized


def blurred(field: NDArray[Any], sigma: float) -> Image:
    """Blur with a Gaussian of `sigma` pixels."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)


def smooth_noise(rng: np.random.Generator, *, sigma: float, side: int = PICTURE) -> Image:
    """Draw a smooth random field of zero mean and unit variance."""
    field = blurred(rng.standard_normal((side, side), dtype=np.float32), sigma)
    return (field - field.mean()) / field.std()


def resized(field: NDArray[Any], side: int) -> Image:
    """Bring a square field to `side` pixels, averaging on the way down."""
    if field.shape[0] == side:
        return np.asarray(field, np.float32)
    method = cv2.INTER_AREA if side < field.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(field, (side, side), interpolation=method), np.float32)


def coverage(labels: Labels, *tissues: int) -> Image:
    """Measure the share of every picture pixel that the tissues cover."""
    table = np.zeros(256, np.float32)
    table[list(tissues)] = 1
    return resized(cv2.LUT(labels, table), PICTURE)
