"""A scan becomes a uint8 square that holds the head and nothing else.

Everything outside the head is blanked for two reasons: names are burned into many public CT
images, and corner text, borders and scale bars tell the classes of public sets apart without
any look at the brain. Size and position are normalized by the crop for the same second reason.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from tumorlens.errors import BlankImageError, BundleError
from tumorlens.images.readers import attempt, open_images, read_scan, read_scan_bytes
from tumorlens.inputs.plain_slice import why_not_plain
from tumorlens.json_records import JsonObject
from tumorlens.records import NOT_PLAIN, PreparedScan, Scan, Unusable
from tumorlens.settings import ReadLimits


@dataclass(frozen=True)
class InputSpec:
    """How scans are prepared; stored in every bundle and in every cache key."""

    side: int = 128  # pixels of the square
    margin: float = 0.03  # of the side, left free around the head
    low: float = 0.5  # percentiles of the head's own pixels that become 0 and 255
    high: float = 99.5
    version: int = 2  # raised whenever the method changes
    ct_window: tuple[float, float] = (40.0, 80.0)  # center and width in HU, of CT with numbers

    def to_json(self) -> dict[str, object]:
        """Return the fields as plain data."""
        return asdict(self)


def load_spec(stored: JsonObject) -> InputSpec:
    """Read a stored spec; raises BundleError for one this version cannot reproduce."""
    try:
        spec = InputSpec(**stored)
        center, width = map(float, spec.ct_window)  # the default, in bundles that have none
        spec = replace(spec, ct_window=(center, width))
    except (TypeError, ValueError) as e:
        raise BundleError("input spec", f"has unknown fields ({e})", "Update tumorlens.") from e
    if spec.version != InputSpec.version:
        fact = f"prepares scans by method {spec.version}, this tumorlens by {InputSpec.version}"
        raise BundleError("input spec", fact, "Use the tumorlens version that made the bundle.")
    return spec


_STROKE_SIDE = 256  # text is thinned away at this size: its strokes are 1 or 2 pixels here
_WORK_SIDE = 160  # the head is looked for at this size
_MIN_CONTRAST = 1e-6  # of the largest absolute value: below it an image is blank
_FOREGROUND = 0.09  # of the way from background to the bright end
_SATELLITE = 0.2  # components of this share of the largest also belong (basal slices)
# A hole whose content fills this much of it lies between a drawn frame and a head; a brain
# fills more of the hole that a detached ring of scalp leaves, specks of noise fill less.
_FRAMED = (0.08, 0.74)
_LARGE_HEAD = 0.7  # of the image's longer side
_MIN_AREA = 0.004  # of the image
_TINY = float(np.finfo(np.float32).tiny)


def prepare(
    scan: Scan, spec: InputSpec = InputSpec(), *, head: NDArray[np.bool_] | None = None
) -> PreparedScan:
    """Find the head, blank the rest, crop, square, clip intensity and resize.

    What is not one plain slice gets a note that says why. `head` is what `find_head` gave, where
    it was asked before. Raises BlankImageError where no head-like region stands out.
    """
    own, scan = scan, apply_window(scan, spec)
    if head is None:
        head, foreground = _locate(scan)
    else:
        foreground = _outstanding(scan.pixels, scan.source)
    box = _bounding_box(head)
    matrix = _crop_matrix(box, spec)
    size = (spec.side, spec.side)
    pixels = _shrink_and_warp(scan.pixels, matrix, size)
    mask = _shrink_and_warp(head.astype(np.float32), matrix, size) > 0.5
    if not mask.any():
        raise _blank(scan.source)
    low, high = percentiles(pixels[mask], spec.low, spec.high)
    why = why_not_plain(
        scan.pixels, head, foreground, box=box, gray_range=(low, high), colors=scan.colors,
        own=own.pixels,
    )  # fmt: skip
    notes = (*scan.notes, f"{NOT_PLAIN}{why}") if why else scan.notes
    scaled = pixels - low
    scaled *= 255.0 / max(high - low, _TINY)
    np.clip(scaled, 0, 255, out=scaled)
    scaled *= mask
    scaled += 0.5
    image = scaled.astype(np.uint8)
    return PreparedScan(scan.source, image, notes, scan.frame, matrix, own.modality)


def prepare_scan(
    scan: Scan, spec: InputSpec = InputSpec(), *, head: NDArray[np.bool_] | None = None
) -> PreparedScan | Unusable:
    """Prepare a scan as `prepare` does, or return why it cannot be used."""
    found = attempt(prepare, scan, spec, head=head)
    return replace(found, frame=scan.frame) if isinstance(found, Unusable) else found


def prepare_bytes(
    data: bytes, spec: InputSpec = InputSpec(), *, source: str, limits: ReadLimits = ReadLimits()
) -> PreparedScan | Unusable:
    """Read and prepare the first slice of a file in memory, which `source` names."""
    scan = attempt(read_scan_bytes, data, source=source, limits=limits)
    return scan if isinstance(scan, Unusable) else prepare_scan(scan, spec)


def prepare_file(
    path: str | Path,
    spec: InputSpec = InputSpec(),
    *,
    frame: int | None = None,
    limits: ReadLimits = ReadLimits(),
) -> PreparedScan | Unusable:
    """Read and prepare one slice of a file, the first where no `frame` is named."""
    scan = attempt(read_scan, path, frame=frame, limits=limits)
    return scan if isinstance(scan, Unusable) else prepare_scan(scan, spec)


def prepare_frames(
    path: str | Path, spec: InputSpec = InputSpec(), *, limits: ReadLimits = ReadLimits()
) -> tuple[PreparedScan | Unusable, ...]:
    """Read and prepare every slice of a file; one that cannot be read gives its one refusal."""
    scans = attempt(open_images, path, limits=limits)
    if isinstance(scans, Unusable):
        return (scans,)
    return tuple(prepare_scan(scan, spec) for scan in scans)


def carry_mask(mask: NDArray[np.bool_], prepared: PreparedScan) -> NDArray[np.bool_]:
    """Bring a mask in the scan's pixel grid, [h, w], into the prepared frame, [side, side]."""
    assert prepared.matrix is not None
    side = prepared.pixels.shape[0]
    return _shrink_and_warp(mask.astype(np.float32), prepared.matrix, (side, side)) > 0.5


