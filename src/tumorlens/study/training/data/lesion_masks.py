"""Where the tumors of a training set lie, and what counterfactual images follow from it."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.study.training.data.counterfactuals import (
    DONATED,
    SYNTHETIC,
    MaskedScan,
    make_counterfactual,
)
from tumorlens.study.training.data.midline_symmetry import Midline, find_midline

Rng = np.random.Generator
_THUMBNAIL_SIDE = 16  # pixels at which a donor is compared with the head it gives to
_OFFERED = 6  # donors, of whom the most alike one gives


@dataclass(frozen=True)
class LesionMasks:
    """Which scans of a training set have a known tumor mask, or are known to have no tumor."""

    masks: NDArray[np.uint8]  # [k, s, s / 8], bits packed along the last axis
    rows: NDArray[np.int64]  # [n] row of `masks`; UNKNOWN where there is none, NONE: no tumor
    midlines: Sequence[Midline]  # [n]; any where the row is UNKNOWN
    thumbnails: NDArray[np.float32]  # [n, 256] of zero mean and length 1, to find a like head

    UNKNOWN = -1
    NONE = -2

    @cached_property
    def donors(self) -> NDArray[np.int64]:
        """Positions of scans with a known tumor."""
        return np.flatnonzero(self.rows >= 0)

    def mask(self, position: int, side: int) -> NDArray[np.bool_]:
        """Return the mask of one scan, [side, side]; empty where it has none or it is unknown."""
        row = int(self.rows[position])
        if row < 0:
            return np.zeros((side, side), bool)
        return np.unpackbits(self.masks[row], axis=-1, count=side).astype(bool)

    def with_unknown(self, count: int) -> "LesionMasks":
        """Return these with scans added of which nothing is known, and which give nothing."""
        nothing = np.zeros((count, self.thumbnails.shape[1]), np.float32)
        return replace(
            self,
            rows=np.concatenate([self.rows, np.full(count, self.UNKNOWN, np.int64)]),
            midlines=[*self.midlines, *[self.midlines[0]] * count],
            thumbnails=np.concatenate([self.thumbnails, nothing]),
        )


def find_lesion_masks(
    images: NDArray[np.uint8], names: Sequence[str], masks: dict[int, NDArray[np.bool_]]
) -> LesionMasks:
    """Describe a training set: images [n, s, s], labels, and masks [s, s] by position.

    A healthy scan is known to have no tumor. Only MRI scans and those with masks count: in a
    CT set without masks, a counterfactual image would always be a healthy one.
    """
    healthy = np.array([name == "mri_healthy" for name in names], bool)
    rows = np.where(healthy, LesionMasks.NONE, LesionMasks.UNKNOWN).astype(np.int64)
    side = images.shape[1] if len(images) else 0
    packed = np.zeros((len(masks), side, (side + 7) // 8), np.uint8)
    for row, (position, mask) in enumerate(sorted(masks.items())):
        packed[row] = np.packbits(mask, axis=-1)
        rows[position] = row
    midlines = [Midline(0.0, 0.0, -1.0)] * len(names)
    known = np.flatnonzero(rows != LesionMasks.UNKNOWN).tolist()
    with ThreadPoolExecutor() as pool:
        for index, midline in zip(known, pool.map(find_midline, images[known]), strict=True):
            midlines[index] = midline
    return LesionMasks(packed, rows, midlines, np.stack([_thumbnail(image) for image in images]))


def counterfactual_view(
    images: NDArray[np.uint8],
    label_masks: NDArray[np.float32],
    lesions: LesionMasks,
    position: int,
    rng: Rng,
    *,
    synthetic_share: float = 0.0,
    small_share: float = 0.0,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]:
    """Return a counterfactual image of one scan, its tumor [s, s], and its label [atoms].

    Where no change comes out clearly, the scan itself. `synthetic_share` is the share of the
    changes that are synthetic lesions; these have no known type. `small_share` is the share that
    shrink what is in a place, and of the synthetic lesions that are small.
    """

    def masked(row: int) -> MaskedScan:
        image = images[row]
        return MaskedScan(image, lesions.mask(row, len(image)), lesions.midlines[row])

    scan, label = masked(position), label_masks[position]
    giver = _donor(label_masks, lesions, position, rng)
    donor = None if giver is None else masked(giver)
    made = make_counterfactual(
        scan, donor, rng, synthetic_share=synthetic_share, small_share=small_share
    )
    if made is None:
        return scan.image, scan.mask, label
    if not made.mask.any():
        label = _labeled("healthy", like=label)
    elif made.tumor == DONATED and giver is not None:
        label = label_masks[giver]
    elif made.tumor == SYNTHETIC:
        label = _labeled("tumor", like=label)
    return made.image, made.mask, label


def _labeled(finding: str, *, like: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the label of a finding, such as "tumor" of unknown type, in the modality of `like`."""
    return labels.label_mask([f"{'ct' if is_ct(like) else 'mri'}_{finding}"])[0]


def is_ct(label: NDArray[np.float32]) -> bool:
    """Return whether a label [atoms] is one of CT."""
    return bool(labels.modality_probability(label, "ct") > 0)


def _donor(
    label_masks: NDArray[np.float32], lesions: LesionMasks, position: int, rng: Rng
) -> int | None:
    """Choose a scan that can give its tumor: the most alike of a few, so that planes agree."""
    if not len(lesions.donors):
        return None
    offered = rng.choice(lesions.donors, min(_OFFERED, len(lesions.donors)), replace=False).tolist()
    wants_ct = is_ct(label_masks[position])
    offered = [index for index in offered if is_ct(label_masks[index]) == wants_ct]
    if not offered:
        return None
    likeness = lesions.thumbnails[offered] @ lesions.thumbnails[position]
    return offered[int(likeness.argmax())]


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    size = (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return np.asarray(small / max(1e-6, float(np.linalg.norm(small))), np.float32)
