"""What comes before the first epoch: weights of a file or of another run, and a head alone."""

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import keras
import numpy as np

from tumorlens.errors import LeakError, TrainingError
from tumorlens.progress import Progress, silent
from tumorlens.study.data import splits
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.networks.transfer import head_of
from tumorlens.study.networks.weights import load_weights
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.data.training_set import Subset
from tumorlens.study.training.learner import Weights, assign_weights, build_network
from tumorlens.study.training.run_folder import NO_RUN, SPLIT_FILE, STATE_FILE, read_config
from tumorlens.study.training.transfer.frozen_features import (
    AugmentedViews,
    FeatureSet,
    frozen_features,
    head_plan,
    train_head,
)
from tumorlens.study.training.validation_metrics import validation_metrics


def prepare_network(
    model: keras.Model,
    recipe: Recipe,
    *,
    training: Subset,
    validation: Subset,
    cache: Path,
    weights: str,
    start: Path | None = None,
    progress: Progress = silent,
) -> float | None:
    """Load `weights` into a fresh network and, if the recipe says so, train its head alone.

    `weights` is "imagenet", "none" or a file; `start` is another run, whose network is taken
    instead. Returns the training loss of the head, or None.
    """
    if start:
        load_run(model, start)
    else:
        load_weights(model, NETWORKS[recipe.network].family, weights)
    if not recipe.head_epochs:
        return None
    training = training.without_copies()  # augmented views say more than copies
    views = AugmentedViews(recipe.head_views, strength=recipe.augmentation, seed=recipe.seed)
    augmented = frozen_features(model, training.images, cache=cache, views=views, progress=progress)
    plain = frozen_features(model, validation.images, cache=cache, progress=progress)
    names, strata, data = validation.names, validation.strata, training.to_training_set()
    trained = train_head(
        head_of(model),
        FeatureSet(augmented, data.label_masks, data.image_ids, data.strata),
        head_plan(recipe),
        validation=plain[:, 0],
        validate=lambda logits: validation_metrics(logits, names, strata)["val_loss"],
    )
    return trained.loss


def load_run(model: keras.Model, run: Path) -> None:
    """Fill a fresh network from the best epoch of a run with the same layers.

    All up to the layer `features` is taken; what follows it too, where it has learned and
    fits. Raises TrainingError where the run is none, is damaged, or is of another network.
    """
    recipe, atoms, is_pretraining = read_config(run)
    donor = build_network(recipe, side=recipe.side, atoms=atoms)
    try:
        assign_weights(donor.variables, _best(run))
    except ValueError as e:
        raise TrainingError(run, f"is damaged ({e})", NO_RUN) from e
    ends = [net.layers.index(net.get_layer("features")) for net in (donor, model)]
    theirs, ours = donor.layers[: ends[0]], model.layers[: ends[1]]
    if _shapes(theirs) != _shapes(ours):
        fix = "Start with the recipe that made the run, or with one of the same network."
        raise TrainingError(run, f"is a run of {recipe.network}, which has other layers", fix)
    _copy(theirs, ours)
    theirs, ours = donor.layers[ends[0] :], model.layers[ends[1] :]
    if not is_pretraining and _shapes(theirs) == _shapes(ours):
        _copy(theirs, ours)


def check_warm_start(run: Path, groups: Mapping[str, str], parts: Mapping[str, str]) -> None:
    """Raise LeakError where what a run learned, or was chosen on, is held out here.

    A run learned from its train part, and its epoch and threshold were chosen on its val part.
    So its train part may not lie in val or test here, and its val part not in test: two runs
    of one split fit each other. `parts` maps keys of cases to their parts here, `groups` to their
    groups: a copy in another set is known where it names that set.
    """
    held = {
        part: {groups[key] for key, p in parts.items() if p == part} for part in ("val", "test")
    }
    kept_from = {"train": held["val"] | held["test"], "val": held["test"], "test": set[str]()}
    theirs = splits.read_split(run / SPLIT_FILE).parts
    seen = [key for key, part in theirs.items() if groups.get(key) in kept_from.get(part, ())]
    if seen:
        raise LeakError(
            run,
            f"learned from {len(seen)} scans that are held out here or share a group with one "
            f"that is, first {min(seen)}",
            "Make one split of all folders (`tumorlens split DIR... --out FILE`), use it for both "
            "runs, or pass --allow-leaks.",
        )


def run_digest(run: Path) -> str:
    """Return the sha256 of the state of a run; raises TrainingError where there is none."""
    try:
        with (run / STATE_FILE).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise TrainingError(run, f"has no state to start from ({e.strerror})", NO_RUN) from e


def _best(run: Path) -> Weights:
    try:
        with np.load(run / STATE_FILE, allow_pickle=False) as stored:
            found = [stored[name] for name in sorted(stored.files) if name.startswith("best_")]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as e:
        raise TrainingError(run, f"has no state to start from ({e})", NO_RUN) from e
    if not found:
        raise TrainingError(run, "has not ended an epoch", NO_RUN)
    return found


def _shapes(layers: Iterable[keras.Layer]) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for layer in layers for weight in layer.weights]


def _copy(theirs: Iterable[keras.Layer], ours: Iterable[keras.Layer]) -> None:
    values = [value for layer in theirs for value in layer.get_weights()]
    assign_weights([weight for layer in ours for weight in layer.weights], values)
