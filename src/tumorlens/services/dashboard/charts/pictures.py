"""A scan as it was stored, as the network saw it, and where the evidence stood."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.predictions.heatmaps import overlay
from tumorlens.records import Heatmap

SIDE = 448  # pixels of the prepared square and of the heatmap on a page


def windowed(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], *, darkest: float, brightest: float
) -> NDArray[np.uint8]:
    """Spread grey levels between two shares of the picture's own range over black to white.

    0 and 1 show the picture as it is; values outside the window clip.

    >>> windowed(np.array([[0, 50, 100, 200]], np.uint8), darkest=0.25, brightest=0.5).tolist()
    [[0, 0, 255, 255]]
    """
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype == np.uint8 and (darkest, brightest) == (0.0, 1.0):
        return np.asarray(pixels, np.uint8)
    start = low + darkest * (high - low)
    width = max((brightest - darkest) * (high - low), 1e-6)
    return (np.clip((pixels - start) / width, 0, 1) * 255).round().astype(np.uint8)


def prepared_picture(heatmap: Heatmap) -> NDArray[np.uint8]:
    """Give what the network saw, large enough to look at, [SIDE, SIDE]."""
    return np.asarray(
        cv2.resize(heatmap.prepared, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8
    )


def heat_picture(heatmap: Heatmap, *, opacity: float) -> NDArray[np.uint8]:
    """Lay the evidence over what the network saw, [SIDE, SIDE, 3] RGB; opacity from 0 to 1."""
    both = overlay(heatmap, side=SIDE, opacity=opacity)
    return np.ascontiguousarray(both[:, SIDE:, ::-1])


def squared(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put a picture in the middle of a black square, so that pictures in a row are level."""
    height, width = picture.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side, *picture.shape[2:]), np.uint8)
    square[top : top + height, left : left + width] = picture
    return square
