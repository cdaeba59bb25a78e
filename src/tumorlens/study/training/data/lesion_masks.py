"""Where the tumors of a training set lie, and what counterfactual pictures follow from it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.study.training.data.counterfactuals import DONATED, PAINTED, Marked, change
from tumorlens.study.training.data.midline_symmetry import Midline, find_midline

Rng = np.random.Generator
_PLANE_SIDE = 16  # pixels at which a donor is compared with the head it gives to
_OFFERED = 6  # donors, of whom the most alike one gives


@dataclass(frozen=True)
class Places:
    """Which scans of a training set have a known place of the tumor, or are known to have none."""

    masks: NDArray[np.uint8]  # [k, s, s / 8], bits packed along the last axis
    rows: NDArray[np.int64]  # [n] row of `masks`; UNKNOWN where the place is not, NONE: no tumor
    midlines: Sequence[Midline]  # [n]; of scans whose place is unknown, any
    thumbnails: NDArray[np.float32]  # [n, 256] of zero mean and length 1, to find a like head

    UNKNOWN = -1
    NONE = -2

    @cached_property
    def donors(self) -> NDArray[np.int64]:
        """Positions of scans with a known tumor."""
        return np.flatnonzero(self.rows >= 0)

    def mask(self, position: int, side: int) -> NDArray[np.bool_]:
        """Give the mask of one scan, [side, side]; empty where it has none or it is unknown."""
        row = int(self.rows[position])
        if row < 0:
            return np.zeros((side, side), bool)
        return np.unpackbits(self.masks[row], axis=-1, count=side).astype(bool)


def find_places(
    images: NDArray[np.uint8], names: Sequence[str], masks: dict[int, NDArray[np.bool_]]
) -> Places:
    """Describe a training set: images [n, s, s], labels, and masks [s, s] by position.

    A healthy scan is known to have no tumor. Only MRI scans and those with masks count: in a
    CT set without masks, a changed picture would always be a healthy one.
    """
    rows = np.full(len(names), Places.UNKNOWN, np.int64)
    for position, name in enumerate(names):
        if name == "mri_healthy":
            rows[position] = Places.NONE
    side = images.shape[1] if len(images) else 0
    packed = np.zeros((len(masks), side, (side + 7) // 8), np.uint8)
    for row, (position, mask) in enumerate(sorted(masks.items())):
        packed[row] = np.packbits(mask, axis=-1)
        rows[position] = row
    thumbnails = np.stack([_thumbnail(image) for image in images])
    known = [index for index, row in enumerate(rows.tolist()) if row != Places.UNKNOWN]
    midlines = [Midline(0.0, 0.0, -1.0)] * len(names)
    with ThreadPoolExecutor() as pool:
        for index, midline in zip(
            known, pool.map(lambda index: find_midline(images[index]), known), strict=True
        ):
            midlines[index] = midline
    return Places(packed, rows, midlines, thumbnails)


def show_changed(
    images: NDArray[np.uint8],
    label_masks: NDArray[np.float32],
    places: Places,
    position: int,
    rng: Rng,
    *,
    painted: float = 0.0,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]:
    """Give a counterfactual picture of one scan, its tumor [s, s], and its label [atoms].

    Where no change comes out clearly, the scan itself. `painted` is the share of the changes
    that are painted; a painted tumor has no known type.
    """
    scan = _marked(images, places, position)
    giver = _donor(label_masks, places, position, rng)
    donor = None if giver is None else _marked(images, places, giver)
    made = change(scan, donor, rng, painted=painted)
    if made is None:
        return scan.image, scan.mask, label_masks[position]
    label = label_masks[position]
    if not made.mask.any():
        label = _labeled("healthy", like=label)
    elif made.tumor == DONATED and giver is not None:
        label = label_masks[giver]
    elif made.tumor == PAINTED:
        label = _labeled("tumor", like=label)
    return made.image, made.mask, label


def _marked(images: NDArray[np.uint8], places: Places, position: int) -> Marked:
    image = images[position]
    return Marked(image, places.mask(position, len(image)), places.midlines[position])


def _labeled(finding: str, *, like: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the label of a finding, such as "tumor" of unknown type, in the modality of another."""
    return labels.label_mask([f"{'ct' if _is_ct(like) else 'mri'}_{finding}"])[0]


def _is_ct(label: NDArray[np.float32]) -> bool:
    return bool(labels.modality_probability(label, "ct") > 0)


def _donor(label_masks: NDArray[np.float32], places: Places, position: int, rng: Rng) -> int | None:
    """Choose a scan that can give its tumor: the most alike of a few, so that planes agree."""
    if not len(places.donors):
        return None
    offered = rng.choice(places.donors, min(_OFFERED, len(places.donors)), replace=False).tolist()
    is_ct = _is_ct(label_masks[position])
    offered = [index for index in offered if _is_ct(label_masks[index]) == is_ct]
    if not offered:
        return None
    likeness = places.thumbnails[offered] @ places.thumbnails[position]
    return offered[int(likeness.argmax())]


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    size = (_PLANE_SIDE, _PLANE_SIDE)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return np.asarray(small / max(1e-6, float(np.linalg.norm(small))), np.float32)