def apply_window(scan: Scan, spec: InputSpec = InputSpec()) -> Scan:
    """Bring CT numbers to the gray levels 0 to 255 of the window, as an exported image has them.

    Other scans stay as they are: CT that was exported has its window already.
    """
    if scan.modality != "ct":
        return scan
    center, width = spec.ct_window
    gray = scan.pixels - np.float32(center - width / 2)
    gray *= np.float32(255 / width)
    np.rint(np.clip(gray, 0, 255, out=gray), out=gray)
    return replace(scan, pixels=gray, modality=None)


def find_head(scan: Scan) -> NDArray[np.bool_]:
    """Return the filled region of the head, [h, w], in the scan's own pixels.

    Largest components above the background after filling rings (the skull) and opening away
    what is thin (text, scale bars, head rests). An image without background, such as a
    tight crop, is kept whole. Raises BlankImageError.
    """
    return _locate(apply_window(scan))[0]


def _locate(scan: Scan) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Return the head, [h, w], and all that stands out from the background, smaller."""
    foreground = _outstanding(scan.pixels, scan.source)
    whole = _seek(foreground, scan.pixels.shape, scan.source)
    x0, y0, x1, y1 = map(int, _bounding_box(whole))
    length = max(x1 - x0, y1 - y0)
    if length > _LARGE_HEAD * max(whole.shape):
        return whole, foreground
    # A small head is sought again at the size of a large one: a rest beside it is thin only then.
    edge = length // 8
    near = (slice(max(0, y0 - edge), y1 + edge), slice(max(0, x0 - edge), x1 + edge))
    region = np.zeros_like(whole)
    around = scan.pixels[near]
    region[near] = _seek(_outstanding(around, scan.source), around.shape, scan.source)
    return region, foreground


def _seek(foreground: NDArray[np.uint8], shape: tuple[int, ...], source: str) -> NDArray[np.bool_]:
    region = _head_region(foreground)
    if cv2.countNonZero(region) < _MIN_AREA * region.size:
        raise _blank(source)
    return cv2.resize(region, shape[::-1], interpolation=cv2.INTER_NEAREST) > 0


def _outstanding(pixels: NDArray[np.float32], source: str) -> NDArray[np.uint8]:
    """Return where more than thin strokes stand out from the background, as 0 and 1."""
    page = _without_bright_border(_shrink(pixels, _STROKE_SIDE))
    opened = cv2.morphologyEx(page, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    plain = _shrink(np.asarray(opened, np.float32), _WORK_SIDE)
    return _foreground(plain, source)


def _shrink(pixels: NDArray[np.float32], longest: int) -> NDArray[np.float32]:
    height, width = pixels.shape
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)


def _without_bright_border(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Darken rows and columns at the edges that are bright from end to end, as paper is."""
    if not _may_have_paper(pixels):
        return pixels
    dark, bright = map(float, percentiles(pixels, 1.0, 99.0))
    page = pixels
    for axis in (0, 1):
        paper = pixels.min(axis=axis) > (dark + bright) / 2
        edge = np.minimum.accumulate(paper) | np.minimum.accumulate(paper[::-1])[::-1]
        if edge.any() and not edge.all():
            page = np.where(np.expand_dims(edge, axis), np.float32(dark), page)
    return page


