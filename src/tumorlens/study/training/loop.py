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
from tumorlens.progress import TrainingCallback
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.data.batches import (
    Batch,
    Teach,
    ViewSpec,
    epoch_batches,
    epoch_positions,
)
from tumorlens.study.training.data.training_set import TrainingSet
from tumorlens.study.training.learner import (
    Learner,
    RunState,
    Weights,
    assign_weights,
    build_network,
    compile_network,
    load_state,
    predict_function,
    read_weights,
    save_state,
    to_array,
)
from tumorlens.study.training.run_folder import (
    HISTORY_FILE,
    STATE_FILE,
    Row,
    read_history,
    write_history,
)

AT_ONCE = 128  # images that a network validates on
Validate = Callable[[keras.Model], Row]
Prepare = Callable[[keras.Model], float | None]


@dataclass(frozen=True)
class Trained:
    """A finished run."""

    model: keras.Model  # holds the averaged weights of the best epoch
    best_epoch: int
    epochs: int
    history: Sequence[Row]


@dataclass(frozen=True)
class _Run:
    """A run that goes on."""

    recipe: Recipe
    folder: Path
    learner: Learner
    shadow: keras.Model  # at the side of use, for the averaged weights
    state: RunState
    history: list[Row]
    callback: TrainingCallback
    teach: Teach | None


