"""Thirteen first-order and texture features of an image or of a stack, and what each means.

A prepared image has some 16,000 pairs of neighbors and the matrix of their co-occurrence 65,536
cells, nearly all of them empty. So the compiled loops walk the pairs, never the matrix.
"""

import cv2
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from tumorlens.errors import BlankImageError, InvalidPixelsError

FEATURES = (
    "mean", "variance", "standard_deviation", "skewness", "kurtosis", "contrast", "energy",
    "asm", "entropy", "homogeneity", "dissimilarity", "correlation", "coarseness",
)  # fmt: skip
GRAY_LEVELS = 256
LARGEST_WINDOW = 5  # 2^5 pixels, the largest of Tamura, Mori and Yamawaki
BLOCK = 32  # images that share one matrix
_LOGS = np.array([0.0, *(n * np.log(n) for n in range(1, 1024))])  # n ln n


@njit(cache=True)
def _first_order(histogram, out):  # pragma: no cover - compiled
    """Write mean, variance, deviation, skewness and excess kurtosis of a histogram, [256]."""
    total, count = 0.0, 0
    for value in range(GRAY_LEVELS):
        total += value * histogram[value]
        count += histogram[value]
    mean = total / count
    second, third, fourth = 0.0, 0.0, 0.0
    for value in range(GRAY_LEVELS):
        square = (value - mean) * (value - mean)
        second += histogram[value] * square
        third += histogram[value] * square * (value - mean)
        fourth += histogram[value] * square * square
    second, third, fourth = second / count, third / count, fourth / count
    out[0], out[1], out[2] = mean, second, np.sqrt(second)
    out[3] = third / second**1.5 if second > 0 else np.nan
    out[4] = fourth / second**2 - 3.0 if second > 0 else np.nan


@njit(cache=True)
def _pairs(pixels, mask, whole, cells, steps):  # pragma: no cover - compiled
    """Count the pairs of a pixel and its right neighbor, by both values and by their distance."""
    height, width = pixels.shape
    count, black = 0, 0
    for y in range(height):
        row, inside = pixels[y], mask[0 if whole else y]
        for x in range(width - 1):
            if whole or (inside[x] and inside[x + 1]):
                a, b = row[x], row[x + 1]
                count += 1
                if a == 0 and b == 0:  # the background: one counter stays in a register
                    black += 1
                else:
                    cells[a, b] += 1
                    steps[abs(np.int64(a) - np.int64(b))] += 1
    cells[0, 0] += black
    steps[0] += black
    return count


@njit(cache=True)
def _distances(steps, count, out):  # pragma: no cover - compiled
    contrast, dissimilarity, homogeneity = 0.0, 0.0, 0.0
    for step in range(GRAY_LEVELS):
        times = float(steps[step])
        contrast += times * step * step
        dissimilarity += times * step
        homogeneity += times / (1.0 + step * step)
    out[5], out[9], out[10] = contrast / count, homogeneity / count, dissimilarity / count


@njit(cache=True)
def _spread(histogram, count, around):  # pragma: no cover - compiled
    """Return the mean, less `around`, and the standard deviation of a marginal, [256]."""
    mean, variance = 0.0, 0.0
    for value in range(GRAY_LEVELS):
        mean += histogram[value] * (value - around)
    mean /= count
    for value in range(GRAY_LEVELS):
        variance += histogram[value] * (value - around - mean) ** 2
    return mean, np.sqrt(variance / count)


