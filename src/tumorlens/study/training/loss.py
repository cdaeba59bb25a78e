"""The losses: one for the answer, one for the place its evidence comes from."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("tumorlens")
class SetLoss(keras.losses.Loss):
    """`-log(sum of p over the set)` from logits; a set of all atoms costs nothing.

    `y_true` is the label mask [n, atoms] of 0 and 1, `y_pred` the logits [n, atoms]. The empty
    set is the label of a picture that shows no head: it costs how far the probabilities are
    from saying nothing (cross-entropy with the uniform, Hendrycks et al., 2019).
    """

    def call(self, y_true, y_pred):
        """Give the loss of each row, [n]."""
        whole = ops.logsumexp(y_pred, axis=-1)
        inside = ops.where(y_true > 0.5, y_pred, ops.full_like(y_pred, -1e9))
        undecided = whole - ops.mean(y_pred, axis=-1) - np.log(y_pred.shape[-1])
        is_empty = ops.max(y_true, axis=-1) < 0.5
        return ops.where(is_empty, undecided, whole - ops.logsumexp(inside, axis=-1))


@keras.saving.register_keras_serializable("tumorlens")
class EvidenceLoss(keras.losses.Loss):
    """Cross-entropy of where the tumor lies with where the evidence for one stands.

    `y_true` is the share of the tumor at each place [n, h, w], summing to 1, or all 0 where no
    place is known, which costs nothing. `y_pred` are activation maps [n, h, w, atoms]; their
    log odds of a tumor, softmaxed over places, are the evidence. Only the place is judged, so
    the loss does not say whether there is a tumor. `is_tumor` marks the atoms.
    """

    def __init__(self, is_tumor: Sequence[bool], **options):
        super().__init__(**options)
        self.is_tumor = list(is_tumor)

    def call(self, y_true, y_pred):
        """Give the loss of each row, [n]."""
        tumor = [index for index, flag in enumerate(self.is_tumor) if flag]
        healthy = [index for index, flag in enumerate(self.is_tumor) if not flag]
        odds = ops.logsumexp(ops.take(y_pred, tumor, axis=-1), axis=-1)
        odds = odds - ops.logsumexp(ops.take(y_pred, healthy, axis=-1), axis=-1)
        places = ops.shape(odds)[1] * ops.shape(odds)[2]
        shares = ops.log_softmax(ops.reshape(odds, (-1, places)), axis=-1)
        return -ops.sum(ops.reshape(y_true, (-1, places)) * shares, axis=-1)

    def get_config(self):
        """Give the options as plain data."""
        return {**super().get_config(), "is_tumor": self.is_tumor}
