"""What is not one plain slice is found before a network sees it.

Marks, heatmaps, sheets, masks and thumbnails give a network an answer that says nothing about
the head. The limits were chosen on one half of the images of each public set, of sheets made of
them and of marks drawn on them; the figures of `docs/reference/field-cases.md` are of the other.
"""

from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_HEAD = 64  # pixels, the longer side of a head
_HEAD_IN_IMAGE = 0.7  # of the longer side: a small section near the crown lies in a large image
_MARK_COLOR = 16.0  # of 255, by which a colored cell leaves the tint of the whole
_MARK_SHARE = 0.01  # of the head
_MIN_BRIGHTNESS = 60.0  # sum of the channels above which a cell has a tint
_BINS = 32  # of gray values
_MIN_FILLED_BINS = 8
_SAMPLED_SIDE = 64  # pixels of a head whose gray values are counted
_MAX_AT_ENDS = 0.8  # of the pixels in the two lowest and the two highest bins
_MAX_CELLS = 6  # of a sheet, along each side
_SEAM = 0.57  # of the profile of the smallest cell: at most so much is left between two heads
_CLOSED_SEAM = 0.8  # the same, once narrow gaps are closed
_CLOSING = 18  # pixels, shared by the cells of a side
_SEAM_WIDTH = 0.08  # of a cell, to either side
_SIMILAR = 0.35  # the smallest cell of a sheet holds at least so much of the largest
_CENTERED = 0.2  # of a cell: so far its content may lie off its middle
_MAX_LINE = 12  # pixels, of a drawn grid or the paper between two heads


def why_not_plain(
    pixels: NDArray[np.float32],
    head: NDArray[np.bool_],
    foreground: NDArray[np.uint8],
    *,
    box: tuple[float, float, float, float],
    gray_range: tuple[float, float],
    colors: NDArray[np.uint8] | None,
    own: NDArray[np.float32],
) -> str:
    """Return why an image is not one plain slice, and what to do; "" where it is.

    `head` is [h, w] as `pixels` and `box` its bounds, x0, y0, x1, y1; `foreground` is what stands
    out from the background, at any size; `gray_range` holds the head's own lowest and highest
    values, `colors` what `images.raster` measured, `own` the values of the file, before any window.
    """
    side = head_side(box, head.shape)
    if side < MIN_HEAD:
        return f"a small head, {side} pixels, below {MIN_HEAD} (give the slice it was made from)"
    if has_few_grays(pixels, box, gray_range) and (own is pixels or _is_mask(own, head, box)):
        return "few gray values, as in a mask (give the slice that it was drawn on)"
    columns, rows = sheet_layout(foreground)
    if columns * rows > 1:
        return f"several heads, {columns * rows} or more (give each slice a file of its own)"
    share = colored_share(colors, head)
    if share >= _MARK_SHARE:
        return f"colored marks over the head, {share:.0%} of it (give the slice without them)"
    return ""


def head_side(box: tuple[float, float, float, float], shape: tuple[int, ...]) -> int:
    """Return the longer side of a head in pixels, or of one that would fill such an image."""
    found = max(box[2] - box[0], box[3] - box[1])
    return max(round(found), round(_HEAD_IN_IMAGE * max(shape)))