def _may_have_paper(pixels: NDArray[np.float32]) -> bool:
    """Rule paper out without percentiles, which cost more than all else here.

    Few pixels lie above the 99th percentile, and none above the largest value: so the mean says
    how low that percentile can be at most.
    """
    darkest, brightest = float(pixels.min()), float(pixels.max())
    above = 0.01 + 2 / pixels.size
    bright = float(pixels.mean(dtype=np.float64)) - above * (brightest - darkest)
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    return max(float(edge.min()) for edge in edges) > (darkest + max(darkest, bright)) / 2


def _foreground(small: NDArray[np.float32], source: str) -> NDArray[np.uint8]:
    smooth = np.asarray(cv2.GaussianBlur(small, (0, 0), 1.0), np.float32)
    dark, bright = percentiles(smooth, 1.0, 99.0)
    if bright - dark <= _MIN_CONTRAST * max(1.0, float(np.abs(smooth).max())):
        # A head may fill less than one percent of the image.
        dark, bright = float(smooth.min()), float(smooth.max())
        if bright - dark <= _MIN_CONTRAST * max(1.0, abs(bright), abs(dark)):
            raise _blank(source)
    return (smooth > dark + _FOREGROUND * (bright - dark)).astype(np.uint8)


def percentiles(values: NDArray[np.float32], *percents: float) -> NDArray[np.float64]:
    """Return percentiles of all values, to the bit as `np.percentile` does in twice the time."""
    ordered = np.sort(values, axis=None)
    at = np.array(percents) / 100 * (ordered.size - 1)
    below = at.astype(np.int64)
    low, high = ordered[below], ordered[np.minimum(below + 1, ordered.size - 1)]
    part, step = at - below, high - low
    return np.where(part < 0.5, low + step * part, high - step * (1 - part))


def _head_region(foreground: NDArray[np.uint8]) -> NDArray[np.uint8]:
    filled = _fill(foreground)
    opened = cv2.morphologyEx(
        filled, cv2.MORPH_OPEN, _disc(7), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    if not opened.any():
        opened = filled
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8, ltype=cv2.CV_16U)
    areas = stats[1:, cv2.CC_STAT_AREA]  # without the background
    kept = areas >= _SATELLITE * areas.max(initial=0)
    region = opened if kept.all() else _only(labels, kept)
    # Opening rounds corners off; growing back inside the foreground returns them.
    return _fill(np.asarray(cv2.dilate(region, _disc(5)), np.uint8) & filled)


