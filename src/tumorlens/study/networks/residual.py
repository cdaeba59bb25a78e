"""A residual network for one grey channel, after He et al. (2016), sized for two CPU cores.

The stem brings the side down by four before the costly convolutions, because a full 3 x 3
convolution at a quarter of the side is where a CPU gives the most arithmetic per second.
"""

from collections.abc import Sequence

import keras
from keras import layers

TEXTURE_STAGE = 1  # its maps still show texture, not yet what it means


def build_residual(
    side: int,
    atoms: int,
    *,
    stem: int = 24,
    widths: Sequence[int] = (32, 64, 128, 192),
    depths: Sequence[int] = (1, 2, 2, 1),
    dropout: float = 0.2,
) -> keras.Model:
    """Build uint8 [n, side, side, 1] -> logits [n, atoms].

    The last feature maps, before pooling, are the layer `features`, earlier ones `texture`; the
    dense is `atoms`.
    Normalization is inside: whoever runs the graph hands on prepared pixels and nothing else.
    """
    scan = keras.Input((side, side, 1), dtype="uint8", name="scan")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="unit")(scan)
    x = _convolution(x, stem, kernel=5, stride=2)
    x = _convolution(x, widths[0], kernel=3, stride=2)
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for index in range(depth):
            # The last stage keeps its side: finer activation maps cost little there.
            shrink = index == 0 and 0 < stage < len(widths) - 1
            x = _residual(x, width, stride=2 if shrink else 1)
        if stage == TEXTURE_STAGE:
            x = layers.Activation("linear", name="texture")(x)
    x = layers.Activation("linear", name="features")(x)
    # The answer is summed up in full precision, whatever the layers before were computed in.
    x = layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(x)
    x = layers.Dropout(dropout, name="dropout", dtype="float32")(x)
    logits = layers.Dense(atoms, name="atoms", dtype="float32")(x)
    return keras.Model(scan, logits, name="residual")


def _convolution(
    x: keras.KerasTensor, width: int, *, kernel: int, stride: int = 1, activate: bool = True
) -> keras.KerasTensor:
    x = layers.Conv2D(
        width, kernel, strides=stride, padding="same", use_bias=False,
        kernel_initializer="he_normal",
    )(x)  # fmt: skip
    # The averaging over steps smooths these statistics; momentum only has to forget the start.
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3)(x)
    return layers.Activation("relu")(x) if activate else x


def _residual(x: keras.KerasTensor, width: int, *, stride: int) -> keras.KerasTensor:
    y = _convolution(x, width, kernel=3, stride=stride)
    y = _convolution(y, width, kernel=3, activate=False)
    if stride > 1:
        # Pool before the 1 x 1 convolution, so that no input pixel is dropped (He et al., 2019).
        x = layers.AveragePooling2D(stride)(x)
    if stride > 1 or x.shape[-1] != width:
        x = _convolution(x, width, kernel=1, activate=False)
    return layers.Activation("relu")(layers.Add()([x, y]))
