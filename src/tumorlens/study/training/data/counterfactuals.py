"""The same scanner with and without the tumor: images that tell the two apart.

In public sets a scanner mostly shows one label, so a network can read the scanner instead of
the tumor. Where the tumor is masked, another image of the same patient and
scanner can be made whose label differs:

- reflected: one half of the head, or a spot, takes the place of its mirror image;
- cropped: a part of the head that holds no tumor, or all of it;
- grafted: a tumor, fitted to its new surroundings, stands in a healthy head;
- painted: a lesion of random gray values, see `synthetic_lesions`;
- shrunk: tissue drawn together to a point, so that a tumor there becomes a small one.

Each change is also made without changing the label (a spot that held no tumor, a crop around
it), so that the trace a change leaves says nothing. The label follows from what is left of the
mask. Related: CutPaste (Li et al., 2021) and counterfactual augmentation (Kaushik et al., 2020).
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.study.training.data.midline_symmetry import Midline
from tumorlens.study.training.data.synthetic_lesions import (
    dilated,
    moved_region,
    paint,
    scattered_spots,
)

Rng = np.random.Generator
_CHANCE_NO_MASS, _CHANCE_PAIR = 0.4, 0.4  # of what is painted; of what is no mass
OWN, DONATED, SYNTHETIC = "own", "donated", "synthetic"
_MAX_PLACE = 0.17  # of the side: radius of what can be shrunk without bending all the head
_GONE, _KEPT = 0.02, 0.6  # shares of the tumor's area below, above which it is gone, still there


@dataclass(frozen=True)
class MaskedScan:
    """A prepared image with the mask of its tumor."""

    image: NDArray[np.uint8]  # [s, s]
    mask: NDArray[np.bool_]  # [s, s]; empty where the slice is healthy
    midline: Midline

    @property
    def is_tumor(self) -> bool:
        """Whether a tumor is masked."""
        return bool(self.mask.any())


@dataclass(frozen=True)
class Counterfactual:
    """What a change made."""

    image: NDArray[np.uint8]  # [s, s]
    mask: NDArray[np.bool_]  # [s, s]
    tumor: str = OWN  # whose it is, if there is one


Change = Callable[[], Counterfactual | None]


def make_counterfactual(
    scan: MaskedScan,
    donor: MaskedScan | None,
    rng: Rng,
    *,
    synthetic_share: float = 0.0,
    small_share: float = 0.0,
) -> Counterfactual | None:
    """Change a scan in one random way; None where the outcome has no clear label.

    `donor` is a scan with a tumor: it gives that to a healthy head, and tissue to any.
    `synthetic_share` is the share of the changes that are synthetic lesions, `small_share` the
    share that shrink what is in a place, and the share of the synthetic lesions that are small.
    """
    if small_share and rng.random() < small_share:
        return shrink(scan, rng)
    if synthetic_share and rng.random() < synthetic_share:
        is_small = bool(small_share) and rng.random() < small_share
        return paint_lesion(scan, donor, rng, is_small=is_small)
    ways: list[tuple[float, Change]] = [(0.35, lambda: crop(scan, rng))]
    if donor is not None:
        ways.append((0.4, lambda: graft(scan, donor, rng)))
    if scan.midline.is_plain:
        ways.append((0.15, lambda: reflect_half(scan, rng)))
        ways.append((0.25 if scan.is_tumor else 0.1, lambda: reflect_spot(scan, rng)))
    chances = np.array([chance for chance, _ in ways])
    return ways[int(rng.choice(len(ways), p=chances / chances.sum()))][1]()


def reflect_half(scan: MaskedScan, rng: Rng) -> Counterfactual | None:
    """Put the mirror image of one half, drawn, in the place of the other."""
    return reflected_half(scan, left=rng.random() < 0.5)


def reflected_half(scan: MaskedScan, *, left: bool) -> Counterfactual | None:
    """Put the mirror image of the right half in the place of the left one, or the other way."""
    alpha = scan.midline.left_half(len(scan.image))
    return _blend_reflection(scan, alpha if left else 1 - alpha)


def reflect_spot(scan: MaskedScan, rng: Rng) -> Counterfactual | None:
    """Put the mirror image of a spot in its place: over the tumor, onto it, or elsewhere."""
    choice = rng.random()
    if choice < 0.5 and scan.is_tumor:
        region = _grown(scan.mask, rng)
    elif choice < 0.7 and scan.is_tumor:
        region = _grown(_warp(scan.mask, scan.midline), rng)
    else:
        region = _spot(scan.image, rng)
    return _blend_reflection(scan, _feathered(region))


def _blend_reflection(scan: MaskedScan, alpha: NDArray[np.float32]) -> Counterfactual | None:
    image = scan.image + alpha * (_warp(scan.image, scan.midline).astype(np.float32) - scan.image)
    mirrored = _warp(scan.mask, scan.midline)
    mask = np.where(alpha > 0.5, mirrored, scan.mask)
    # A seam through a tumor leaves a part of it: no clear label.
    return _clear(scan, Counterfactual(_to_uint8(image), mask))


def crop(scan: MaskedScan, rng: Rng) -> Counterfactual | None:
    """Cut a square out of the head and enlarge it: without the tumor, or around all of it."""
    side = len(scan.image)
    length = int(side * rng.uniform(0.45, 0.85))
    wants_tumor = scan.is_tumor and rng.random() < 0.5
    for _ in range(8):
        row, column = rng.integers(0, side - length + 1, 2).tolist()
        window = (slice(row, row + length), slice(column, column + length))
        if (scan.image[window] > 0).mean() < 0.5:
            continue
        share = scan.mask[window].sum() / max(1, scan.mask.sum())
        if (share > 0.9) if wants_tumor else (share == 0):
            size = (side, side)
            image = cv2.resize(scan.image[window], size, interpolation=cv2.INTER_LINEAR)
            return Counterfactual(np.asarray(image, np.uint8), _resized(scan.mask[window], size))
    return None


def graft(scan: MaskedScan, donor: MaskedScan, rng: Rng) -> Counterfactual | None:
    """Set a piece of another head into this one, in the same place of the head.

    A healthy head gets the donor's tumor, or a spot of its healthy tissue. A head with a tumor
    gets healthy tissue, over the tumor or beside it. The piece is fitted to the mean and the
    spread of gray around its new place.
    """
    if scan.is_tumor:
        region = _grown(scan.mask, rng) if rng.random() < 0.6 else _spot(scan.image, rng)
        if (region & donor.mask).any():
            return None
        image = _transplanted(scan, donor, region)
        return image if image is None else _clear(scan, Counterfactual(image, scan.mask & ~region))
    gives_tumor = rng.random() < 0.7
    region = _grown(donor.mask, rng) if gives_tumor else _spot(donor.image, rng)
    if not gives_tumor and (region & donor.mask).any():
        return None
    image = _transplanted(scan, donor, region)
    if image is None:
        return None
    return (
        Counterfactual(image, donor.mask, tumor=DONATED)
        if gives_tumor
        else Counterfactual(image, scan.mask)
    )


def shrink(scan: MaskedScan, rng: Rng) -> Counterfactual | None:
    """Draw the tissue around a place together, so that what lies in it takes less room.

    The place is the tumor, or any spot of a healthy head: the trace of the change says nothing.
    Lengths shrink to .45 to .7 at the center, and not at all from some way out on; nothing is cut.
    None where the tumor is too large to be one place.
    """
    side = len(scan.image)
    region = scan.mask if scan.is_tumor else _spot(scan.image, rng)
    if not region.any():
        return None
    rows, columns = np.nonzero(region)
    center = np.array([columns.mean(), rows.mean()], np.float32)
    inner = float(np.sqrt(np.square(np.stack([columns, rows], 1) - center).sum(1).max()))
    outer = inner * rng.uniform(1.8, 2.5)
    if inner > _MAX_PLACE * side:
        return None
    row, column = np.mgrid[:side, :side].astype(np.float32)
    radius = np.hypot(column - center[0], row - center[1])
    # A smooth step of the factor by which a radius grows on the way back to the source.
    far = np.clip(radius / outer, 0, 1)
    factor = 1 + (1 / rng.uniform(0.45, 0.7) - 1) * (1 - far * far * (3 - 2 * far))
    source = [
        center[axis] + (along - center[axis]) * np.minimum(factor, outer / np.maximum(radius, 1))
        for axis, along in ((0, column), (1, row))
    ]
    x, y = (np.asarray(way, np.float32) for way in source)
    image = np.where(radius < outer, cv2.remap(scan.image, x, y, cv2.INTER_LINEAR), scan.image)
    moved = cv2.remap(scan.mask.astype(np.uint8), x, y, cv2.INTER_NEAREST) > 0
    mask = np.where(radius < outer, moved, scan.mask)
    return Counterfactual(np.asarray(image, np.uint8), mask)


def paint_lesion(
    scan: MaskedScan, donor: MaskedScan | None, rng: Rng, *, is_small: bool = False
) -> Counterfactual | None:
    """Paint a mass over a scan's tumor or into a healthy head, or what is no mass into any."""
    if rng.random() < _CHANCE_NO_MASS:
        return paint_no_mass(scan, donor, rng)
    if scan.is_tumor:
        region = scan.mask
    elif donor is not None:
        region = moved_region(donor.mask, scan.image, rng, is_small=is_small)
    else:
        return None
    made = paint(scan.image, region, rng)
    return None if made is None else Counterfactual(*made, tumor=SYNTHETIC)