def _only(labels: MatLike, kept: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return where the components lie that are kept; label 0 is the background."""
    return np.append(False, kept).astype(np.uint8)[np.asarray(labels, np.int64)]


def _fill(region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill holes, except the empty space between a drawn frame and the head inside it."""
    contours, tree = cv2.findContours(region, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.zeros_like(region)
    if tree is None:
        return filled
    parents = np.asarray(tree[0, :, 3], np.int32)
    depths = _depths(parents)
    is_frame = _are_frames(contours, parents, depths)
    for index in np.argsort(depths, kind="stable"):
        if depths[index] == 0 or is_frame.any():  # the outermost fill all that lies inside them
            color = int(not is_frame[index])
            cv2.drawContours(filled, contours, int(index), color=color, thickness=-1)
    return filled


def _are_frames(
    contours: Sequence[MatLike], parents: NDArray[np.int32], depths: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark the holes between a drawn frame and a head, [n], by how much of each is filled."""
    if not depths.any():
        return np.zeros(len(contours), bool)
    areas = np.array([cv2.contourArea(contour) for contour in contours])
    inside = np.bincount(parents[parents >= 0], areas[parents >= 0], minlength=len(areas))
    share = inside / np.maximum(areas, 1.0)
    return (depths % 2 == 1) & (share > _FRAMED[0]) & (share < _FRAMED[1])


def _depths(parents: NDArray[np.int32]) -> NDArray[np.int64]:
    """Count the contours around each one; even is an outer edge, odd a hole."""
    depths = np.zeros(len(parents), np.int64)
    above = parents.copy()
    while (above >= 0).any():
        depths += above >= 0
        above = np.where(above >= 0, parents[above], -1)
    return depths


def _disc(size: int) -> NDArray[np.uint8]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8)


def _bounding_box(region: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Return x0, y0, x1, y1 in pixel edges."""
    left, top, width, height = cv2.boundingRect(region.view(np.uint8))
    return float(left), float(top), float(left + width), float(top + height)


def _crop_matrix(box: tuple[float, float, float, float], spec: InputSpec) -> NDArray[np.float64]:
    x0, y0, x1, y1 = box
    scale = spec.side * (1 - 2 * spec.margin) / max(x1 - x0, y1 - y0)
    # Pixel centers lie at half units: edge coordinates e map to center coordinates e - 0.5.
    shift_x = spec.side / 2 - scale * (x0 + x1) / 2 + 0.5 * scale - 0.5
    shift_y = spec.side / 2 - scale * (y0 + y1) / 2 + 0.5 * scale - 0.5
    return np.array([[scale, 0.0, shift_x], [0.0, scale, shift_y]])


def _shrink_and_warp(
    pixels: NDArray[np.float32], matrix: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Warp to `size`; where that shrinks, average first, so that nothing aliases."""
    if matrix[0, 0] < 0.5:
        pixels, matrix = _halved(pixels, matrix)
    scale = float(matrix[0, 0])
    if scale < 1:
        sigma = 0.5 * np.sqrt(1 / scale**2 - 1)
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.float32)
    warped = cv2.warpAffine(
        pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.asarray(warped, np.float32)


def _halved(
    pixels: NDArray[np.float32], matrix: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Shrink a large scan by area until the warp has only a factor of two left to do."""
    height, width = pixels.shape
    small = _shrink(pixels, max(1, round(2 * matrix[0, 0] * max(height, width))))
    stretch = np.array([width / small.shape[1], height / small.shape[0]])
    # Pixel centers lie at half units: x = (x' + 0.5) * stretch - 0.5.
    offset = matrix[:, :2] @ (0.5 * stretch - 0.5) + matrix[:, 2]
    return small, np.column_stack([matrix[:, :2] * stretch, offset])


def _blank(source: str) -> BlankImageError:
    return BlankImageError(
        source, "is blank: nothing stands out from the background", "Check the export's window."
    )
