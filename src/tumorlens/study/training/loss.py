"""The set loss: minus the log of the probability of a label's set of atoms."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("tumorlens")
class SetLoss(keras.losses.Loss):
    """`-log(sum of p over the set)` from logits; a set of all atoms costs nothing.

    `y_true` is the label mask [n, atoms] of 0 and 1, `y_pred` the logits [n, atoms].
    """

    def call(self, y_true, y_pred):
        """Give the loss of each row, [n]."""
        inside = ops.where(y_true > 0.5, y_pred, ops.full_like(y_pred, -1e9))
        return ops.logsumexp(y_pred, axis=-1) - ops.logsumexp(inside, axis=-1)