@njit(cache=True)
def _texture(pixels, mask, whole, cells, out):  # pragma: no cover - compiled
    """Write the seven features of the co-occurrence; `cells` comes and leaves empty."""
    steps, left = np.zeros(GRAY_LEVELS, np.int64), np.zeros(GRAY_LEVELS, np.int64)
    right = np.zeros(GRAY_LEVELS, np.int64)
    count = _pairs(pixels, mask, whole, cells, steps)
    if count == 0:
        out[5:12] = np.nan
        return
    _distances(steps, count, out)
    around = np.rint(out[0])  # near both marginals' means: nothing cancels
    squares, logs, together = 0.0, 0.0, 0.0
    for y in range(pixels.shape[0]):
        row = pixels[y]
        for x in range(len(row) - 1):
            a, b = row[x], row[x + 1]
            times = cells[a, b]
            if times == 0:  # met before, or outside the mask
                continue
            cells[a, b] = 0
            left[a] += times
            right[b] += times
            squares += float(times) * times
            logs += _LOGS[times] if times < len(_LOGS) else times * np.log(times)
            together += times * (a - around) * (b - around)
    asm = squares / (float(count) * count)
    out[6], out[7], out[8] = np.sqrt(asm), asm, max(0.0, np.log(count) - logs / count)
    mean_a, spread_a = _spread(left, count, around)
    mean_b, spread_b = _spread(right, count, around)
    spread = spread_a * spread_b
    out[11] = (together / count - mean_a * mean_b) / spread if spread > 0 else 1.0


@njit(cache=True)
def _doubled(window, size):  # pragma: no cover - compiled
    """Sum windows of 2 x `size` from those of `size`, as far as they fit."""
    height, width = max(0, window.shape[0] - size), max(0, window.shape[1] - size)
    found = np.empty((height, width), np.int32)
    step = np.uint64(size)
    for y in range(np.uint64(height)):
        for x in range(np.uint64(width)):
            found[y, x] = (
                window[y, x]
                + window[y, x + step]
                + window[y + step, x]
                + window[y + step, x + step]
            )
    return found


@njit(cache=True)
def _improve(best, window, full, k, way):  # pragma: no cover - compiled
    """Raise `best` where the means of two neighboring windows differ more than any before.

    `best` is 8 x the difference, scaled to the area of the largest window, plus 7 - k: whole
    numbers that compare as the means do, with the smaller window first among equals. `way` is
    (0, 1) across or (1, 0) down; a window belongs to the pixel `half` below and right of its
    first one. `full` holds the pixels of each window that count: all of them, or it is not
    taken; an empty `full` asks nothing.
    """
    size, half = 1 << k, np.uint64(1 << (k - 1))
    scale, code = np.int32(8 << (2 * (LARGEST_WINDOW - k))), np.int32(7 - k)
    rows, columns = window.shape[0] - way[0] * size, window.shape[1] - way[1] * size
    down, right = np.uint64(way[0] * size), np.uint64(way[1] * size)
    # What of the pair's second window is its center, across or along the step.
    below, beside = (half, down)[way[0]], (half, right)[way[1]]
    whole, minimum = full.size == 0, size * size
    for y in range(np.uint64(max(0, rows))):
        if whole:
            for x in range(np.uint64(max(0, columns))):
                step = abs(window[y, x] - window[y + down, x + right])
                value = np.int32(step * scale + code)
                best[y + below, x + beside] = max(best[y + below, x + beside], value)
            continue
        for x in range(np.uint64(max(0, columns))):
            if full[y, x] == minimum and full[y + down, x + right] == minimum:
                step = abs(window[y, x] - window[y + down, x + right])
                value = np.int32(step * scale + code)
                best[y + below, x + beside] = max(best[y + below, x + beside], value)


@njit(cache=True)
def _best_windows(pixels, mask, whole):  # pragma: no cover - compiled
    """Return, for each pixel, what `_improve` leaves; below 8 nothing differs there."""
    best = np.zeros(pixels.shape, np.int32)
    window = pixels.astype(np.int32)
    full = np.empty((0, 0), np.int32) if whole else mask.astype(np.int32)
    for k in range(1, LARGEST_WINDOW + 1):
        window = _doubled(window, 1 << (k - 1))
        if not whole:
            full = _doubled(full, 1 << (k - 1))
        _improve(best, window, full, k, (0, 1))
        _improve(best, window, full, k, (1, 0))
    return best


