"""`pretrain`: scans without labels in, a run folder that other runs can start from out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import TrainingError
from tumorlens.inputs.prepare import InputSpec
from tumorlens.progress import TrainingCallback
from tumorlens.records import Case
from tumorlens.study.data.splits import Split
from tumorlens.study.recipes.pretraining import Pretraining
from tumorlens.study.training.curves import draw_pretraining
from tumorlens.study.training.data.augmentation import augment_batch
from tumorlens.study.training.data.batches import epoch_positions
from tumorlens.study.training.data.subset import Part, prepare_part
from tumorlens.study.training.history import HISTORY_FILE, Row, read_history, write_history
from tumorlens.study.training.loop import STATE_FILE, build_network, optimizer_of
from tumorlens.study.training.precision import precision
from tumorlens.study.training.run_folder import claim
from tumorlens.study.training.state import (
    RunState,
    load_state,
    read_weights,
    save_state,
    to_array,
)
from tumorlens.study.training.transfer.contrastive_views import view_batches
from tumorlens.study.training.transfer.vicreg import VicregLoss
from tumorlens.study.training.transfer.warm_start import CONFIG_FILE, PRETRAINING

STILL = 0.05  # a mean deviation of normalized projections, times sqrt(D), that says: collapsed


@dataclass(frozen=True)
class PretrainJob:
    """One pretraining: what, on which split, and where to."""

    pretraining: Pretraining
    split: Split
    out: Path
    cache: Path  # of prepared images


@dataclass(frozen=True)
class _Unlabeled:
    """What the sampler is told: which files are one picture, and from which set."""

    pictures: NDArray[np.int64]
    strata: NDArray[np.int64]


def pretrain(
    cases: Sequence[Case],
    job: PretrainJob,
    *,
    callback: TrainingCallback,
    progress: Callable[[int, int], None] | None = None,
    resume: bool = False,
) -> Path:
    """Learn from the cases whose `split` says train, without their labels; give the run folder.

    Goes on where the run left off, with `resume`. Raises TrainingError where the folder holds
    another run, or where there are fewer pictures than one batch.
    """
    recipe, out = job.pretraining.recipe, job.out
    claim(out / CONFIG_FILE, _config(job), resume=resume or not (out / STATE_FILE).exists())
    part = _learned(cases, job, progress=progress)
    steps = len(np.unique(part.pictures)) // recipe.batch
    if not steps:
        fact = f"leaves {len(part.cases)} scans to learn from, fewer than a batch ({recipe.batch})"
        raise TrainingError("split", fact, "Give more scans; their labels do not matter.")
    network, trainer = _compile(job.pretraining, steps=steps)
    state, history = RunState(averaged=read_weights(network.variables)), []
    if (out / STATE_FILE).exists():
        state = load_state(out / STATE_FILE, model=trainer, optimizer=trainer.optimizer)
        history = [r for r in read_history(out / HISTORY_FILE) if r["epoch"] <= state.epoch]
    while state.epoch < recipe.epochs:
        row = _epoch(trainer, job, part, epoch=state.epoch, steps=steps, callback=callback)
        state.epoch += 1
        state.best_epoch, state.best_loss = state.epoch, row["loss"]
        state.averaged = state.best = read_weights(network.variables)
        history.append(row)
        write_history(out / HISTORY_FILE, history)
        save_state(out / STATE_FILE, state, model=trainer, optimizer=trainer.optimizer)
        callback.on_epoch_end(row, False)
    draw_pretraining(history, out / "learning_curves.png")
    return out


def _config(job: PretrainJob) -> dict[str, Any]:
    return {
        "recipe": job.pretraining.recipe.to_json(),
        PRETRAINING: job.pretraining.to_json(),
        "split": job.split.fingerprint,
        "atoms": list(labels.ATOMS),
    }


def _learned(
    cases: Sequence[Case], job: PretrainJob, *, progress: Callable[[int, int], None] | None
) -> Part:
    return prepare_part(
        [case for case in cases if case.split == "train"],
        InputSpec(side=job.pretraining.recipe.side),
        pictures=job.split.image_ids, cache=job.cache,
        unreadable=job.out / "unreadable_train.csv", progress=progress,
    )  # fmt: skip


def _compile(pretraining: Pretraining, *, steps: int) -> tuple[keras.Model, keras.Model]:
    """Give the network, and the same network with a projector in place of its head."""
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
    part: Part,
    *,
    epoch: int,
    steps: int,
    callback: TrainingCallback,
) -> Row:
    started = time.perf_counter()
    recipe = job.pretraining.recipe
    sets = np.unique([case.dataset for case in part.cases], return_inverse=True)[1]
    sampled = _Unlabeled(part.pictures, sets.astype(np.int64))
    positions = epoch_positions(sampled, balance=recipe.balance, seed=recipe.seed, epoch=epoch)
    losses = []
    for step, views in enumerate(
        view_batches(
            part.images, np.resize(positions, steps * recipe.batch), batch=recipe.batch,
            least_area=job.pretraining.least_area, strength=recipe.augmentation,
            side=recipe.train_side, seed=(recipe.seed, epoch),
        )
    ):  # fmt: skip
        losses.append(float(trainer.train_on_batch(views, np.zeros(len(views), np.float32))))
        callback.on_batch_end(epoch + 1, step + 1, steps, losses[-1])
    row = {
        "epoch": epoch + 1,
        "learning_rate": float(to_array(trainer.optimizer.learning_rate)),
        "loss": float(np.mean(losses)),
        "spread": _spread(trainer, part.images[positions[:256]], side=recipe.train_side),
        "images_per_s": steps * recipe.batch / (time.perf_counter() - started),
        "seconds": time.perf_counter() - started,
    }
    if not np.isfinite(row["loss"]) or row["spread"] < STILL:
        fact = f"collapsed in epoch {epoch + 1}: all scans look the same to the network"
        raise TrainingError(job.out, fact, "Pretrain again with a lower rate or a larger batch.")
    return row


def _spread(trainer: keras.Model, images: NDArray[np.uint8], *, side: int) -> float:
    """Give the mean deviation of projections of length one, times sqrt(D).

    It is near 1 where they point everywhere, 0 where all are alike (Chen and He, 2021).
    """
    still = augment_batch(images, np.random.default_rng(0), strength=0, side=side)
    projected = to_array(trainer.predict_on_batch(still[..., None]))
    unit = projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12)
    return float(unit.std(axis=0).mean() * np.sqrt(unit.shape[1]))
