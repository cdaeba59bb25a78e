"""EfficientNet-Lite with ImageNet weights: a backbone that 8 bits and phones were made for.

The network is EfficientNet (Tan and Le, 2019) without squeeze-and-excitation and with ReLU6
instead of swish. Its weights lie as data in packages (`networks.packaged_weights`).
"""

import math
from typing import NamedTuple

import keras
from keras import layers

from tumorlens.study.networks.packaged_weights import fill_from_package

_STEM, _HEAD = 32, 1280  # channels, the same in every version


class Stage(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    width: int


# Of version 0; the others are wider or deeper by the factors of VERSIONS.
STAGES = (
    Stage(1, kernel=3, stride=1, expansion=1, width=16),
    Stage(2, kernel=3, stride=2, expansion=6, width=24),
    Stage(2, kernel=5, stride=2, expansion=6, width=40),
    Stage(3, kernel=3, stride=2, expansion=6, width=80),
    Stage(3, kernel=5, stride=1, expansion=6, width=112),
    Stage(4, kernel=5, stride=2, expansion=6, width=192),
    Stage(1, kernel=3, stride=1, expansion=6, width=320),
)
_TRUNCATED_AT = 6  # the last stage that brings the side down
VERSIONS = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))  # factors of width and depth


def stages_of(version: int) -> tuple[Stage, ...]:
    """Return the stages of EfficientNet-Lite0, 1 or 2; the first and the last keep their depth."""
    width, depth = VERSIONS[version]
    last = len(STAGES) - 1
    return tuple(
        stage._replace(
            width=_multiple_of_eight(stage.width * width),
            repeats=stage.repeats if k in (0, last) else math.ceil(stage.repeats * depth),
        )
        for k, stage in enumerate(STAGES)
    )


def _multiple_of_eight(width: float) -> int:
    """Round as the authors do: to the nearest, but down by no more than a tenth."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def build_efficientnet_lite(
    *,
    version: int = 0,
    include_top: bool = False,
    weights: str | None = None,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    last_stride: int = 2,
    is_truncated: bool = False,
) -> keras.Model:
    """Build [n, side, side, 3] -> [n, h, w, 1280], called as Keras Applications are.

    `last_stride` 1 instead of 2 keeps maps at a sixteenth of the side, where a small lesion
    still has a cell of its own. The output of stage k is the layer `stage_k`. With `is_truncated`
    the network ends where the sixth stage has widened its maps, [n, h, w, 672] in version 0, also
    at a sixteenth, with a quarter of the parameters. Raises TrainingError where ImageNet weights
    are wanted and their package is not installed.
    """
    if include_top:
        raise ValueError("the classes of ImageNet are not built")
    stages = stages_of(version)
    image = keras.Input(input_shape, name="image")
    x = _convolution(image, _STEM, kernel=3, stride=2, name="stem")
    for number, stage in enumerate(stages, start=1):
        stride = last_stride if number == len(stages) - 1 else stage.stride
        for index in range(stage.repeats):
            x = _block(x, stage, stride=1 if index else stride, name=f"stage_{number}_{index}")
        x = layers.Activation("linear", name=f"stage_{number}")(x)
    x = _convolution(x, _HEAD, kernel=1, stride=1, name="head")
    network = keras.Model(image, x, name=f"efficientnet-lite{version}")
    if weights:
        fill_from_package(network, network.name)
    if is_truncated:
        maps = network.get_layer(f"stage_{_TRUNCATED_AT}_0_expand_relu").output
        network = keras.Model(image, maps, name=f"{network.name}-truncated")
    return network


def _block(x: keras.KerasTensor, stage: Stage, *, stride: int, name: str) -> keras.KerasTensor:
    """Expand, filter every channel by itself, and project (Sandler et al., 2018)."""
    entry = x
    if stage.expansion > 1:
        width = x.shape[-1] * stage.expansion
        x = _convolution(x, width, kernel=1, stride=1, name=f"{name}_expand")
    x = layers.DepthwiseConv2D(
        stage.kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = layers.ReLU(6.0, name=f"{name}_relu")(_normalized(x, f"{name}_depthwise"))
    x = layers.Conv2D(stage.width, 1, use_bias=False, name=f"{name}_project")(x)
    x = _normalized(x, f"{name}_project")
    if stride == 1 and entry.shape[-1] == stage.width:
        x = layers.Add(name=f"{name}_add")([entry, x])
    return x


def _convolution(
    x: keras.KerasTensor, width: int, *, kernel: int, stride: int, name: str
) -> keras.KerasTensor:
    x = layers.Conv2D(
        width, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_convolution"
    )(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(_normalized(x, name))


def _normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}_normalization")(x)
