"""Where text is likely burned into an image: found and counted, never read.

Strokes are lighter than their neighborhood, which a top-hat isolates; letters are components of
such strokes; text is a row of letters of like height. Outside the head almost every such row is
text. Over the head anatomy makes rows too, so only even, aligned ones count there, and most text
over the head is missed: no row found is no proof that there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from tumorlens.errors import ImageError
from tumorlens.images.readers import read_scan
from tumorlens.inputs.prepare import find_head
from tumorlens.study.audit.facts import eight_bits

LONGEST = 512  # pixels of the longer side at which text is looked for
STROKE = 7  # pixels; a stroke is narrower than this
CONTRAST = 40  # of 255, of a stroke against its neighborhood
CONTRAST_OVER_HEAD = 50
HEIGHTS = (4, 34)  # pixels of a letter
FILL = (0.15, 0.95)  # share of its box that a letter covers; only upright bars cover more
WIDEST = 12  # heights; letters of small text run together
THUMBNAIL_SIDE = 112  # pixels: a name that were left in a head could not be read at this size
MAX_LETTERS = 1500  # looked at, those outside the head first

# Two letters are neighbors in a row within these, the lengths in heights of the taller.
_HEIGHT_RATIO, _OVERLAP, _GAP = 1.6, 0.6, 1.5


@dataclass(frozen=True)
class RowLimits:
    """What a row of letters has to be, to be taken for text."""

    letters: float  # fewest; letters that run together are estimated
    ground: float  # most deviation between the strokes, of their contrast
    spread: float  # most relative deviation of the letters' brightness
    ragged: float  # most deviation of tops and of bottoms (the smaller), of the height
    fill: float  # least share of their boxes that the letters cover


# Chosen on half of figshare, bohaju and the phantoms, with and without drawn text. On the other
# half: 95 % of drawn text outside the head found, 37 % of that over it; 4 of 2,538 scans without
# text had a row, all over the head.
OUTSIDE = RowLimits(letters=2.75, ground=0.6, spread=0.3, ragged=0.3, fill=0)
OVER_HEAD = RowLimits(letters=4.9, ground=0.9, spread=0.08, ragged=0.1, fill=0.3)


@dataclass(frozen=True)
class Box:
    """Where a row of likely text stands, in pixels of the scan."""

    x: int
    y: int
    width: int
    height: int
    over_head: bool = False  # there the finding is less certain


@dataclass(frozen=True)
class _Page:
    """An image at the size at which text is looked for."""

    gray: NDArray[np.uint8]  # [h, w], text is light
    head: NDArray[np.uint8]  # [h, w]
    contrast: NDArray[np.uint8]  # [h, w] top-hat
    labels: NDArray[np.int32]  # [h, w] numbers of the components


@dataclass(frozen=True)
class _Letters:
    """Components of the size and shape of letters, [k] each."""

    numbers: NDArray[np.int64]  # on the page
    boxes: NDArray[np.int32]  # [k, 5]: x, y, width, height, area
    over_head: NDArray[np.bool_]
    light: NDArray[np.float64]  # brightest pixel
    contrast: NDArray[np.float64]  # mean


def find_text(pixels: NDArray[Any], head: NDArray[np.bool_]) -> list[Box]:
    """List the rows of likely text in a gray image, [h, w], whose head is known, [h, w].

    Single letters and pairs are not listed: they name nobody, and specks look the same.
    """
    scale = min(1.0, LONGEST / max(pixels.shape))
    page, boxes = _page(eight_bits(pixels), head, scale)
    letters = _letters(page, boxes)
    found = []
    for row in _rows(letters.boxes):
        over_head = bool(letters.over_head[row].mean() >= 0.5)
        if _is_text(page, letters, row, limits=OVER_HEAD if over_head else OUTSIDE):
            found.append(_box(letters.boxes[row], scale, over_head=over_head))
    return found


def blurred_thumbnail(
    prepared: NDArray[np.uint8], *, side: int = THUMBNAIL_SIDE
) -> NDArray[np.uint8]:
    """Shrink a prepared image for a page, [side, side].

    It is shrunk before it is blurred, so that strokes of letters are gone from it.
    """
    shrunk = cv2.resize(prepared, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(shrunk, (0, 0), 0.5), np.uint8)


def why_hidden(path: Path, *, boxes: Sequence[Box] | None = None) -> str | None:
    """Return why the prepared image of a file must not be shown, None where it may be.

    This is the one rule for every page and folder that shows single scans. `boxes` are the rows
    of text that a survey found already. Fields of the file that name people do not count: a
    prepared image is drawn anew and carries none.
    """
    try:
        scan = read_scan(path)
        found = find_text(scan.pixels, find_head(scan)) if boxes is None else boxes
    except ImageError as error:
        return error.fact
    return "text may lie over the head" if any(box.over_head for box in found) else None


def _page(
    gray: NDArray[np.uint8], head: NDArray[np.bool_], scale: float
) -> tuple[_Page, NDArray[np.int32]]:
    mask = head.astype(np.uint8)
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in gray.shape[::-1])
        gray = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
        mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    if cv2.mean(gray, 1 - mask)[0] > 127:  # on paper, text is dark
        gray = np.asarray(cv2.bitwise_not(gray), np.uint8)
    kernel = np.ones((STROKE, STROKE), np.uint8)
    contrast = np.asarray(cv2.morphologyEx(gray, cv2.MORPH_TOPHAT, kernel), np.uint8)
    strokes = (contrast > np.where(mask, CONTRAST_OVER_HEAD, CONTRAST)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    return _Page(gray, mask, contrast, np.asarray(labels, np.int32)), np.asarray(stats, np.int32)


def _letters(page: _Page, boxes: NDArray[np.int32]) -> _Letters:
    x, y, width, height, area = boxes.T
    fill = area / (width * height)
    fits = (height >= HEIGHTS[0]) & (height <= HEIGHTS[1]) & (width <= WIDEST * height)
    fits &= (fill >= FILL[0]) & ((fill <= FILL[1]) | (2 * width <= height))
    fits[0] = False  # the background
    numbers = np.flatnonzero(fits)
    over_head = page.head[y[numbers] + height[numbers] // 2, x[numbers] + width[numbers] // 2] > 0
    kept = np.sort(np.argsort(over_head, kind="stable")[:MAX_LETTERS])
    numbers, over_head = numbers[kept], over_head[kept]
    light, contrast = _brightness(page, len(boxes))
    return _Letters(numbers, boxes[numbers], over_head, light[numbers], contrast[numbers])


def _brightness(page: _Page, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the brightest pixel and the mean contrast of each component, [n]."""
    places = np.flatnonzero(page.labels)
    owners = page.labels.ravel()[places]
    order = np.argsort(owners, kind="stable")
    light = np.zeros(n)
    if len(order):
        starts = np.flatnonzero(np.diff(owners[order], prepend=0))
        light[owners[order][starts]] = np.maximum.reduceat(page.gray.ravel()[places[order]], starts)
    totals = np.bincount(owners, page.contrast.ravel()[places], minlength=n)
    return light, totals / np.maximum(1, np.bincount(owners, minlength=n))


