"""Plain networks as earlier systems described them: convolutions, pooling, dense layers.

Each ends in flattened feature maps, so one is built for one side only. What they called
"sigmoid" or "softmax" belongs to the loss here; the last layer gives logits of atoms.
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import layers


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
    """Build uint8 [n, side, side, 1] -> logits [n, atoms]; `dense` gives the hidden widths.

    `channels` above 1 repeats the grey channel: three say nothing new, but have the weights
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