@njit(cache=True)
def _coarseness(pixels, mask, whole):  # pragma: no cover - compiled
    best = _best_windows(pixels, mask, whole)
    total, count = 0, 0
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            if best[y, x] >= 8 and (whole or mask[y, x]):
                total += 1 << (7 - (best[y, x] & 7))
                count += 1
    return total / count if count else np.nan


@njit(cache=True)
def _histogram(pixels, mask, whole):  # pragma: no cover - compiled
    histogram = np.zeros(GRAY_LEVELS, np.int64)
    black = 0
    for y in range(pixels.shape[0]):
        row, inside = pixels[y], mask[0 if whole else y]
        for x in range(len(row)):
            if whole or inside[x]:
                if row[x] == 0:
                    black += 1
                else:
                    histogram[row[x]] += 1
    histogram[0] += black
    return histogram


@njit(parallel=True, cache=True)
def measure_stack(
    pixels: NDArray[np.uint8], masks: NDArray[np.bool_], whole: bool, out: NDArray[np.float64]
) -> None:  # pragma: no cover - compiled
    """Fill out, [n, 13], from images [n, h, w]; masks, of that shape, count if not `whole`."""
    n = len(pixels)
    for block in prange((n + BLOCK - 1) // BLOCK):
        cells = np.zeros((GRAY_LEVELS, GRAY_LEVELS), np.int32)
        for i in range(block * BLOCK, min(n, (block + 1) * BLOCK)):
            image, mask = pixels[i], masks[0 if whole else i]
            _first_order(_histogram(image, mask, whole), out[i])
            _texture(image, mask, whole, cells, out[i])
            out[i, 12] = _coarseness(image, mask, whole)


def measure(pixels: NDArray[np.uint8], *, mask: NDArray[np.bool_] | None = None) -> NDArray:
    """Measure one gray image, uint8 [h, w], or its pixels inside a mask: float64 [13].

    First order, of the pixels: mean, population variance and its root, biased skewness, biased
    excess kurtosis (0 for a normal distribution); the last two are NaN for a constant image.

    Co-occurrence p(a, b), of each pixel and its right neighbor (Haralick, Shanmugam and
    Dinstein, 1973): distance 1, angle 0, 256 levels, not symmetric, normalized; inside a mask
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
    there as here; which homogeneity it holds is open.

    Raises InvalidPixelsError for another shape or type, BlankImageError for no pixels.
    """
    masks = None if mask is None else np.asarray(mask)[None]
    return measure_many(np.asarray(pixels)[None], masks=masks)[0]


def measure_many(
    pixels: NDArray[np.uint8], *, masks: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Measure images of one size, uint8 [n, h, w], on all cores: [n, 13]; see `measure`."""
    pixels = np.asarray(pixels)
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        fact = f"is {pixels.dtype} with {pixels.ndim - 1} axes, not uint8 [height, width]"
        raise InvalidPixelsError("image", fact, "Scale one gray plane to 0-255.")
    if masks is not None and np.shape(masks) != pixels.shape:
        fact = f"has the size {np.shape(masks)[1:]}, its image {pixels.shape[1:]}"
        raise InvalidPixelsError("mask", fact, "Bring it into the image's own pixel grid.")
    counted = np.ones((1, 1, 1), bool) if masks is None else np.ascontiguousarray(masks, bool)
    if 0 in pixels.shape[1:] or not counted.any(axis=(1, 2)).all():
        fix = "Pass an image with pixels, and a mask that covers some."
        raise BlankImageError("image", "has no pixel to measure", fix)
    out = np.empty((len(pixels), len(FEATURES)))
    measure_stack(np.ascontiguousarray(pixels), counted, masks is None, out)
    return out


def head_of(prepared: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the head in a prepared image, [side, side]: what is above 0, with its holes.

    Preparing blanks what lies outside the head to 0. Air and fluid inside it can be 0 as well,
    and belong to the head; dark pixels at its very edge cannot be told from background.
    """
    contours, _ = cv2.findContours(
        (prepared > 0).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    filled = np.zeros(prepared.shape, np.uint8)
    cv2.drawContours(filled, contours, -1, 1, thickness=-1)
    return filled > 0
