"""VICReg: two augmented views of each scan, and a loss under which they agree.

Bardes, Ponce and LeCun (ICLR 2022). It needs no negative pairs, no second network and no large
batch, which is why it suits two CPU cores.
"""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from tumorlens.study.training.data.augmentation import Rng, augment
from tumorlens.study.training.data.batches import prefetched

INVARIANCE, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0  # weights of the three terms, as published
_EPSILON = 1e-4


def view_of(
    image: NDArray[np.uint8], rng: Rng, *, min_area: float, strength: float, side: int
) -> NDArray[np.uint8]:
    """Return a random square of a prepared image, [s, s], augmented to [side, side]."""
    length = image.shape[0]
    size = round(length * np.sqrt(rng.uniform(min_area, 1.0)))
    row, column = rng.integers(0, length - size + 1, 2)
    square = np.ascontiguousarray(image[row : row + size, column : column + size])
    return augment(square, rng, strength=strength, side=side)


def contrastive_batches(
    images: NDArray[np.uint8],
    positions: NDArray[np.int64],
    *,
    batch: int,
    min_area: float,
    strength: float,
    side: int,
    seed: Sequence[int],
) -> Iterator[NDArray[np.uint8]]:
    """Yield [2 * batch, side, side, 1]: first views, then the second of each, one batch ahead."""

    def make(number: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng((*seed, number))
        taken = positions[number * batch : (number + 1) * batch].tolist() * 2
        views = [
            view_of(images[i], rng, min_area=min_area, strength=strength, side=side) for i in taken
        ]
        return np.stack(views)[..., None]

    return prefetched(make, len(positions) // batch)


@keras.saving.register_keras_serializable("tumorlens")
class VicregLoss(keras.losses.Loss):
    """The loss of projections [2n, D]: n first views, then their second views.

    `y_true` is not looked at, since there are no labels.
    """

    def call(self, y_true, y_pred):
        """Return one number for the whole batch."""
        first, second = ops.split(y_pred, 2, axis=0)
        invariance = ops.mean(ops.square(first - second))
        variance = (_too_constant(first) + _too_constant(second)) / 2
        covariance = _redundant(first) + _redundant(second)
        return INVARIANCE * invariance + VARIANCE * variance + COVARIANCE * covariance


def _too_constant(values):
    """Return how far the deviation of each feature is below one, on average."""
    deviation = ops.sqrt(ops.var(values, axis=0) + _EPSILON)
    return ops.mean(ops.relu(1.0 - deviation))


def _redundant(values):
    """Return the squared covariances between features, summed and divided by their number."""
    count, depth = ops.cast(ops.shape(values)[0], values.dtype), values.shape[-1]
    centered = values - ops.mean(values, axis=0, keepdims=True)
    covariance = ops.matmul(ops.transpose(centered), centered) / (count - 1)
    own = ops.sum(ops.square(ops.diagonal(covariance)))
    return (ops.sum(ops.square(covariance)) - own) / depth
