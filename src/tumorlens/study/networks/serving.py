"""The graph of a bundle from any network here: logits, where they come from, an embedding.

A network ends in the layer `features`, then pooling or flattening, then dense layers with ReLU
between them, of which the last is `atoms`. Such a head is linear in the feature maps as long as
no ReLU switches, so the gradient of a logit is a product of kernels with the rows of silent
units struck out. Written out, it needs no automatic differentiation and exports to ONNX.

A network that was trained on heads forgets what sets a knee apart from one. So scope can be judged
by features of the untouched ImageNet network, pooled from its middle and its last maps.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from tumorlens.study.networks.efficientnet_lite import build_efficientnet_lite

SIDE = 80  # pixels: what a thing is shows in a small image
DIMENSIONS = 192  # distances keep to about 7 % in a random projection (Johnson-Lindenstrauss)
_DEPTHS = ("stage_4", "head_relu")
_SEED = 0


def serving_graph(model: keras.Model, *, is_scope_untouched: bool = False) -> keras.Model:
    """Return the graph of a bundle: atoms [n, A], maps [n, h, w, A], embedding [n, D].

    With `is_scope_untouched` the embedding is that of an untouched ImageNet network.
    The mean of the maps over positions is the logit itself, so evidence adds up to the answer.
    A network with a layer `texture` gets an embedding of both depths.
    """
    end = model.layers.index(model.get_layer("features"))
    logits, maps, embedding = Evidence(model.layers[end + 1 :])(model.layers[end].output)
    if is_scope_untouched:
        return keras.Model(model.input, [logits, maps, untouched_embedding(model.input)])
    texture = next((layer for layer in model.layers if layer.name == "texture"), None)
    if texture is not None:
        embedding = TwoDepths()([embedding, texture.output])
    return keras.Model(model.input, [logits, maps, embedding])


class TwoDepths(layers.Layer):
    """One embedding of two depths, for how unlike the training scans an image is.

    What an image means to the network, and the mean and deviation of earlier maps, which see
    texture. Each is brought to length 1, so that a cosine between two such embeddings is a
    weighted mean of the cosines at either depth.
    """

    TEXTURE_WEIGHT = 2.0

    def __init__(self) -> None:
        super().__init__(name="two_depths", dtype="float32")

    def call(self, inputs):
        """Return [n, D + 2 d] of an embedding [n, D] and maps [n, h, w, d]."""
        meaning, maps = inputs
        mean = ops.mean(maps, axis=(1, 2))
        deviation = ops.sqrt(ops.mean(ops.square(maps), axis=(1, 2)) - ops.square(mean) + 1e-6)
        texture = ops.concatenate([mean, deviation], axis=-1)
        return ops.concatenate(
            [unit_length(meaning), self.TEXTURE_WEIGHT * unit_length(texture)], axis=-1
        )


class Evidence(layers.Layer):
    """A head that also says where its logits come from.

    After global average pooling and one dense layer these are class activation maps (Zhou et
    al., 2016). After pooling and several dense layers they are Grad-CAM (Selvaraju et al.,
    2017) without its final ReLU. After flattening the gradient differs from place to place;
    multiplied in place instead of averaged first (HiResCAM, Draelos and Carin, 2020), the maps
    still add up to the logit. What no position accounts for, the biases, is spread evenly.
    """

    def __init__(self, head: Sequence[layers.Layer]) -> None:
        super().__init__(name="evidence", dtype="float32")
        self.head = list(head)
        self.is_flat = any(isinstance(layer, layers.Flatten) for layer in self.head)

    def call(self, features):
        """Return logits [n, A], maps [n, h, w, A] and embedding [n, D] of maps [n, h, w, D]."""
        _, height, width, depth = features.shape
        logits, slope = self._answer(features)
        atoms, places = logits.shape[-1], height * width
        flat = ops.reshape(features, (-1, places, depth))
        if self.is_flat:
            slope = ops.reshape(slope, (-1, places, depth, atoms)) * places
            maps = ops.matmul(flat[:, :, None, :], slope)[:, :, 0, :]
        else:
            maps = ops.matmul(flat, slope)
        rest = logits - ops.mean(maps, axis=1)
        maps = ops.reshape(maps + rest[:, None, :], (-1, height, width, atoms))
        return logits, maps, ops.mean(features, axis=(1, 2))

    def _answer(self, x):
        """Return logits and their gradient by what enters the dense layers, [(n,) inputs, A]."""
        passed = []
        for layer in self.head:
            x = layer(x)
            if isinstance(layer, layers.Dense):
                passed.append((layer.kernel, x))
        slope = passed.pop()[0]
        for kernel, units in reversed(passed):
            slope = ops.matmul(kernel, ops.cast(units > 0, units.dtype)[..., None] * slope)
        return x, slope


def untouched_embedding(scan: keras.KerasTensor) -> keras.KerasTensor:
    """Return [n, DIMENSIONS] of prepared images, uint8 [n, side, side, 1].

    Raises TrainingError where the package of ImageNet weights is not installed.
    """
    x = ops.cast(scan, "float32")
    x = layers.AveragePooling2D(max(1, scan.shape[1] // SIDE), name="scope_small")(x)
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scope_unit")(x)
    x = layers.Concatenate(name="scope_channels")([x] * 3)
    network = build_efficientnet_lite(weights="imagenet", input_shape=x.shape[1:])
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
