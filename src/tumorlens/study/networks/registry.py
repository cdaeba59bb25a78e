"""One row per network, and those from random initialization.

The residual network (after He et al., 2016) is sized for two CPU cores: its stem brings the side
down by four before the costly convolutions, because a full 3 x 3 convolution at a quarter of the
side is where a CPU gives the most arithmetic per second. The plain networks end in flattened
feature maps, so one is built for one side only; what their authors called "sigmoid" or "softmax"
belongs to the loss here.

All are uint8 [n, side, side, 1] -> logits [n, atoms]. The layer `features` holds the last feature
maps, the last dense layer is `atoms`. Normalization is inside: whoever runs the graph hands on
prepared pixels and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import keras
from keras import layers

from tumorlens.study.networks.families import FAMILIES
from tumorlens.study.networks.transfer import build_transfer

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


@dataclass(frozen=True)
class NetworkRow:
    """A network that can be named in a recipe."""

    name: str
    build: Callable[..., keras.Model]  # (side, atoms, **options) -> uint8 image to logits
    summary: str
    family: str = ""  # of Keras Applications, where it has a backbone
    one_side: bool = False  # flattened: its weights fit the side it was built for
    min_side: int = 32


_FROM_SCRATCH = (
    NetworkRow(
        "residual-small",
        build_residual,
        "residual CNN from random initialization, about 1.3 M parameters",
    ),
    NetworkRow(
        "residual-tiny",
        partial(build_residual, stem=16, widths=(24, 48, 96), depths=(1, 1, 1), dropout=0.1),
        "residual CNN from random initialization, about 0.2 M parameters, for demo and tests",
    ),
    NetworkRow(
        "baseline-cnn-gray",
        partial(
            build_plain,
            convolutions=(
                Convolution(64, kernel=5, stride=2, pool=True),
                Convolution(128),
                Convolution(128),
                Convolution(256, kernel=5, stride=2, pool=True),
            ),
            dense=(64, 32),
            dropout=0.4,
        ),
        "an earlier system's CNN for one gray channel, made for 224 px",
        one_side=True,
    ),
    NetworkRow(
        "baseline-cnn-tuned",
        partial(
            build_plain,
            convolutions=(
                Convolution(32, pool=True),
                Convolution(64, pool=True),
                Convolution(64, pool=True),
            ),
            dense=128,
            dropout=0.5,
            channels=3,
        ),
        "an earlier system's CNN for three channels, made for 240 px; dense 64 to 512 was tuned",
        one_side=True,
    ),
    NetworkRow(
        "baseline-cnn-small",
        partial(
            build_plain,
            convolutions=(
                Convolution(256, stride=2),
                Convolution(128, stride=2),
                Convolution(64, stride=2, pool=True),
            ),
            dense=1000,
            dropout=0.0,
        ),
        "an earlier system's CNN for few images, made for 128 px",
        one_side=True,
    ),
)
_HEADS = {
    "xception": {"dense": (256, 100), "dropout": 0.3},
    **{
        family: {"attention": True} for family in FAMILIES if family.startswith("efficientnet-lite")
    },
}


def _title(family: str) -> str:
    row = FAMILIES[family]
    if family.startswith("efficientnet-lite"):
        part = " up to its sixth stage" if "is_truncated" in row.options else ""
        version = row.options.get("version", 0)
        return f"EfficientNet-Lite{version}{part}, its weights in a package"
    width = f", width {row.options['alpha']:g}" if "alpha" in row.options else ""
    return f"{row.make.__name__} of Keras Applications{width}"


_TRANSFERRED = tuple(
    NetworkRow(
        family,
        partial(build_transfer, family=family, **_HEADS.get(family, {})),
        f"{_title(family)}, with ImageNet weights or a file of weights",
        family=family,
        min_side=row.min_side,
    )
    for family, row in FAMILIES.items()
)

NETWORKS: Mapping[str, NetworkRow] = {row.name: row for row in (*_FROM_SCRATCH, *_TRANSFERRED)}
