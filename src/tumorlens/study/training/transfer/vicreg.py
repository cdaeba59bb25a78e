"""The loss of VICReg: two views of one scan agree, and no feature falls silent or says it twice.

Bardes, Ponce and LeCun (ICLR 2022). It needs no negative pairs, no second network and no large
batch, which is why it suits two CPU cores.
"""

import keras
from keras import ops

AGREE, VARY, DECORRELATE = 25.0, 25.0, 1.0  # weights of the three terms, as published
_EPSILON = 1e-4


@keras.saving.register_keras_serializable("tumorlens")
class VicregLoss(keras.losses.Loss):
    """Gives the loss of projections [2n, D]: n first views, then their second views.

    `y_true` is not looked at, since there are no labels.
    """

    def call(self, y_true, y_pred):
        """Give one number for the whole batch."""
        first, second = ops.split(y_pred, 2, axis=0)
        agree = ops.mean(ops.square(first - second))
        vary = (_too_still(first) + _too_still(second)) / 2
        decorrelate = _said_twice(first) + _said_twice(second)
        return AGREE * agree + VARY * vary + DECORRELATE * decorrelate


def _too_still(values):
    """Give how far the deviation of each feature is below one, on average."""
    deviation = ops.sqrt(ops.var(values, axis=0) + _EPSILON)
    return ops.mean(ops.relu(1.0 - deviation))


def _said_twice(values):
    """Give the squared covariances between features, summed and divided by their number."""
    count, depth = ops.cast(ops.shape(values)[0], values.dtype), values.shape[-1]
    centered = values - ops.mean(values, axis=0, keepdims=True)
    covariance = ops.matmul(ops.transpose(centered), centered) / (count - 1)
    own = ops.sum(ops.square(ops.diagonal(covariance)))
    return (ops.sum(ops.square(covariance)) - own) / depth
