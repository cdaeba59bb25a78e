"""One row per network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import keras

from tumorlens.study.networks.families import FAMILIES
from tumorlens.study.networks.from_scratch import Convolution, build_plain, build_residual
from tumorlens.study.networks.transfer import build_transfer


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
    "efficientnet-lite0": {"attention": True},
}
_TRANSFERRED = tuple(
    NetworkRow(
        family,
        partial(build_transfer, family=family, **_HEADS.get(family, {})),
        f"{row.make.__name__} of Keras Applications"
        + (f", width {row.options['alpha']:g}" if "alpha" in row.options else "")
        + ", with ImageNet weights or a file of weights",
        family=family,
        min_side=row.min_side,
    )
    for family, row in FAMILIES.items()
)

NETWORKS: Mapping[str, NetworkRow] = {row.name: row for row in (*_FROM_SCRATCH, *_TRANSFERRED)}