def fit(
    recipe: Recipe,
    data: TrainingSet,
    *,
    validate: Validate,
    run: Path,
    callback: TrainingCallback,
    prepare: Prepare | None = None,
    has_start: bool = False,
    steps: int = 0,
    teach: Teach | None = None,
) -> Trained:
    """Train until the recipe's last epoch or until validation stops improving.

    Goes on where `run` left off. `validate` is called with the averaged weights in place and
    must return `val_loss`. `prepare` gets the network of a fresh run to load weights and train
    the head alone; where it did that it returns the loss, and the outcome counts as epoch 0.
    `has_start` says that these weights are of another run, `teach` what a teacher answers, `steps`
    how long an epoch is; 0 shows each distinct image about once.
    """
    steps = steps or max(1, data.distinct_count // recipe.batch)
    atoms = data.label_masks.shape[1]
    learner = compile_network(
        recipe, atoms=atoms, steps=steps, has_start=has_start, with_teacher=teach is not None
    )
    going = _open_run(recipe, run, callback, learner, atoms=atoms, teach=teach)
    if prepare and not (run / STATE_FILE).exists():
        _train_head(going, prepare, validate)
    state, shadow = going.state, going.shadow
    while state.epoch < recipe.epochs and state.epoch - state.best_epoch < recipe.patience:
        started = time.perf_counter()
        loss = _train_epoch(going, data, steps=steps)
        speed = steps * recipe.batch / (time.perf_counter() - started)
        assign_weights(shadow.variables, state.averaged)
        rate = float(to_array(going.learner.graph.optimizer.learning_rate))
        figures = validate(shadow)
        state.epoch += 1
        _finish_epoch(going, loss, figures, rate=rate, speed=speed, started=started)
    assign_weights(shadow.variables, state.best)
    return Trained(shadow, state.best_epoch, state.epoch, going.history)


def _open_run(
    recipe: Recipe,
    run: Path,
    callback: TrainingCallback,
    learner: Learner,
    *,
    atoms: int,
    teach: Teach | None,
) -> _Run:
    shadow = build_network(recipe, side=recipe.side, atoms=atoms)
    model, history = learner.network, []
    if (run / STATE_FILE).exists():
        state = load_state(run / STATE_FILE, model=model, optimizer=learner.graph.optimizer)
        history = [row for row in read_history(run / HISTORY_FILE) if row["epoch"] <= state.epoch]
    else:
        state = RunState(averaged=read_weights(model.variables))
    return _Run(recipe, run, learner, shadow, state, history, callback, teach)


def _train_head(run: _Run, prepare: Prepare, validate: Validate) -> None:
    """Prepare the network of the side of use, and start from what came of it."""
    started = time.perf_counter()
    assign_weights(run.shadow.variables, run.state.averaged)
    loss = prepare(run.shadow)
    run.state.averaged = read_weights(run.shadow.variables)
    assign_weights(run.learner.network.variables, run.state.averaged)
    if loss is not None:
        rate, figures = run.recipe.head_learning_rate, validate(run.shadow)
        _finish_epoch(run, loss, figures, rate=rate, speed=0.0, started=started)


def _finish_epoch(
    run: _Run, loss: float, figures: Row, *, rate: float, speed: float, started: float
) -> None:
    """Keep the averaged weights where validation was never better, and write everything."""
    state, val_loss = run.state, figures["val_loss"]
    if not np.isfinite(val_loss):
        fact = f"diverged in epoch {state.epoch}: its validation loss is not a number"
        raise TrainingError(run.folder, fact, "Train again with a lower learning rate.")
    is_best = val_loss < state.best_loss
    if is_best:
        state.best_loss, state.best_epoch = val_loss, state.epoch
        state.best = [value.copy() for value in state.averaged]
    row = {"epoch": state.epoch, "learning_rate": rate, "loss": loss, **figures}
    row |= {"images_per_s": speed, "seconds": time.perf_counter() - started}
    run.history.append(row)
    # In this order: a kill in between leaves a row too many, and `_open_run` drops it.
    write_history(run.folder / HISTORY_FILE, run.history)
    learner = run.learner
    save_state(
        run.folder / STATE_FILE, state, model=learner.network, optimizer=learner.graph.optimizer
    )
    run.callback.on_epoch_end(row, is_best)


def _train_epoch(run: _Run, data: TrainingSet, *, steps: int) -> float:
    recipe, state = run.recipe, run.state
    positions = epoch_positions(
        data.image_ids,
        data.strata,
        balance=recipe.balance,
        seed=recipe.seed,
        epoch=state.epoch,
        shares=data.shares,
    )
    view = ViewSpec(
        side=recipe.train_side,
        strength=recipe.augmentation,
        photometric=recipe.photometric,
        counterfactual_share=recipe.counterfactual_share,
        synthetic_lesion_share=recipe.synthetic_lesion_share,
        small_lesion_share=recipe.small_lesion_share,
        ct_lesion_share=recipe.ct_lesion_share,
        grid=run.learner.grid,
    )
    positions, seed = np.resize(positions, steps * recipe.batch), (recipe.seed, state.epoch)
    losses = []
    for step, batch in enumerate(
        epoch_batches(data, positions, view=view, batch=recipe.batch, seed=seed, teach=run.teach)
    ):
        loss = _train_step(run.learner, batch, with_localization=recipe.localization_weight > 0)
        losses.append(loss)
        decay = _decay(recipe.ema, state.epoch * steps + step)
        _average(state.averaged, run.learner.network, decay=decay)
        run.callback.on_batch_end(state.epoch + 1, step + 1, steps, loss)
    return float(np.mean(losses))


def _train_step(learner: Learner, batch: Batch, *, with_localization: bool) -> float:
    if not with_localization:
        return float(learner.graph.train_on_batch(batch.images, batch.targets))
    unjudged = np.zeros((len(batch.images), 1), np.float32)  # the embedding has no loss
    targets = [batch.targets, batch.lesion_shares, unjudged]
    return float(learner.graph.train_on_batch(batch.images, targets)[0])


def _decay(ema: float, step: int) -> float:
    """Let the average follow fast at first, when the weights are still random."""
    return min(ema, (1 + step) / (10 + step))


def _average(averaged: Weights, model: keras.Model, *, decay: float) -> None:
    for index, current in enumerate(read_weights(model.variables)):
        if np.issubdtype(current.dtype, np.floating):
            averaged[index] = decay * averaged[index] + (1 - decay) * current


def predict_logits(model: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return logits of prepared images, [n, atoms], with a Keras model (validation only)."""
    predict = predict_function(model, count=len(images), batch=AT_ONCE)
    parts = [
        to_array(predict(images[start : start + AT_ONCE, ..., None]))
        for start in range(0, len(images), AT_ONCE)
    ]
    return np.concatenate(parts)
