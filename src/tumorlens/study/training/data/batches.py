"""Which images an epoch shows, in which order, and how they are changed.

Everything random follows from (seed, epoch, batch), so a resumed run sees what the
uninterrupted one would have seen.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.study.training.data.augmentation import augment_marked
from tumorlens.study.training.data.lesion_masks import Places, show_changed


class Batch(NamedTuple):
    """What one step of training sees."""

    images: NDArray[np.uint8]  # [b, side, side, 1]
    label_masks: NDArray[np.float32]  # [b, atoms]
    places: NDArray[np.float32]  # [b, grid, grid] shares of the tumor, or all 0


@dataclass(frozen=True)
class Look:
    """How scans are shown; the fields are those of a recipe."""

    side: int  # pixels
    strength: float  # of the augmentation; 0: scans as they are
    photometric: float = 1.0
    changed: float = 0.0  # only where places are known
    painted: float = 0.0
    grid: int = 1  # side of the activation maps


@dataclass(frozen=True)
class TrainingSet:
    """Prepared images with what the loss and the sampler need."""

    images: NDArray[np.uint8]  # [n, side, side]
    label_masks: NDArray[np.float32]  # [n, atoms]
    pictures: NDArray[np.int64]  # [n] files of one picture share a number
    strata: NDArray[np.int64]  # [n] data set x label
    places: Places | None = None  # of the tumors, where some are known

    def __len__(self) -> int:
        return len(self.images)

    @property
    def picture_count(self) -> int:
        """Distinct pictures: the length of an epoch."""
        return len(np.unique(self.pictures))


class Sampled(Protocol):
    """What the sampler has to know."""

    @property
    def pictures(self) -> NDArray[np.int64]:
        """A number for each picture, [n]."""
        ...

    @property
    def strata(self) -> NDArray[np.int64]:
        """A number for each data set and label together, [n]."""
        ...


def one_of_each_picture(pictures: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keep the first file of each picture in the given order of positions."""
    return order[np.unique(pictures[order], return_index=True)[1]]


def epoch_positions(data: Sampled, *, balance: float, seed: int, epoch: int) -> NDArray[np.int64]:
    """Choose the positions an epoch shows: one random copy of each picture, balanced.

    A stratum of k among K pictures is shown in proportion to k ** (1 - balance); rare ones
    repeat, frequent ones rotate from epoch to epoch (systematic resampling).
    """
    rng = np.random.default_rng((seed, epoch))
    chosen = one_of_each_picture(data.pictures, rng.permutation(len(data.pictures)))
    strata, counts = np.unique(data.strata[chosen], return_counts=True)
    weight_of = dict(zip(strata.tolist(), counts.astype(float) ** -balance, strict=True))
    weights = np.array([weight_of[s] for s in data.strata[chosen].tolist()])
    chosen = chosen[order := rng.permutation(len(chosen))]
    expected = np.cumsum(weights[order] / weights.sum() * len(chosen))
    repeats = np.diff(np.floor(expected + rng.random()), prepend=0).astype(int)
    return rng.permutation(np.repeat(chosen, np.maximum(repeats, 0)))


def epoch_batches(
    data: TrainingSet,
    positions: NDArray[np.int64],
    *,
    look: Look,
    batch: int,
    seed: Sequence[int],
) -> Iterator[Batch]:
    """Yield augmented batches, one ahead."""

    def make(number: int) -> Batch:
        taken = positions[number * batch : (number + 1) * batch].tolist()
        rng = np.random.default_rng((*seed, number))
        shown = [_show(data, position, rng, look) for position in taken]
        pictures = [
            augment_marked(
                picture, rng, strength=look.strength, photometric=look.photometric, side=look.side
            )
            for picture, _ in shown
        ]
        return Batch(
            np.stack([picture[..., :1] for picture in pictures]),
            np.stack([label for _, label in shown]),
            np.stack([_shares(picture[..., 1], look.grid) for picture in pictures]),
        )

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, 0)
        for number in range(len(positions) // batch):
            ready = ahead.result()
            ahead = pool.submit(make, number + 1)
            yield ready


def _show(
    data: TrainingSet, position: int, rng: np.random.Generator, look: Look
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Give a scan with its tumor as a second channel, uint8 [s, s, 2], and its label [atoms]."""
    image, label, places = data.images[position], data.label_masks[position], data.places
    mask = np.zeros(image.shape, bool)
    if places is not None and places.rows[position] != places.UNKNOWN:
        if rng.random() < look.changed:
            image, mask, label = show_changed(
                data.images, data.label_masks, places, position, rng, painted=look.painted
            )
        else:
            mask = places.mask(position, len(image))
    return np.stack([image, mask * np.uint8(255)], axis=-1), label


def _shares(mask: NDArray[np.uint8], grid: int) -> NDArray[np.float32]:
    """Give how much of the tumor lies at each place, [grid, grid]; sums to 1, or all 0."""
    area = cv2.resize(mask, (grid, grid), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray(area / max(1.0, float(area.sum())), np.float32)
