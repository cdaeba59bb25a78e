"""Networks from random initialization: a residual one, and the plain ones of earlier systems.

The residual network (after He et al., 2016) is sized for two CPU cores: its stem brings the side
down by four before the costly convolutions, because a full 3 x 3 convolution at a quarter of the
side is where a CPU gives the most arithmetic per second. The plain networks end in flattened
feature maps, so one is built for one side only; what their authors called "sigmoid" or "softmax"
belongs to the loss here.

All are uint8 [n, side, side, 1] -> logits [n, atoms]. The layer `features` holds the last feature
maps, the last dense layer is `atoms`. Normalization is inside: whoever runs the graph hands on
prepared pixels and nothing else.
"""

from collections.abc import Sequence
from typing import NamedTuple

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
    """Build the residual network; earlier feature maps are its layer `texture`."""
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


class Convolution(NamedTuple):
    """A convolution with ReLU, and whether pooling by two follows."""

    width: int
    kernel: int = 3
    stride: int = 1
    pool: bool = False


def build_plain(
    side: int,
    atoms: int,
    *,
    convolutions: Sequence[Convolution],
    dense: Sequence[int] | int,
    dropout: float,
    channels: int = 1,
) -> keras.Model:
    """Build a plain network; `dense` gives the hidden widths.

    `channels` above 1 repeats the gray channel: three tell nothing new, but have the weights
    of a network that was made for color.
    """
    scan = keras.Input((side, side, 1), dtype="uint8", name="scan")
    x = layers.Rescaling(1 / 255, name="unit")(scan)
    if channels > 1:
        x = layers.Concatenate(name="channels")([x] * channels)
    for width, kernel, stride, pool in convolutions:
        x = layers.Conv2D(width, kernel, strides=stride, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2)(x) if pool else x
    x = layers.Activation("linear", name="features")(x)
    x = layers.Flatten(name="flat")(x)
    for width in (dense,) if isinstance(dense, int) else dense:
        x = layers.Dense(width, activation="relu")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(scan, layers.Dense(atoms, name="atoms")(x), name="plain")
