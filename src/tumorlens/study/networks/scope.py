"""An embedding that knows many more things than heads, to tell what is no head.

A network that was trained on heads forgets what sets a knee apart from one. So scope is judged
by features of the untouched ImageNet network, pooled from its middle and its last maps.
"""

import keras
import numpy as np
from keras import layers, ops

from tumorlens.study.networks.efficientnet_lite import build_efficientnet_lite0

SIDE = 80  # pixels: what a thing is shows in a small image
DIMENSIONS = 192  # distances keep to about 7 % in a random projection (Johnson-Lindenstrauss)
_DEPTHS = ("stage_4", "head_relu")
_SEED = 0


def untouched_embedding(scan: keras.KerasTensor) -> keras.KerasTensor:
    """Return [n, DIMENSIONS] of prepared images, uint8 [n, side, side, 1].

    Raises TrainingError where the package of ImageNet weights is not installed.
    """
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scope_unit")(scan)
    x = layers.AveragePooling2D(max(1, scan.shape[1] // SIDE), name="scope_small")(x)
    x = layers.Concatenate(name="scope_channels")([x] * 3)
    network = build_efficientnet_lite0(weights="imagenet", input_shape=x.shape[1:])
    network = keras.Model(
        network.input, [network.get_layer(name).output for name in _DEPTHS], name="untouched"
    )
    network.trainable = False
    pooled = [layers.GlobalAveragePooling2D()(maps) for maps in network(x)]
    joined = layers.Concatenate(name="scope_depths")([UnitLength()(vector) for vector in pooled])
    projection = layers.Dense(DIMENSIONS, use_bias=False, trainable=False, name="scope_projection")
    embedding = projection(joined)
    normal = np.random.default_rng(_SEED).standard_normal((joined.shape[-1], DIMENSIONS))
    projection.set_weights([np.linalg.qr(normal)[0].astype(np.float32)])
    return embedding


class UnitLength(layers.Layer):
    """Rows of length 1."""

    def call(self, vectors):
        """Return [n, d] of [n, d]."""
        return unit_length(vectors)


def unit_length(vectors):
    """Bring rows to length 1; a row of zeros stays."""
    length = ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True))
    return vectors / ops.maximum(length, 1e-6)
