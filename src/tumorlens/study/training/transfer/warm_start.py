"""Starting from another run: what its network learned, without what it must not have seen."""

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tumorlens.errors import LeakError, TrainingError
from tumorlens.study.data import splits
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.loop import STATE_FILE, build_network
from tumorlens.study.training.run_folder import read_json
from tumorlens.study.training.state import Weights, assign_weights

CONFIG_FILE, SPLIT_FILE = "config.json", "split.csv"
PRETRAINING = "pretraining"  # stands in the config of a run whose head has not learned
_FIX = "Name a folder of `tumorlens train` or `tumorlens pretrain` that has ended an epoch."


def load_start(model: keras.Model, run: Path) -> None:
    """Fill a fresh network from the best epoch of a run with the same layers.

    All up to the layer `features` is taken; what follows it too, where it has learned and
    fits. Raises TrainingError where the run is none, is damaged, or is of another network.
    """
    config = _config(run)
    recipe = Recipe(**config["recipe"])
    donor = build_network(recipe, side=recipe.side, atoms=len(config["atoms"]))
    try:
        assign_weights(donor.variables, _best(run))
    except ValueError as e:
        raise TrainingError(run, f"is damaged ({e})", _FIX) from e
    ends = [net.layers.index(net.get_layer("features")) for net in (donor, model)]
    theirs, ours = donor.layers[: ends[0]], model.layers[: ends[1]]
    if _shapes(theirs) != _shapes(ours):
        fix = "Start with the recipe that made the run, or with one of the same network."
        raise TrainingError(run, f"is a run of {recipe.network}, which has other layers", fix)
    _copy(theirs, ours)
    theirs, ours = donor.layers[ends[0] :], model.layers[ends[1] :]
    if PRETRAINING not in config and _shapes(theirs) == _shapes(ours):
        _copy(theirs, ours)


def check_start(run: Path, groups: Mapping[str, str], held: Iterable[str]) -> None:
    """Raise LeakError where the run learned from a case of `held`, or of one of their groups.

    `groups` maps keys of cases to groups: a copy in another set is known where it names that set.
    """
    learned = {
        key for key, part in splits.read_split(run / SPLIT_FILE).parts.items() if part != "test"
    }
    kept_apart = {groups[key] for key in held}
    seen = [key for key in learned if groups.get(key) in kept_apart]
    if seen:
        raise LeakError(
            run,
            f"learned from {len(seen)} scans that are held out here or share a group with one "
            f"that is, first {min(seen)}",
            "Make one split of all folders (`tumorlens split DIR... --out FILE`), use it for both "
            "runs, or pass --allow-leaks.",
        )


def start_digest(run: Path) -> str:
    """Give the sha256 of the state of a run; raises TrainingError where there is none."""
    try:
        with (run / STATE_FILE).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise TrainingError(run, f"has no state to start from ({e.strerror})", _FIX) from e


def _config(run: Path) -> dict[str, Any]:
    config = read_json(run / CONFIG_FILE)
    if not isinstance(config, dict) or not {"recipe", "atoms"} <= set(config):
        raise TrainingError(run / CONFIG_FILE, "is not that of a run", _FIX)
    return config


def _best(run: Path) -> Weights:
    try:
        with np.load(run / STATE_FILE, allow_pickle=False) as stored:
            found = [stored[name] for name in sorted(stored.files) if name.startswith("best_")]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as e:
        raise TrainingError(run, f"has no state to start from ({e})", _FIX) from e
    if not found:
        raise TrainingError(run, "has not ended an epoch", _FIX)
    return found


def _shapes(layers: Iterable[keras.Layer]) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for layer in layers for weight in layer.weights]


def _copy(theirs: Iterable[keras.Layer], ours: Iterable[keras.Layer]) -> None:
    values = [value for layer in theirs for value in layer.get_weights()]
    assign_weights([weight for layer in ours for weight in layer.weights], values)
