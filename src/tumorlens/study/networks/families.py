"""The pretrained networks that are used here, one row each: Keras Applications and a small one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import applications

from tumorlens.study.networks.efficientnet_lite import VERSIONS, build_efficientnet_lite


@dataclass(frozen=True)
class Scaling:
    """Gray levels times scale plus offset are what a network sees; one number, or one a channel."""

    scale: float | Sequence[float]
    offset: float | Sequence[float]


@dataclass(frozen=True)
class Family:
    """A network called as Keras Applications are, and what it was trained to see."""

    make: Callable[..., keras.Model]
    sees: Scaling
    starts: tuple[str, ...]  # layers after which its last block starts, its last two, ...
    options: Mapping[str, Any] = field(default_factory=dict)
    min_side: int = 32
    download_side: int = 224  # the weights fit any side; their file is named by one


_TO_ONE = Scaling(1 / 127.5, -1.0)  # -1 to 1
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, by channel
_STANDARD = Scaling(
    tuple(1 / (255 * deviation) for deviation in _DEVIATION),
    tuple(-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)),
)
# What a network may be shown instead of what its family was trained on, to do again what an
# earlier system did wrong.
SEEN_AS = {
    "unit": Scaling(1 / 255, 0.0),
    "undivided": Scaling(1.0, 0.0),
    "vgg": Scaling(1.0, (-103.939, -116.779, -123.68)),  # blue, green, red
}
# Their own scaling layers hold constants that ONNX export turns into inputs; ours do the same.
_SCALED_HERE = {"include_preprocessing": False}

FAMILIES: Mapping[str, Family] = {
    **{
        f"efficientnet-lite{version}": Family(
            build_efficientnet_lite,
            _TO_ONE,
            starts=("stage_6", "stage_5", "stage_4", "stage_3", "stage_2", "stage_1"),
            options={"version": version, "last_stride": 1},
        )
        for version in range(len(VERSIONS))
    },
    "efficientnet-lite0-truncated": Family(
        build_efficientnet_lite,
        _TO_ONE,
        starts=("stage_5", "stage_4", "stage_3", "stage_2", "stage_1"),
        options={"is_truncated": True},
    ),
    "xception": Family(
        applications.Xception,
        _TO_ONE,
        starts=("block13_pool", "block12_sepconv3_bn", "block11_sepconv3_bn"),
        min_side=71,
        download_side=299,
    ),
    "inception-v3": Family(
        applications.InceptionV3,
        _TO_ONE,
        starts=("mixed9", "mixed8", "mixed7"),
        min_side=75,
    ),
    "mobilenet": Family(
        applications.MobileNet,
        _TO_ONE,
        starts=("conv_pw_12_relu", "conv_pw_11_relu", "conv_pw_10_relu"),
        options={"alpha": 0.75},
    ),
    "densenet121": Family(
        applications.DenseNet121,
        _STANDARD,
        starts=("pool4_pool", "pool3_pool", "pool2_pool"),
    ),
    "efficientnet-v2-b0": Family(
        applications.EfficientNetV2B0,
        _STANDARD,
        starts=("block6g_add", "block6f_add", "block6e_add"),
        options=_SCALED_HERE,
    ),
    "convnext-tiny": Family(
        applications.ConvNeXtTiny,
        _STANDARD,
        starts=(
            "convnext_tiny_stage_3_block_1_identity",
            "convnext_tiny_stage_3_block_0_identity",
            "convnext_tiny_downsampling_block_2",
        ),
        options=_SCALED_HERE,
    ),
}