def _rows(boxes: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """Chain letters of like height that stand beside one another, where they may be enough."""
    x, y, width, height, _ = boxes.T
    right, bottom = x + width, y + height
    taller = np.maximum.outer(height, height)
    shared = np.minimum.outer(bottom, bottom) - np.maximum.outer(y, y)
    gap = np.maximum.outer(x, x) - np.minimum.outer(right, right)
    linked = taller <= _HEIGHT_RATIO * np.minimum.outer(height, height)
    linked &= (shared >= _OVERLAP * taller) & (gap <= _GAP * taller)
    rows = connected_components(csr_array(linked), directed=False)[1]
    letters = np.bincount(rows, np.maximum(1, _in_width(width, height)))
    return [np.flatnonzero(rows == row) for row in np.flatnonzero(letters >= OUTSIDE.letters)]


def _is_text(page: _Page, letters: _Letters, row: NDArray[np.int64], *, limits: RowLimits) -> bool:
    """Check a row against its limits, the cheap ones first."""
    _, y, width, height, area = letters.boxes[row].T
    light = letters.light[row]
    return bool(
        area.sum() >= limits.fill * (width * height).sum()
        and min(y.std(), (y + height).std()) <= limits.ragged * height.mean()
        and light.std() <= limits.spread * light.mean()
        and sum(_count(page, letters, int(i)) for i in row) >= limits.letters
        and _unrest(page, letters.boxes[row]) <= limits.ground * letters.contrast[row].mean()
    )


def _count(page: _Page, letters: _Letters, index: int) -> float:
    """Estimate how many letters run together in a component, from its width and its strokes."""
    box = letters.boxes[index]
    if box[2] <= box[3]:
        return 1.0
    shape = page.labels[_window(box)] == letters.numbers[index]
    strokes = shape[:, 0] + (shape[:, 1:] & ~shape[:, :-1]).sum(axis=1)
    return min(float(_in_width(box[2], box[3])), float(np.median(strokes)))


def _in_width(width: Any, height: Any) -> Any:
    """Estimate how many letters fit into a width."""
    return width / (0.7 * height)


def _unrest(page: _Page, boxes: NDArray[np.int32]) -> float:
    """Return the deviation of the ground between and around the strokes of a row."""
    around = _window(_union(boxes), margin=2)
    edged = cv2.dilate((page.labels[around] > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    ground = page.gray[around][edged == 0]
    return float(ground.std()) if len(ground) else 0.0


def _window(box: NDArray[np.int32], margin: int = 0) -> tuple[slice, slice]:
    x, y, width, height = map(int, box[:4])
    return (
        slice(max(0, y - margin), y + height + margin),
        slice(max(0, x - margin), x + width + margin),
    )


def _union(boxes: NDArray[np.int32]) -> NDArray[np.int32]:
    x, y, width, height, _ = boxes.T
    left, top = x.min(), y.min()
    return np.array([left, top, (x + width).max() - left, (y + height).max() - top], np.int32)


def _box(boxes: NDArray[np.int32], scale: float, *, over_head: bool) -> Box:
    x, y, width, height = (_union(boxes) / scale).round().astype(int).tolist()
    return Box(x, y, width, height, over_head)
