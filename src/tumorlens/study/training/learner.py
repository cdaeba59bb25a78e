"""A network as it learns: its losses, optimizer and schedule, and its state on disk."""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.files import replacing
from tumorlens.labels import ATOMS
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.networks.serving import serving_graph
from tumorlens.study.networks.transfer import freeze
from tumorlens.study.recipes import NO_WEIGHTS, Recipe
from tumorlens.study.training.backend import precision

DISTILLATION_TEMPERATURE = 2.0  # temperature at which a teacher's answers are learned


@keras.saving.register_keras_serializable("tumorlens")
class SetLoss(keras.losses.Loss):
    """`-log(sum of p over the set)` from logits; a set of all atoms costs nothing.

    `y_true` is the label mask [n, atoms] of 0 and 1, `y_pred` the logits [n, atoms]. The empty
    set is the label of an image that shows no head: it costs how far the probabilities are
    from uniform (Hendrycks et al., 2019).
    """

    def call(self, y_true, y_pred):
        """Return the loss of each row, [n]."""
        whole = ops.logsumexp(y_pred, axis=-1)
        inside = ops.where(y_true > 0.5, y_pred, ops.full_like(y_pred, -1e9))
        undecided = whole - ops.mean(y_pred, axis=-1) - np.log(y_pred.shape[-1])
        is_empty = ops.max(y_true, axis=-1) < 0.5
        return ops.where(is_empty, undecided, whole - ops.logsumexp(inside, axis=-1))


@keras.saving.register_keras_serializable("tumorlens")
class DistillationLoss(SetLoss):
    """`share` of it is the divergence from a teacher's answer, the rest the loss on the label.

    `y_true` is [n, 2 atoms]: the label mask, then the teacher's probabilities. Both are judged at
    DISTILLATION_TEMPERATURE, whose square keeps the gradient's size (Hinton, Vinyals and Dean,
    2015).
    """

    def __init__(self, share: float, **options):
        super().__init__(**options)
        self.share = share

    def call(self, y_true, y_pred):
        """Return the loss of each row, [n]."""
        masks, teacher = ops.split(y_true, 2, axis=-1)
        ratio = ops.log(ops.maximum(teacher, 1e-12)) - ops.log_softmax(
            y_pred / DISTILLATION_TEMPERATURE, axis=-1
        )
        divergence = DISTILLATION_TEMPERATURE**2 * ops.sum(teacher * ratio, axis=-1)
        return self.share * divergence + (1 - self.share) * super().call(masks, y_pred)

    def get_config(self):
        """Return the options as plain data."""
        return {**super().get_config(), "share": self.share}


@keras.saving.register_keras_serializable("tumorlens")
class LocalizationLoss(keras.losses.Loss):
    """Cross-entropy of where the tumor lies with where the activation maps see one.

    `y_true` is the share of the tumor in each cell [n, h, w], summing to 1, or all 0 where no
    mask is known, which costs nothing. `y_pred` are activation maps [n, h, w, atoms]; their
    log odds of a tumor go through a softmax over cells. Only the location is judged, so the
    loss does not depend on whether there is a tumor. `is_tumor` marks the atoms.
    """

    def __init__(self, is_tumor: Sequence[bool], **options):
        super().__init__(**options)
        self.is_tumor = list(is_tumor)

    def call(self, y_true, y_pred):
        """Return the loss of each row, [n]."""
        tumor = [index for index, flag in enumerate(self.is_tumor) if flag]
        healthy = [index for index, flag in enumerate(self.is_tumor) if not flag]
        odds = ops.logsumexp(ops.take(y_pred, tumor, axis=-1), axis=-1)
        odds = odds - ops.logsumexp(ops.take(y_pred, healthy, axis=-1), axis=-1)
        cells = ops.shape(odds)[1] * ops.shape(odds)[2]
        shares = ops.log_softmax(ops.reshape(odds, (-1, cells)), axis=-1)
        return -ops.sum(ops.reshape(y_true, (-1, cells)) * shares, axis=-1)

    def get_config(self):
        """Return the options as plain data."""
        return {**super().get_config(), "is_tumor": self.is_tumor}


