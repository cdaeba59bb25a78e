"""`pretrain`: scans without labels in, a run folder that other runs can start from out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import TrainingError
from tumorlens.inputs.prepare import InputSpec
from tumorlens.progress import Progress, TrainingCallback
from tumorlens.records import Case
from tumorlens.study.data.splits import Split
from tumorlens.study.recipes import Pretraining
from tumorlens.study.training.backend import precision
from tumorlens.study.training.curves import draw_pretraining
from tumorlens.study.training.data.augmentation import augment_batch
from tumorlens.study.training.data.batches import epoch_positions
from tumorlens.study.training.data.training_set import Subset, numbered, prepare_subset
from tumorlens.study.training.learner import build_network, optimizer_of
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
from tumorlens.study.training.state import (
    RunState,
    load_state,
    read_weights,
    save_state,
    to_array,
)
from tumorlens.study.training.transfer.vicreg import VicregLoss, contrastive_batches

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
    progress: Progress | None = None,
    resume: bool = False,
) -> Path:
    """Learn from the cases whose `split` says train, without their labels; return the run folder.

    Goes on where the run left off, with `resume`. Raises TrainingError where the folder holds
    another run, or where there are fewer images than one batch.
    """
    recipe, out = job.pretraining.recipe, job.out
    config = RunConfig(recipe, split=job.split.fingerprint, pretraining=job.pretraining)
    has_begun = (out / STATE_FILE).exists()
    open_or_resume(out / CONFIG_FILE, config.to_json(), resume=resume, has_begun=has_begun)
    subset = _prepare(cases, job, progress=progress)
    steps = len(np.unique(subset.image_ids)) // recipe.batch
    if not steps:
        fact = f"leaves {len(subset.cases)} scans to learn from, fewer than a batch"
        fix = "Give more scans; their labels do not matter."
        raise TrainingError("split", f"{fact} ({recipe.batch})", fix)
    network, trainer = _compile(job.pretraining, steps=steps)
    state, history = RunState(averaged=read_weights(network.variables)), []
    if has_begun:
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


def _prepare(cases: Sequence[Case], job: PretrainJob, *, progress: Progress | None) -> Subset:
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
    batches = contrastive_batches(
        subset.images,
        np.resize(positions, steps * recipe.batch),
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
    loss = float(np.mean(losses))
    spread = _spread(trainer, subset.images[positions[:256]], side=recipe.train_side)
    if not np.isfinite(loss) or spread < MIN_SPREAD:
        fact = f"collapsed in epoch {epoch + 1}: all scans look the same to the network"
        raise TrainingError(job.out, fact, "Pretrain again with a lower rate or a larger batch.")
    seconds = time.perf_counter() - started
    return {
        "epoch": epoch + 1,
        "learning_rate": float(to_array(trainer.optimizer.learning_rate)),
        "loss": loss,
        "spread": spread,
        "images_per_s": steps * recipe.batch / seconds,
        "seconds": seconds,
    }


def _spread(trainer: keras.Model, images: NDArray[np.uint8], *, side: int) -> float:
    """Return the mean deviation of projections of length one, times sqrt(D).

    It is near 1 where they point everywhere, 0 where all are alike (Chen and He, 2021).
    """
    plain = augment_batch(images, np.random.default_rng(0), strength=0, side=side)
    projected = to_array(trainer.predict_on_batch(plain[..., None]))
    unit = projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)
    return float(unit.std(axis=0).mean() * np.sqrt(unit.shape[1]))
