"""Which images an epoch shows, in which order, and how they are changed.

Everything random follows from (seed, epoch, batch), so a resumed run sees what the
uninterrupted one would have seen.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tumorlens.study.training.augmentation import augment_batch


@dataclass(frozen=True)
class TrainingSet:
    """Prepared images with what the loss and the sampler need."""

    images: NDArray[np.uint8]  # [n, side, side]
    label_masks: NDArray[np.float32]  # [n, atoms]
    pictures: NDArray[np.int64]  # [n] files of one picture share a number
    strata: NDArray[np.int64]  # [n] data set x label

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
    batch: int,
    side: int,
    strength: float,
    seed: Sequence[int],
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """Yield augmented (images [b, side, side, 1], label masks [b, atoms]), one batch ahead."""

    def make(number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        taken = positions[number * batch : (number + 1) * batch]
        rng = np.random.default_rng((*seed, number))
        images = augment_batch(data.images[taken], rng, strength=strength, side=side)
        return images[..., None], data.label_masks[taken]

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, 0)
        for number in range(len(positions) // batch):
            ready = ahead.result()
            ahead = pool.submit(make, number + 1)
            yield ready
