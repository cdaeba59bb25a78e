"""The training loop: one recipe, one training set, one run folder.

The network is trained at `recipe.train_side` and validated and used at the larger
`recipe.side`, as in "Fixing the train-test resolution discrepancy" (FixRes, Touvron et al.,
2019): pooling over positions makes the weights fit any side.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.labels import ATOMS
from tumorlens.progress import TrainingCallback
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.networks.serving import serving_graph
from tumorlens.study.networks.transfer import freeze
from tumorlens.study.recipes import NO_WEIGHTS, Recipe
from tumorlens.study.training.data.batches import (
    Batch,
    Look,
    TrainingSet,
    epoch_batches,
    epoch_positions,
)
from tumorlens.study.training.history import HISTORY_FILE, Row, read_history, write_history
from tumorlens.study.training.loss import EvidenceLoss, SetLoss
from tumorlens.study.training.precision import precision
from tumorlens.study.training.state import (
    RunState,
    Weights,
    assign_weights,
    load_state,
    read_weights,
    save_state,
    to_array,
)

STATE_FILE = "state.npz"


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    model: keras.Model  # holds the averaged weights of the best epoch
    best_epoch: int
    epochs: int
    history: Sequence[Row]


@dataclass(frozen=True)
class Learner:
    """A network and the compiled graph that trains its weights."""

    network: keras.Model  # logits of scans
    graph: keras.Model  # the same, with activation maps where the recipe judges them

    @property
    def grid(self) -> int:
        """Side of the activation maps."""
        return self.network.get_layer("features").output.shape[1]


def compile_network(recipe: Recipe, *, atoms: int, steps: int) -> Learner:
    """Build the recipe's network with its optimizer and schedule; `steps` is per epoch."""
    keras.utils.set_random_seed(recipe.seed)
    with precision(recipe.precision):
        network = build_network(recipe, side=recipe.train_side, atoms=atoms)
    family = NETWORKS[recipe.network].family
    if family:
        # Also where only the head has learned: it did so under these statistics.
        keep = recipe.weights != NO_WEIGHTS or recipe.head_epochs > 0
        freeze(network, family, blocks=recipe.tuned_blocks, keep_statistics=keep)
    optimizer = optimizer_of(recipe, steps=steps)
    if recipe.evidence:
        graph = serving_graph(network)
        judge = EvidenceLoss([not atom.endswith("_healthy") for atom in ATOMS])
        losses, weights = [SetLoss(), judge, None], [1.0, recipe.evidence, 0.0]
        graph.compile(optimizer, loss=losses, loss_weights=weights, jit_compile=False)
    else:
        graph = network
        graph.compile(optimizer, loss=SetLoss(), jit_compile=False)
    optimizer.build(graph.trainable_variables)
    return Learner(network, graph)


def optimizer_of(recipe: Recipe, *, steps: int) -> keras.Optimizer:
    """Give AdamW with the recipe's schedule: warm-up, then a cosine; `steps` is per epoch."""
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


def build_network(recipe: Recipe, *, side: int, atoms: int) -> keras.Model:
    """Build the recipe's network for one side.

    Raises TrainingError for a side it cannot have.
    """
    row = NETWORKS[recipe.network]
    if row.one_side and recipe.train_side != recipe.side:
        fact = f"flattens its maps, so it cannot be trained at {recipe.train_side} px and used"
        fix = "Give the recipe one side for both."
        raise TrainingError(recipe.network, f"{fact} at {recipe.side} px", fix)
    if side < row.least_side:
        fix = "Give the recipe a larger side."
        raise TrainingError(recipe.network, f"needs at least {row.least_side} px", fix)
    return row.build(side, atoms, **recipe.options)