@dataclass(frozen=True)
class Learner:
    """A network and the compiled graph that trains its weights."""

    network: keras.Model  # logits of scans
    graph: keras.Model  # the same, with activation maps where the recipe has a loss on them

    @property
    def grid(self) -> int:
        """Side of the activation maps."""
        return self.network.get_layer("features").output.shape[1]


def compile_network(
    recipe: Recipe, *, atoms: int, steps: int, has_start: bool = False, with_teacher: bool = False
) -> Learner:
    """Build the recipe's network with its optimizer and schedule; `steps` is per epoch.

    With `has_start` its weights will be those of another run; with `with_teacher` a teacher's
    answers come beside the labels.
    """
    keras.utils.set_random_seed(recipe.seed)
    with precision(recipe.precision):
        network = build_network(recipe, side=recipe.train_side, atoms=atoms)
    family = NETWORKS[recipe.network].family
    if family:
        # Also where only the head has learned: it did so under these statistics.
        came_trained = has_start or recipe.weights != NO_WEIGHTS or recipe.head_epochs > 0
        keep = recipe.frozen_statistics and came_trained
        freeze(network, family, blocks=recipe.tuned_blocks, keep_statistics=keep)
    optimizer = optimizer_of(recipe, steps=steps)
    loss = DistillationLoss(recipe.distillation_share) if with_teacher else SetLoss()
    if recipe.localization_weight:
        graph = serving_graph(network)
        localization = LocalizationLoss([not atom.endswith("_healthy") for atom in ATOMS])
        losses, weights = [loss, localization, None], [1.0, recipe.localization_weight, 0.0]
        graph.compile(optimizer, loss=losses, loss_weights=weights, jit_compile=False)
    else:
        graph = network
        graph.compile(optimizer, loss=loss, jit_compile=False)
    optimizer.build(graph.trainable_variables)
    return Learner(network, graph)


def optimizer_of(recipe: Recipe, *, steps: int) -> keras.Optimizer:
    """Return AdamW with the recipe's schedule: warm-up, then a cosine; `steps` is per epoch."""
    warmup = int(recipe.warmup_epochs * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else recipe.learning_rate,
        decay_steps=max(1, recipe.epochs * steps - warmup),
        alpha=0.01,
        warmup_target=recipe.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay, clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def check_network(recipe: Recipe) -> None:
    """Raise TrainingError where the recipe's network is unknown or cannot have its sides."""
    row = NETWORKS.get(recipe.network)
    if row is None:
        fix = f"Known networks: {', '.join(sorted(NETWORKS))}."
        raise TrainingError(recipe.network, "is no known network", fix)
    if row.one_side and recipe.train_side != recipe.side:
        fact = f"flattens its maps, so it cannot be trained at {recipe.train_side} px and used"
        fix = "Give the recipe one side for both."
        raise TrainingError(recipe.network, f"{fact} at {recipe.side} px", fix)
    if min(recipe.side, recipe.train_side) < row.min_side:
        fix = "Give the recipe a larger side."
        raise TrainingError(recipe.network, f"needs at least {row.min_side} px", fix)


def build_network(recipe: Recipe, *, side: int, atoms: int) -> keras.Model:
    """Build the recipe's network for one side.

    Raises TrainingError for a side it cannot have.
    """
    check_network(recipe)
    return NETWORKS[recipe.network].build(side, atoms, **recipe.options)


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


def predict_function(model: keras.Model, *, count: int, batch: int) -> Callable[..., Any]:
    """Return what takes a batch, for `count` images: compiling takes longer than few do without."""
    return model.predict_on_batch if count > 2 * batch else partial(model, training=False)


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