def paint_no_mass(scan: MaskedScan, donor: MaskedScan | None, rng: Rng) -> Counterfactual | None:
    """Paint small spots, or two regions that mirror each other; the label stays."""
    region = scattered_spots(scan.image, rng)
    if scan.midline.is_plain:
        if donor is not None and rng.random() < _CHANCE_PAIR:
            region = moved_region(donor.mask, scan.image, rng)
            if (region & _warp(region, scan.midline)).any():
                return None  # one mass in the middle
        region |= _warp(region, scan.midline)
    made = paint(scan.image, region & ~dilated(scan.mask, 4), rng)
    return None if made is None else Counterfactual(made[0], scan.mask)


def _transplanted(
    scan: MaskedScan, donor: MaskedScan, region: NDArray[np.bool_]
) -> NDArray[np.uint8] | None:
    """Return the scan with the donor's region in it.

    None where the region would leave either head, or where what should be tissue like the rest
    stands out as a lesion would.
    """
    around = dilated(region, 9) & ~region & ~donor.mask & ~scan.mask
    in_both = (donor.image > 0) & (scan.image > 0)
    around &= in_both
    inside = in_both[region].mean() if region.any() else 0.0
    if around.sum() < 40 or inside < 0.9:
        return None
    theirs, ours = donor.image[around].astype(np.float32), scan.image[around].astype(np.float32)
    scale = np.clip(ours.std() / max(1.0, float(theirs.std())), 0.6, 1.6)
    piece = (donor.image - theirs.mean()) * scale + ours.mean()
    gives_tissue = not (region & donor.mask).any()
    if gives_tissue and abs(piece[region].mean() - ours.mean()) > ours.std():
        return None
    return _to_uint8(scan.image + _feathered(region) * (piece - scan.image))


