"""Two views of each scan: another crop, another pose, another scanner."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from tumorlens.study.training.data.augmentation import Rng, augment


def view_of(
    image: NDArray[np.uint8], rng: Rng, *, least_area: float, strength: float, side: int
) -> NDArray[np.uint8]:
    """Give a random square of a prepared image, [s, s], augmented to [side, side]."""
    length = image.shape[0]
    size = round(length * np.sqrt(rng.uniform(least_area, 1.0)))
    row, column = rng.integers(0, length - size + 1, 2)
    square = np.ascontiguousarray(image[row : row + size, column : column + size])
    return augment(square, rng, strength=strength, side=side)


def view_batches(
    images: NDArray[np.uint8],
    positions: NDArray[np.int64],
    *,
    batch: int,
    least_area: float,
    strength: float,
    side: int,
    seed: Sequence[int],
) -> Iterator[NDArray[np.uint8]]:
    """Yield [2 * batch, side, side, 1]: first views, then the second of each, one batch ahead."""

    def make(number: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng((*seed, number))
        taken = positions[number * batch : (number + 1) * batch]
        views = [
            view_of(images[i], rng, least_area=least_area, strength=strength, side=side)
            for _ in range(2)
            for i in taken.tolist()
        ]
        return np.stack(views)[..., None]

    steps = len(positions) // batch
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, 0) if steps else None
        for number in range(steps):
            ready = ahead.result() if ahead else make(number)
            ahead = pool.submit(make, number + 1) if number + 1 < steps else None
            yield ready
