"""One row per network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import keras

from tumorlens.study.networks.residual import build_residual


@dataclass(frozen=True)
class NetworkRow:
    """A network that can be named in a recipe."""

    name: str
    build: Callable[[int, int], keras.Model]  # (side, atoms) -> uint8 image to logits
    summary: str


NETWORKS: Mapping[str, NetworkRow] = {
    row.name: row
    for row in (
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
    )
}