def colored_share(colors: NDArray[np.uint8] | None, head: NDArray[np.bool_]) -> float:
    """Return the share of the head whose color is not the tint of the whole."""
    if colors is None:
        return 0.0
    size = (colors.shape[1], colors.shape[0])
    inside = cv2.resize(head.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    cells = colors[inside].astype(np.float32)  # [n, 3]
    brightness = cells.sum(1, keepdims=True)
    bright = brightness[:, 0] > _MIN_BRIGHTNESS
    if not bright.any():
        return 0.0
    tint = np.median(cells[bright] / brightness[bright], axis=0)
    marked = np.abs(cells - brightness * tint).max(1) > _MARK_COLOR
    return float(marked.mean())


def _is_mask(
    own: NDArray[np.float32], head: NDArray[np.bool_], box: tuple[float, float, float, float]
) -> bool:
    """Tell a mask from bone, which a narrow window makes white from end to end."""
    low, high = np.percentile(own[head], [0.5, 99.5])
    return has_few_grays(own, box, (low, high))


def has_few_grays(
    pixels: NDArray[np.float32],
    box: tuple[float, float, float, float],
    gray_range: tuple[float, float],
) -> bool:
    """Tell a drawn mask, also one that JPEG has blurred, from a slice."""
    low, high = gray_range
    if high <= low:
        return True
    x0, y0, x1, y1 = map(int, box)
    step = 1 + max(x1 - x0, y1 - y0) // _SAMPLED_SIDE
    values = (pixels[y0:y1:step, x0:x1:step] - low) * (_BINS / (high - low))
    bins = np.clip(values, 0, _BINS - 1).astype(np.uint8)
    counts = np.bincount(bins.ravel(), minlength=_BINS)
    ends = counts[:2].sum() + counts[-2:].sum()
    return int((counts > 0).sum()) < _MIN_FILLED_BINS or ends > _MAX_AT_ENDS * counts.sum()


def sheet_layout(foreground: NDArray[np.uint8]) -> tuple[int, int]:
    """Return columns and rows of a sheet of heads, [h, w] of 0 and 1; (1, 1) for one head.

    Between two heads of a sheet little or nothing stands out, and each cell holds about as much
    as the others, in its middle. One head has most in the middle of the image. What looks like
    a gap and is a dark brain, open to one side, is closed before it is believed.
    """
    if not any(_gaps(_profile(foreground, axis)) for axis in (0, 1)):
        return 1, 1
    lines = tuple(_grid_lines(foreground, axis) for axis in (0, 1))
    region = foreground.copy()
    region[:, lines[0]] = 0
    region[lines[1]] = 0
    filled = _filled(region)
    columns, rows = (_count_cells(region, filled, axis, lines[axis]) for axis in (0, 1))
    return columns, rows


def _profile(region: NDArray[np.uint8], axis: int) -> NDArray[np.float32]:
    """Count what is marked across an axis, [n]."""
    sums = cv2.reduce(region, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32F)
    return np.asarray(sums.ravel(), np.float32)


def _gaps(profile: NDArray[np.float32]) -> list[int]:
    """Return into how many cells a profile may fall, most first: quickly, none for most heads."""
    is_low = profile <= _SEAM * profile.max()
    return [
        cells
        for cells in range(_MAX_CELLS, 1, -1)
        if all(is_low[a:b].any() for a, b in _seams(len(profile), cells))
    ]


@lru_cache(maxsize=1024)
def _seams(length: int, cells: int) -> list[tuple[int, int]]:
    """Return where the gaps between cells may lie; the one between the middle ones comes first."""
    width = max(1, round(_SEAM_WIDTH * length / cells))
    order = sorted(range(1, cells), key=lambda k: abs(2 * k - cells))
    middles = (round(length * k / cells) for k in order)
    return [(max(0, middle - width), middle + width + 1) for middle in middles]


def _filled(region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = cv2.drawContours(np.zeros_like(region), contours, -1, color=1, thickness=-1)
    return np.asarray(cv2.morphologyEx(filled, cv2.MORPH_OPEN, _square(5)), np.uint8)


def _closed(region: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    padded = cv2.morphologyEx(np.pad(region, size), cv2.MORPH_CLOSE, _square(size))
    return np.ascontiguousarray(padded[size:-size, size:-size], np.uint8)


def _square(size: int) -> NDArray[np.uint8]:
    return np.ones((size, size), np.uint8)


def _grid_lines(foreground: NDArray[np.uint8], axis: int) -> NDArray[np.bool_]:
    """Mark the lines from end to end beside which little stands out."""
    share = foreground.mean(axis)
    is_line = np.zeros(len(share), bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], share > 0.95, [0]])))
    for start, end in edges.reshape(-1, 2).tolist():
        beside = [share[i] for i in (start - 3, end + 2) if 0 <= i < len(share)]
        if end - start <= _MAX_LINE and max(beside, default=1.0) < 0.7:
            is_line[max(0, start - 1) : end + 1] = True
    return is_line


def _count_cells(
    region: NDArray[np.uint8], filled: NDArray[np.uint8], axis: int, lines: NDArray[np.bool_]
) -> int:
    """Return how many equal cells an image falls into along an axis."""
    profile = _profile(filled, axis)
    for n in _gaps(profile):
        if _falls_into(profile, lines, n, seam=_SEAM):
            closed = _profile(_filled(_closed(region, _CLOSING // n | 1)), axis)
            if lines.any() or _falls_into(closed, lines, n, seam=_CLOSED_SEAM):
                return n
    return 1


def _falls_into(
    profile: NDArray[np.float32], lines: NDArray[np.bool_], cells: int, *, seam: float
) -> bool:
    bounds = np.round(np.linspace(0, len(profile), cells + 1)).astype(int).tolist()
    parts = [profile[a:b] for a, b in pairwise(bounds)]
    held = [float(part.sum()) for part in parts]
    if min(held) < _SIMILAR * max(held):
        return False
    middles = [(part @ np.arange(len(part)) / part.sum() + 0.5) / len(part) for part in parts]
    if max(abs(middle - 0.5) for middle in middles) > _CENTERED:
        return False
    between = np.where(lines, np.inf, profile)
    left = max(between[a:b].min() for a, b in _seams(len(profile), cells))
    return bool(left <= seam * min(part.max() for part in parts))
