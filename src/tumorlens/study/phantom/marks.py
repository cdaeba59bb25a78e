"""Burned-in marks: letters in the corners and a scale bar, meaning nothing."""

import cv2
import numpy as np
from numpy.typing import NDArray

SHARE = 0.3  # of all pictures, whatever they show
_WORDS = ("L", "R", "A12", "5 cm", "P", "H", "S 07", "W80", "3 mm", "IM 41")


def burn_marks(pixels: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Write two or three words into corners, and at times a scale bar, in three of ten pictures."""
    drawn = rng.random() < SHARE
    corners = rng.permutation(4)[: rng.integers(1, 4)]
    words = rng.choice(_WORDS, size=corners.size, replace=False)
    level, bar = int(rng.integers(170, 256)), rng.random() < 0.5
    if not drawn:
        return
    for corner, word in zip(corners, words, strict=True):
        _write(pixels, str(word), corner=int(corner), level=level)
    if bar:
        _scale_bar(pixels, level)


def _write(pixels: NDArray[np.uint8], word: str, *, corner: int, level: int) -> None:
    side = pixels.shape[0]
    size = side / 192 * 0.65
    (width, height), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_PLAIN, size, 1)
    margin = max(2, side // 48)
    x = margin if corner % 2 == 0 else side - margin - width
    y = margin + height if corner < 2 else side - margin
    cv2.putText(pixels, word, (x, y), cv2.FONT_HERSHEY_PLAIN, size, [level], 1, cv2.LINE_AA)


def _scale_bar(pixels: NDArray[np.uint8], level: int) -> None:
    side = pixels.shape[0]
    x, top, bottom = side - max(2, side // 64), side * 3 // 8, side * 5 // 8
    cv2.line(pixels, (x, top), (x, bottom), [level], 1)
    for y in np.linspace(top, bottom, 6).round().astype(int):
        cv2.line(pixels, (x - max(1, side // 64), int(y)), (x, int(y)), [level], 1)
