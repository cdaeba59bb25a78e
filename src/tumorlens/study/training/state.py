"""The state of a run on disk: written whole after every epoch, so a kill loses at most one."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.files import replacing

Weights = list[NDArray]


@dataclass
class RunState:
    """Everything a resumed run needs to go on as if it had never stopped."""

    epoch: int = 0  # epochs finished
    best_epoch: int = 0
    best_loss: float = float("inf")
    averaged: Weights = field(default_factory=list)  # exponential moving average
    best: Weights = field(default_factory=list)  # averaged weights of the best epoch


def read_weights(variables: Sequence[keras.Variable]) -> Weights:
    """Copy variables out of the backend."""
    return [to_array(variable).copy() for variable in variables]


def to_array(value: Any) -> NDArray:
    """Bring a tensor or variable of any backend to NumPy, without a copy where it can be."""
    return np.asarray(keras.ops.convert_to_numpy(value))


def assign_weights(variables: Sequence[keras.Variable], values: Sequence[NDArray]) -> None:
    """Put values back into variables of the same shapes."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def save_state(
    path: Path, state: RunState, *, model: keras.Model, optimizer: keras.Optimizer
) -> None:
    """Write state, weights and optimizer; the old file stands until the new one is whole."""
    arrays = {"scalars": np.array([state.epoch, state.best_epoch, state.best_loss])}
    groups = {
        "weights": read_weights(model.variables),
        "optimizer": read_weights(optimizer.variables),
        "averaged": state.averaged,
        "best": state.best,
    }
    for name, values in groups.items():
        arrays |= {f"{name}_{index:04d}": value for index, value in enumerate(values)}
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_state(path: Path, *, model: keras.Model, optimizer: keras.Optimizer) -> RunState:
    """Read what `save_state` wrote into model and optimizer.

    Raises TrainingError if the file is damaged or belongs to another network.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        epoch, best_epoch, best_loss = arrays.pop("scalars")
        groups: dict[str, Weights] = {}
        for name in sorted(arrays):
            groups.setdefault(name.rsplit("_", 1)[0], []).append(arrays[name])
        assign_weights(model.variables, groups["weights"])
        assign_weights(optimizer.variables, groups["optimizer"])
        averaged, best = groups["averaged"], groups.get("best", [])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as e:
        fix = "Start again in another folder, or with the recipe that made it."
        raise TrainingError(path, f"cannot be resumed from ({e})", fix) from e
    return RunState(int(epoch), int(best_epoch), float(best_loss), averaged, best)
