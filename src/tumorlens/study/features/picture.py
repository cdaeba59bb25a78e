"""The thirteen features of one picture or of a stack, and what each of them means."""

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import BlankImageError, InvalidPixelsError
from tumorlens.study.features.kernels import measure_stack

FEATURES = (
    "mean", "variance", "standard_deviation", "skewness", "kurtosis", "contrast", "energy",
    "asm", "entropy", "homogeneity", "dissimilarity", "correlation", "coarseness",
)  # fmt: skip


def measure(pixels: NDArray[np.uint8], *, mask: NDArray[np.bool_] | None = None) -> NDArray:
    """Measure one grey picture, uint8 [h, w], or its pixels inside a mask: float64 [13].

    First order, of the pixels: mean, population variance and its root, biased skewness, biased
    excess kurtosis (0 for a normal distribution); the last two are NaN for a constant picture.

    Co-occurrence p(a, b), of each pixel and its right neighbor (Haralick, Shanmugam and
    Dinstein, 1973): distance 1, angle 0, 256 levels, not symmetric, normalised; inside a mask
    where both lie in it, and NaN without a single pair. With d = a - b: contrast E[d^2],
    dissimilarity E[|d|], homogeneity E[1/(1 + d^2)], ASM the sum of p^2, energy its root,
    entropy -sum of p ln p (nats), correlation of a and b (1 where either is constant).

    Coarseness, in pixels (Tamura, Mori and Yamawaki, 1978): at each pixel the window of 2, 4,
    8, 16 or 32 pixels whose mean differs most from its neighbor's, across or down; the mean of
    these sizes. Windows lie wholly on pixels that count; a pixel around which nothing differs
    has no size and does not count. NaN where no pixel has one.

    The published table of 3,762 slices differs in three columns. It was not made from the
    published JPEGs, but its numbers give away its definitions. Kurtosis lies below
    skewness^2 + 1 in 73 % of its rows, which only excess kurtosis can. Entropy is no entropy:
    to 5 % it is energy * log2(1 + energy), so sum of p log2(1 + p), which rises where entropy
    falls. Coarseness is 2^-512 in every row, but for rounding. Energy is the root of ASM
    there as here; which homogeneity it holds cannot be told.

    Raises InvalidPixelsError for another shape or type, BlankImageError for no pixels.
    """
    masks = None if mask is None else np.asarray(mask)[None]
    return measure_many(np.asarray(pixels)[None], masks=masks)[0]


def measure_many(
    pixels: NDArray[np.uint8], *, masks: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Measure pictures of one size, uint8 [n, h, w], on all cores: [n, 13]; see `measure`."""
    pixels = np.asarray(pixels)
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        fact = f"is {pixels.dtype} with {pixels.ndim - 1} axes, not uint8 [height, width]"
        raise InvalidPixelsError("picture", fact, "Scale one grey plane to 0-255.")
    if masks is not None and np.shape(masks) != pixels.shape:
        fact = f"has the size {np.shape(masks)[1:]}, its picture {pixels.shape[1:]}"
        raise InvalidPixelsError("mask", fact, "Bring it into the picture's own pixel grid.")
    counted = np.ones((1, 1, 1), bool) if masks is None else np.ascontiguousarray(masks, bool)
    if 0 in pixels.shape[1:] or not counted.any(axis=(1, 2)).all():
        fix = "Give a picture with pixels, and a mask that covers some."
        raise BlankImageError("picture", "has no pixel to measure", fix)
    out = np.empty((len(pixels), len(FEATURES)))
    measure_stack(np.ascontiguousarray(pixels), counted, masks is None, out)
    return out


def head_of(prepared: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Give the head in a prepared picture, [side, side]: what is above 0, with its holes.

    Preparing blanks what lies outside the head to 0. Air and fluid inside it can be 0 as well,
    and belong to the head; dark pixels at its very edge cannot be told from background.
    """
    contours, _ = cv2.findContours(
        (prepared > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    filled = np.zeros(prepared.shape, np.uint8)
    cv2.drawContours(filled, contours, -1, 1, thickness=-1)
    return filled > 0