def fit(
    recipe: Recipe,
    data: TrainingSet,
    *,
    validate: Callable[[keras.Model], Row],
    run: Path,
    callback: TrainingCallback,
    prepare: Callable[[keras.Model], float | None] | None = None,
    steps: int = 0,
) -> Trained:
    """Train until the recipe's last epoch or until validation stops improving.

    Goes on where `run` left off. `validate` is called with the averaged weights in place and
    must give `val_loss`. `prepare` gets the network of a fresh run to load weights and train
    the head alone; where it did that it gives the loss, and the outcome counts as epoch 0.
    `steps` is the length of an epoch; 0 shows each distinct picture about once.
    """
    steps = steps or max(1, data.picture_count // recipe.batch)
    atoms = data.label_masks.shape[1]
    learner = compile_network(recipe, atoms=atoms, steps=steps)
    model = learner.network
    shadow = build_network(recipe, side=recipe.side, atoms=atoms)
    is_fresh = not (run / STATE_FILE).exists()
    state, history = _begin(run, learner)
    if prepare and is_fresh:
        started = time.perf_counter()
        loss = _prepare(prepare, state, model=model, shadow=shadow)
        if loss is not None:
            row = _row_zero(recipe, loss, validate(shadow), started=started)
            _finish_epoch(run, state, history, row=row, learner=learner, callback=callback)
    while state.epoch < recipe.epochs and state.epoch - state.best_epoch < recipe.patience:
        started = time.perf_counter()
        loss = _train_epoch(learner, state, recipe, data=data, steps=steps, callback=callback)
        trained = time.perf_counter() - started
        assign_weights(shadow.variables, state.averaged)
        row = {
            "epoch": state.epoch + 1,
            "learning_rate": float(to_array(learner.graph.optimizer.learning_rate)),
            "loss": loss,
            **validate(shadow),
            "images_per_s": steps * recipe.batch / trained,
            "seconds": time.perf_counter() - started,
        }
        state.epoch += 1
        _finish_epoch(run, state, history, row=row, learner=learner, callback=callback)
    assign_weights(shadow.variables, state.best)
    return Trained(shadow, state.best_epoch, state.epoch, history)


def _row_zero(recipe: Recipe, loss: float, figures: Row, *, started: float) -> Row:
    return {
        "epoch": 0,
        "learning_rate": recipe.head_learning_rate,
        "loss": loss,
        **figures,
        "images_per_s": 0.0,
        "seconds": time.perf_counter() - started,
    }


def _finish_epoch(
    run: Path,
    state: RunState,
    history: list[Row],
    *,
    row: Row,
    learner: Learner,
    callback: TrainingCallback,
) -> None:
    """Keep the averaged weights where validation was never better, and write everything."""
    if not np.isfinite(row["val_loss"]):
        fact = f"diverged in epoch {state.epoch}: its validation loss is not a number"
        raise TrainingError(run, fact, "Train again with a lower learning rate.")
    is_best = row["val_loss"] < state.best_loss
    if is_best:
        state.best_loss, state.best_epoch = row["val_loss"], state.epoch
        state.best = [value.copy() for value in state.averaged]
    history.append(row)
    # In this order: a kill in between leaves a row too many, and `_begin` drops it.
    write_history(run / HISTORY_FILE, history)
    optimizer = learner.graph.optimizer
    save_state(run / STATE_FILE, state, model=learner.network, optimizer=optimizer)
    callback.on_epoch_end(row, is_best)


def _prepare(
    prepare: Callable[[keras.Model], float | None],
    state: RunState,
    *,
    model: keras.Model,
    shadow: keras.Model,
) -> float | None:
    """Prepare the network of the side of use, and start from what came of it."""
    assign_weights(shadow.variables, state.averaged)
    loss = prepare(shadow)
    state.averaged = read_weights(shadow.variables)
    assign_weights(model.variables, state.averaged)
    return loss


def _begin(run: Path, learner: Learner) -> tuple[RunState, list[Row]]:
    model = learner.network
    if (run / STATE_FILE).exists():
        state = load_state(run / STATE_FILE, model=model, optimizer=learner.graph.optimizer)
        rows = read_history(run / HISTORY_FILE)
        return state, [row for row in rows if row["epoch"] <= state.epoch]
    return RunState(averaged=read_weights(model.variables)), []


def _train_epoch(
    learner: Learner,
    state: RunState,
    recipe: Recipe,
    *,
    data: TrainingSet,
    steps: int,
    callback: TrainingCallback,
) -> float:
    positions = epoch_positions(data, balance=recipe.balance, seed=recipe.seed, epoch=state.epoch)
    positions = np.resize(positions, steps * recipe.batch)
    losses = []
    look = Look(
        recipe.train_side, recipe.augmentation, photometric=recipe.photometric,
        changed=recipe.changed, painted=recipe.painted, grid=learner.grid,
    )  # fmt: skip
    batches = epoch_batches(
        data, positions, look=look, batch=recipe.batch, seed=(recipe.seed, state.epoch)
    )
    for step, batch in enumerate(batches):
        loss = _train_step(learner, batch, with_places=recipe.evidence > 0)
        losses.append(loss)
        decay = _decay(recipe.ema, state.epoch * steps + step)
        _average(state.averaged, learner.network, decay=decay)
        callback.on_batch_end(state.epoch + 1, step + 1, steps, loss)
    return float(np.mean(losses))


def _train_step(learner: Learner, batch: Batch, *, with_places: bool) -> float:
    if not with_places:
        return float(learner.graph.train_on_batch(batch.images, batch.label_masks))
    unjudged = np.zeros((len(batch.images), 1), np.float32)  # the embedding has no loss
    targets = [batch.label_masks, batch.places, unjudged]
    return float(learner.graph.train_on_batch(batch.images, targets)[0])


def _decay(ema: float, step: int) -> float:
    """Let the average follow fast at first, when the weights still say nothing."""
    return min(ema, (1 + step) / (10 + step))


def _average(averaged: Weights, model: keras.Model, *, decay: float) -> None:
    for index, current in enumerate(read_weights(model.variables)):
        if np.issubdtype(current.dtype, np.floating):
            averaged[index] = decay * averaged[index] + (1 - decay) * current


def predict_logits(
    model: keras.Model, images: NDArray[np.uint8], *, batch: int = 128
) -> NDArray[np.float32]:
    """Give logits of prepared images, [n, atoms], with a Keras model (validation only)."""
    parts = [
        to_array(model.predict_on_batch(images[start : start + batch, ..., None]))
        for start in range(0, len(images), batch)
    ]
    return np.concatenate(parts)