def _clear(scan: MaskedScan, made: Counterfactual) -> Counterfactual | None:
    """Return the change back if the tumor is whole or gone, not where a part of it is left."""
    before = max(1, int(scan.mask.sum()))
    left = int(made.mask.sum()) / before
    if left >= _KEPT or not scan.is_tumor:
        return made
    return Counterfactual(made.image, np.zeros_like(scan.mask)) if left <= _GONE else None


def _warp(image: NDArray, midline: Midline) -> NDArray:
    side = len(image)
    pixels = image.astype(np.uint8) * (255 if image.dtype == np.bool_ else 1)
    warped = np.asarray(cv2.warpAffine(pixels, midline.reflection(side), (side, side)), np.uint8)
    return warped > 127 if image.dtype == np.bool_ else warped


def _grown(mask: NDArray[np.bool_], rng: Rng) -> NDArray[np.bool_]:
    return dilated(mask, int(rng.integers(2, 7)))


def _spot(image: NDArray[np.uint8], rng: Rng) -> NDArray[np.bool_]:
    """Draw a tilted ellipse inside the head, [s, s]."""
    side = len(image)
    rows, columns = np.nonzero(image > 0)
    spot = np.zeros(image.shape, np.uint8)
    if len(rows):
        pick = int(rng.integers(len(rows)))
        axes = tuple((side * rng.uniform(0.04, 0.16, 2)).astype(int).tolist())
        center = (int(columns[pick]), int(rows[pick]))
        cv2.ellipse(spot, center, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return spot > 0


def _feathered(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(region.astype(np.float32), (0, 0), 1.5), np.float32)


def _resized(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def _to_uint8(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)
