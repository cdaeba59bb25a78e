"""Which images an epoch shows, in which order, and how they are changed.

Everything random follows from (seed, epoch, batch), so a resumed run sees what the
uninterrupted one would have seen.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.study.training.data.augmentation import augment_marked
from tumorlens.study.training.data.ct_lesions import ct_view
from tumorlens.study.training.data.lesion_masks import counterfactual_view, is_ct
from tumorlens.study.training.data.training_set import TrainingSet, one_of_each_image

Made = TypeVar("Made")
Teach = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class Batch(NamedTuple):
    """What one step of training sees."""

    images: NDArray[np.uint8]  # [b, side, side, 1]
    targets: NDArray[np.float32]  # [b, atoms] label masks; with a teacher its probabilities beside
    lesion_shares: NDArray[np.float32]  # [b, grid, grid] shares of the tumor, or all 0


@dataclass(frozen=True)
class ViewSpec:
    """How scans are shown; the fields are those of a recipe."""

    side: int  # pixels
    strength: float  # of the augmentation; 0: scans as they are
    photometric: float = 1.0
    counterfactual_share: float = 0.0  # only where masks are known
    synthetic_lesion_share: float = 0.0
    small_lesion_share: float = 0.0
    ct_lesion_share: float = 0.0
    grid: int = 1  # side of the activation maps


def epoch_positions(
    image_ids: NDArray[np.int64],
    strata: NDArray[np.int64],
    *,
    balance: float,
    seed: int,
    epoch: int,
    shares: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Choose the positions an epoch shows: one random copy of each image, balanced by strata.

    A stratum of k among K images is shown in proportion to k ** (1 - balance); rare ones
    repeat, frequent ones rotate from epoch to epoch (systematic resampling). `shares` [n] say
    how much more or less often than that each is shown.
    """
    rng = np.random.default_rng((seed, epoch))
    chosen = one_of_each_image(image_ids, rng.permutation(len(image_ids)))
    _, row, counts = np.unique(strata[chosen], return_inverse=True, return_counts=True)
    weights = (counts.astype(float) ** -balance)[row]
    if shares is not None:
        weights = weights * shares[chosen]
    chosen = chosen[order := rng.permutation(len(chosen))]
    expected = np.cumsum(weights[order] / weights.sum() * len(chosen))
    repeats = np.diff(np.floor(expected + rng.random()), prepend=0).astype(int)
    return rng.permutation(np.repeat(chosen, np.maximum(repeats, 0)))


def prefetched(make: Callable[[int], Made], count: int) -> Iterator[Made]:
    """Yield make(0) to make(count - 1), each made while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        submitted = (pool.submit(make, number) for number in range(count))
        ahead = next(submitted, None)
        while ahead is not None:
            ready, ahead = ahead.result(), next(submitted, None)
            yield ready


def epoch_batches(
    data: TrainingSet,
    positions: NDArray[np.int64],
    *,
    view: ViewSpec,
    batch: int,
    seed: Sequence[int],
    teach: Teach | None = None,
) -> Iterator[Batch]:
    """Yield augmented batches, one ahead; positions that fill no batch are left out.

    `teach` answers [b, atoms] what a teacher says of the images as they are shown.
    """

    def make(number: int) -> Batch:
        rng = np.random.default_rng((*seed, number))
        taken = positions[number * batch : (number + 1) * batch].tolist()
        marked_images, labels = zip(*[_marked(data, row, rng, view) for row in taken], strict=True)
        marked = [
            augment_marked(
                image, rng, strength=view.strength, photometric=view.photometric, side=view.side
            )
            for image in marked_images
        ]
        images, targets = np.stack([image[..., :1] for image in marked]), np.stack(labels)
        return Batch(
            images,
            np.hstack([targets, teach(images)]) if teach else targets,
            np.stack([_shares(image[..., 1], view.grid) for image in marked]),
        )

    return prefetched(make, len(positions) // batch)


def _marked(
    data: TrainingSet, position: int, rng: np.random.Generator, view: ViewSpec
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a scan with its tumor as a second channel, uint8 [s, s, 2], and its label [atoms]."""
    image, label, lesions = data.images[position], data.label_masks[position], data.lesions
    mask = np.zeros(image.shape, bool)
    if lesions is not None and lesions.rows[position] != lesions.UNKNOWN:
        if rng.random() < view.counterfactual_share:
            image, mask, label = counterfactual_view(
                data.images, data.label_masks, lesions, position, rng,
                synthetic_share=view.synthetic_lesion_share, small_share=view.small_lesion_share,
            )  # fmt: skip
        else:
            mask = lesions.mask(position, len(image))
    elif view.ct_lesion_share and is_ct(label) and rng.random() < view.ct_lesion_share:
        image, mask, label = ct_view(image, label, rng)
    return np.stack([image, mask * np.uint8(255)], axis=-1), label


def _shares(mask: NDArray[np.uint8], grid: int) -> NDArray[np.float32]:
    """Return how much of the tumor lies in each cell, [grid, grid]; sums to 1, or all 0."""
    area = cv2.resize(mask, (grid, grid), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(area / max(1.0, float(area.sum())), np.float32)
