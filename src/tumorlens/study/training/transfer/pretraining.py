"""`pretrain`: scans without labels in, a run folder that other runs can start from out.

The method is VICReg (Bardes, Ponce and LeCun, ICLR 2022): two augmented views of a scan agree.
It needs no negative pairs, no second network and no large batch, which suits two CPU cores.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import TrainingError
from tumorlens.inputs.prepare import InputSpec
from tumorlens.progress import Progress, TrainingCallback, silent
from tumorlens.records import Case
from tumorlens.study.data.splits import Split
from tumorlens.study.recipes import Pretraining
from tumorlens.study.training.backend import precision
from tumorlens.study.training.curves import draw_pretraining
from tumorlens.study.training.data.augmentation import Rng, augment, augment_batch
from tumorlens.study.training.data.batches import epoch_positions, prefetched
from tumorlens.study.training.data.training_set import Subset, numbered, prepare_subset
from tumorlens.study.training.learner import (
    RunState,
    build_network,
    check_network,
    load_state,
    optimizer_of,
    read_weights,
    save_state,
    to_array,
)
from tumorlens.study.training.preconditions import check_batch, check_folders
from tumorlens.study.training.run_folder import (
    CONFIG_FILE,
    HISTORY_FILE,
    STATE_FILE,
    Row,
    RunConfig,
    open_or_resume,
    read_history,
    write_history,
)

INVARIANCE, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0  # weights of the three terms, as published
_EPSILON = 1e-4


def view_of(
    image: NDArray[np.uint8], rng: Rng, *, min_area: float, strength: float, side: int
) -> NDArray[np.uint8]:
    """Return a random square of a prepared image, [s, s], augmented to [side, side]."""
    length = image.shape[0]
    size = round(length * np.sqrt(rng.uniform(min_area, 1.0)))
    row, column = rng.integers(0, length - size + 1, 2)
    square = np.ascontiguousarray(image[row : row + size, column : column + size])
    return augment(square, rng, strength=strength, side=side)


def contrastive_batches(
    images: NDArray[np.uint8],
    positions: NDArray[np.int64],
    *,
    batch: int,
    min_area: float,
    strength: float,
    side: int,
    seed: Sequence[int],
) -> Iterator[NDArray[np.uint8]]:
    """Yield [2 * batch, side, side, 1]: first views, then the second of each, one batch ahead."""

    def make(number: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng((*seed, number))
        taken = positions[number * batch : (number + 1) * batch].tolist() * 2
        views = [
            view_of(images[i], rng, min_area=min_area, strength=strength, side=side) for i in taken
        ]
        return np.stack(views)[..., None]

    return prefetched(make, len(positions) // batch)


@keras.saving.register_keras_serializable("tumorlens")
class VicregLoss(keras.losses.Loss):
    """The loss of projections [2n, D]: n first views, then their second views.

    `y_true` is not looked at, since there are no labels.
    """

    def call(self, y_true, y_pred):
        """Return one number for the whole batch."""
        first, second = ops.split(y_pred, 2, axis=0)
        invariance = ops.mean(ops.square(first - second))
        variance = (_too_constant(first) + _too_constant(second)) / 2
        covariance = _redundant(first) + _redundant(second)
        return INVARIANCE * invariance + VARIANCE * variance + COVARIANCE * covariance


def _too_constant(values):
    """Return how far the deviation of each feature is below one, on average."""
    deviation = ops.sqrt(ops.var(values, axis=0) + _EPSILON)
    return ops.mean(ops.relu(1.0 - deviation))


def _redundant(values):
    """Return the squared covariances between features, summed and divided by their number."""
    count, depth = ops.cast(ops.shape(values)[0], values.dtype), values.shape[-1]
    centered = values - ops.mean(values, axis=0, keepdims=True)
    covariance = ops.matmul(ops.transpose(centered), centered) / (count - 1)
    variances = ops.sum(ops.square(ops.diagonal(covariance)))
    return (ops.sum(ops.square(covariance)) - variances) / depth


MIN_SPREAD = 0.05  # below it the projections have collapsed


@dataclass(frozen=True)
class PretrainJob:
    """One pretraining: what, on which split, and where to."""

    pretraining: Pretraining
    split: Split
    out: Path
    cache: Path  # of prepared images


def pretrain(
    cases: Sequence[Case],
    job: PretrainJob,
    *,
    callback: TrainingCallback,
    progress: Progress = silent,
    resume: bool = False,
) -> Path:
    """Learn from the cases whose `split` says train, without their labels; return the run folder.

    Goes on where the run left off, with `resume`. Raises TrainingError where the folder holds
    another run, or where there are fewer images than one batch.
    """
    recipe, out = job.pretraining.recipe, job.out
    _check(cases, job)
    config = RunConfig(recipe, split=job.split.fingerprint, pretraining=job.pretraining)
    has_started = (out / STATE_FILE).exists()
    open_or_resume(out / CONFIG_FILE, config.to_json(), resume=resume, has_started=has_started)
    subset = _prepare(cases, job, progress=progress)
    count = len(np.unique(subset.image_ids))
    check_batch(count, recipe)  # some may be unreadable
    steps = count // recipe.batch
    network, trainer = _compile(job.pretraining, steps=steps)
    state, history = RunState(averaged=read_weights(network.variables)), []
    if has_started:
        state = load_state(out / STATE_FILE, model=trainer, optimizer=trainer.optimizer)
        history = [r for r in read_history(out / HISTORY_FILE) if r["epoch"] <= state.epoch]
    while state.epoch < recipe.epochs:
        row = _epoch(trainer, job, subset, epoch=state.epoch, steps=steps, callback=callback)
        state.epoch += 1
        state.best_epoch, state.best_loss = state.epoch, row["loss"]
        state.averaged = state.best = read_weights(network.variables)
        history.append(row)
        write_history(out / HISTORY_FILE, history)
        save_state(out / STATE_FILE, state, model=trainer, optimizer=trainer.optimizer)
        callback.on_epoch_end(row, False)
    draw_pretraining(history, out / "learning_curves.png")
    return out


def _check(cases: Sequence[Case], job: PretrainJob) -> None:
    recipe = job.pretraining.recipe
    learned = [case for case in cases if case.split == "train"]
    check_network(recipe)
    check_batch(len({job.split.image_ids.get(c.key, c.key) for c in learned}), recipe)
    check_folders(recipe, len(learned), out=job.out, cache=job.cache)


def _prepare(cases: Sequence[Case], job: PretrainJob, *, progress: Progress) -> Subset:
    return prepare_subset(
        [case for case in cases if case.split == "train"],
        InputSpec(side=job.pretraining.recipe.side),
        image_ids=job.split.image_ids,
        cache=job.cache,
        unreadable=job.out / "unreadable_train.csv",
        progress=progress,
    )


def _compile(pretraining: Pretraining, *, steps: int) -> tuple[keras.Model, keras.Model]:
    """Return the network, and the same network with a projector in place of its head."""
    recipe = pretraining.recipe
    keras.utils.set_random_seed(recipe.seed)
    with precision(recipe.precision):
        network = build_network(recipe, side=recipe.train_side, atoms=len(labels.ATOMS))
    x = layers.GlobalAveragePooling2D()(network.get_layer("features").output)
    for width in pretraining.projector[:-1]:
        x = layers.Dense(width, use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Dense(pretraining.projector[-1])(x)
    trainer = keras.Model(network.input, x, name="projection")
    optimizer = optimizer_of(recipe, steps=steps)
    trainer.compile(optimizer=optimizer, loss=VicregLoss(), jit_compile=False)
    optimizer.build(trainer.trainable_variables)
    return network, trainer


def _epoch(
    trainer: keras.Model,
    job: PretrainJob,
    subset: Subset,
    *,
    epoch: int,
    steps: int,
    callback: TrainingCallback,
) -> Row:
    started = time.perf_counter()
    recipe = job.pretraining.recipe
    sets = numbered([case.dataset for case in subset.cases])  # no labels
    positions = epoch_positions(
        subset.image_ids, sets, balance=recipe.balance, seed=recipe.seed, epoch=epoch
    )
    positions, sample = np.resize(positions, steps * recipe.batch), positions[:256]
    batches = contrastive_batches(
        subset.images,
        positions,
        batch=recipe.batch,
        min_area=job.pretraining.min_area,
        strength=recipe.augmentation,
        side=recipe.train_side,
        seed=(recipe.seed, epoch),
    )
    losses = []
    for step, views in enumerate(batches):
        losses.append(float(trainer.train_on_batch(views, np.zeros(len(views), np.float32))))
        callback.on_batch_end(epoch + 1, step + 1, steps, losses[-1])
    loss, seconds = float(np.mean(losses)), time.perf_counter() - started
    spread = _spread(trainer, subset.images[sample], side=recipe.train_side)
    if not np.isfinite(loss) or spread < MIN_SPREAD:
        fact = f"collapsed in epoch {epoch + 1}: all scans look the same to the network"
        raise TrainingError(job.out, fact, "Pretrain again with a lower rate or a larger batch.")
    rate = float(to_array(trainer.optimizer.learning_rate))
    row = {"epoch": epoch + 1, "learning_rate": rate, "loss": loss, "spread": spread}
    return row | {"images_per_s": steps * recipe.batch / seconds, "seconds": seconds}


def _spread(trainer: keras.Model, images: NDArray[np.uint8], *, side: int) -> float:
    """Return the mean deviation of projections of length one, times sqrt(D).

    It is near 1 where they point everywhere, 0 where all are alike (Chen and He, 2021).
    """
    plain = augment_batch(images, np.random.default_rng(0), strength=0, side=side)
    projected = to_array(trainer.predict_on_batch(plain[..., None]))
    unit = projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)
    return float(unit.std(axis=0).mean() * np.sqrt(unit.shape[1]))
