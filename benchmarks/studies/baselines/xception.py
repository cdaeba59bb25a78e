"""The first system on stored maps: Xception at its 299 px passes each image once, ever.

Its head, and its last block, learn from what is stored (`cached_maps`). Augmentation would need
further passes, so there is none; the row of the page says so.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from studies.baselines.cached_maps import MAPS, POOLED, Seam, compute_maps, cut_before, read_maps

from tumorlens import labels
from tumorlens.inputs.prepare import InputSpec
from tumorlens.inputs.row_store import Rows
from tumorlens.predictions.decision import log_softmax, softmax
from tumorlens.predictions.predictor import summarize as summarize_scan
from tumorlens.records import Case
from tumorlens.study.data.splits import Split
from tumorlens.study.experiments.runner import Listeners
from tumorlens.study.experiments.scores import Score, scores_of
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.networks.transfer import head_of
from tumorlens.study.networks.weights import load_weights
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.data.batches import epoch_positions
from tumorlens.study.training.data.training_set import Subset, prepare_subset
from tumorlens.study.training.learner import (
    RunState,
    SetLoss,
    assign_weights,
    build_network,
    load_state,
    optimizer_of,
    read_weights,
    save_state,
    to_array,
)
from tumorlens.study.training.packaging.assemble import draft_bundle, with_choices
from tumorlens.study.training.run_folder import (
    HISTORY_FILE,
    STATE_FILE,
    read_history,
    write_history,
)
from tumorlens.study.training.transfer.frozen_features import FeatureSet, head_plan, train_head
from tumorlens.study.training.validation_metrics import validation_metrics

SEAM = "block14_sepconv1"  # the last block starts here; all before it stays ImageNet's
CLASSES = (*labels.ATOMS, "mri_tumor")  # of the first system: a tumor without type is a class
MODALITY_ANY = 0.0  # a distance: scans of a labeled set are not asked whether they are heads
Validate = Callable[[NDArray[np.float32]], float]


@dataclass(frozen=True)
class Stored:
    """The scans of a run and what the frozen part made of them."""

    part: Subset
    maps: Rows  # [n, h, w, c]
    pooled: NDArray[np.float16]  # [n, D]
    seam: Seam
    model: keras.Model

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the maps of some rows, [len(rows), h, w, c]."""
        shape = self.seam.lower.output[0].shape[1:]
        out = np.empty((len(rows), *shape), np.float16)
        return self.maps.take(rows, out).astype(np.float32)


@dataclass(frozen=True)
class RowSets:
    """Positions in a `Stored`: one file of each image to learn from and to choose by."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]  # every file


def store(
    cases: Sequence[Case], split: Split, recipe: Recipe, *, cache: Path, weights: str, out: Path,
    listeners: Listeners,
) -> Stored:  # fmt: skip
    """Let all that is not stored yet through the frozen part; the test part comes first."""
    part = prepare_subset(
        cases, InputSpec(side=recipe.side), image_ids=split.image_ids, cache=cache,
        unreadable=out / "unreadable.csv", progress=listeners.preparing,
    )  # fmt: skip
    keras.utils.set_random_seed(recipe.seed)
    model = build_network(recipe, side=recipe.side, atoms=len(labels.ATOMS))
    load_weights(model, NETWORKS[recipe.network].family, weights or recipe.weights)
    seam = cut_before(model, SEAM)
    compute_maps(seam, part.images, cache=cache, progress=listeners.extracting)
    maps, _ = read_maps(seam, part.images, MAPS, cache=cache)
    rows, _ = read_maps(seam, part.images, POOLED, cache=cache)
    depth = int(seam.lower.output[1].shape[-1])
    pooled = rows.take(np.arange(len(part.cases)), np.empty((len(part.cases), depth), np.float16))
    return Stored(part, maps, pooled, seam, model)


def needed(cases: Sequence[Case], split: Split, tested: NDArray[np.int64]) -> list[Case]:
    """Return what a run passes through: each tested file, and of the others one of each image.

    A published split may have copies of an image in train and in val: then one of each part.
    """
    asked, seen = set(tested.tolist()), set[tuple[str, str]]()
    kept = [cases[row] for row in tested.tolist()]
    for row, case in enumerate(cases):
        place = (split.parts[case.key], split.image_ids.get(case.key, case.key))
        if row not in asked and place not in seen:
            seen.add(place)
            kept.append(case)
    return kept


def row_sets(stored: Stored, split: Split, tested: set[str]) -> RowSets:
    """Return which rows learn, choose and are tested; `tested` are keys of cases."""
    parts = np.array([split.parts[case.key] for case in stored.part.cases])

    def distinct(name: str) -> NDArray[np.int64]:
        rows = np.flatnonzero(parts == name)
        first = np.unique(stored.part.image_ids[rows], return_index=True)[1]
        return rows[np.sort(first)]

    keys = [case.key in tested for case in stored.part.cases]
    return RowSets(distinct("train"), distinct("val"), np.flatnonzero(keys))


def train_frozen(stored: Stored, rows: RowSets, recipe: Recipe) -> list[Score]:
    """Train the head alone, choose on validation, and score the test part."""
    head = _fresh_head(stored, recipe, atoms=len(labels.ATOMS))
    _train_head(head, stored, rows, recipe)
    found = [to_array(head.predict_on_batch(stored.pooled[wanted].astype(np.float32)))
             for wanted in (rows.val, rows.test)]  # fmt: skip
    return _scores(stored, rows, recipe, *found)


def train_seven(stored: Stored, rows: RowSets, recipe: Recipe) -> list[Score]:
    """Train a head as the first system did: seven classes, `mri_tumor` one of them; at 0.5."""
    head = _fresh_head(stored, recipe, atoms=len(CLASSES))
    truth = np.array([CLASSES.index(name) for name in stored.part.names])

    def validate(logits: NDArray[np.float32]) -> float:
        return float(-log_softmax(logits)[np.arange(len(rows.val)), truth[rows.val]].mean())

    masks = np.eye(len(CLASSES), dtype=np.float32)[truth]
    _learn(head, stored, rows, recipe, masks=masks, validate=validate)
    features = stored.pooled[rows.test].astype(np.float32)
    found = softmax(to_array(head.predict_on_batch(features)))
    return [_score_of_seven(stored.part.cases[row], p)
            for row, p in zip(rows.test.tolist(), found, strict=True)]  # fmt: skip


def _score_of_seven(case: Case, probabilities: NDArray[np.floating]) -> Score:
    by_class = dict(zip(CLASSES, map(float, probabilities), strict=True))
    tumor = sum(p for name, p in by_class.items() if labels.is_tumor(name))
    kind = max(labels.TYPES, key=lambda name: by_class[f"mri_{name}"])
    return Score(case.key, case.label, case.group_name, tumor, 0.5, type=kind, atoms=by_class)


def _fresh_head(stored: Stored, recipe: Recipe, *, atoms: int) -> keras.Model:
    """Return a head with random weights for pooled features, [n, D] -> [n, atoms]."""
    keras.utils.set_random_seed(recipe.seed)

    def fresh(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if layer.name == "atoms":
            config["units"] = atoms
        return layer.__class__.from_config(config)

    return keras.models.clone_model(head_of(stored.model), clone_function=fresh)


def _train_head(head: keras.Model, stored: Stored, rows: RowSets, recipe: Recipe) -> None:
    """Train a head for our atoms in place; the epoch that validates best is kept."""
    val = stored.part.take(rows.val)
    _learn(head, stored, rows, recipe, masks=labels.label_mask(stored.part.names),
           validate=lambda z: validation_metrics(z, val.names, val.strata)["val_loss"])  # fmt: skip


def _learn(
    head: keras.Model, stored: Stored, rows: RowSets, recipe: Recipe, *,
    masks: NDArray[np.float32], validate: Validate,
) -> None:  # fmt: skip
    train, part = rows.train, stored.part
    data = FeatureSet(stored.pooled[train][:, None], masks[train], part.image_ids[train],
                      part.strata[train])  # fmt: skip
    train_head(head, data, head_plan(recipe), validation=stored.pooled[rows.val], validate=validate)


def train_tail(
    stored: Stored, rows: RowSets, recipe: Recipe, *, out: Path, listeners: Listeners
) -> list[Score]:
    """Train the head, then the last block with it, on stored maps; goes on after a kill."""
    tail, head = _tail_of(stored, recipe)
    val = stored.part.take(rows.val)
    optimizer = optimizer_of(recipe, steps=max(1, len(rows.train) // recipe.batch))
    tail.compile(optimizer, loss=SetLoss(), jit_compile=False)
    optimizer.build(tail.trainable_variables)
    state = RunState(averaged=read_weights(tail.variables))  # as it starts; nothing is averaged
    if (out / STATE_FILE).exists():
        state = load_state(out / STATE_FILE, model=tail, optimizer=optimizer)
    else:
        _train_head(head, stored, rows, recipe)
    history = [row for row in read_history(out / HISTORY_FILE) if row["epoch"] <= state.epoch]
    while state.epoch < recipe.epochs and state.epoch - state.best_epoch < recipe.patience:
        started = time.perf_counter()
        loss = _tail_epoch(tail, stored, rows, recipe, epoch=state.epoch, listeners=listeners)
        figures = validation_metrics(_logits(tail, stored, rows.val), val.names, val.strata)
        state.epoch += 1
        is_best = figures["val_loss"] < state.best_loss
        if is_best:
            state.best_loss, state.best_epoch = figures["val_loss"], state.epoch
            state.best = read_weights(tail.variables)
        taken = time.perf_counter() - started
        history.append({"epoch": state.epoch, "loss": loss, **figures, "seconds": taken})
        write_history(out / HISTORY_FILE, history)
        save_state(out / STATE_FILE, state, model=tail, optimizer=optimizer)
        listeners.callback.on_epoch_end({**history[-1], "images_per_s": float("nan")}, is_best)
    assign_weights(tail.variables, state.best)
    found = [_logits(tail, stored, wanted) for wanted in (rows.val, rows.test)]
    return _scores(stored, rows, recipe, *found)


def _tail_of(stored: Stored, recipe: Recipe) -> tuple[keras.Model, keras.Model]:
    """Return maps -> logits, and the head at its end; normalization keeps its statistics."""
    entry = x = keras.Input(stored.seam.lower.output[0].shape[1:], name="maps")
    for layer in stored.seam.above:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
        x = layer(x)
    head = _fresh_head(stored, recipe, atoms=len(labels.ATOMS))
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled_above")(x)
    return keras.Model(entry, head(pooled), name="tail"), head


def _tail_epoch(
    tail: keras.Model, stored: Stored, rows: RowSets, recipe: Recipe, *, epoch: int,
    listeners: Listeners,
) -> float:  # fmt: skip
    part, masks = stored.part, labels.label_mask(stored.part.names)
    steps = max(1, len(rows.train) // recipe.batch)
    shown = epoch_positions(part.image_ids[rows.train], part.strata[rows.train],
                            balance=recipe.balance, seed=recipe.seed, epoch=epoch)  # fmt: skip
    shown, losses = rows.train[np.resize(shown, steps * recipe.batch)], []
    for step in range(steps):
        taken = shown[step * recipe.batch : (step + 1) * recipe.batch]
        losses.append(float(tail.train_on_batch(stored.take(taken), masks[taken])))
        listeners.callback.on_batch_end(epoch + 1, step + 1, steps, losses[-1])
    return float(np.mean(losses))


def _logits(tail: keras.Model, stored: Stored, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    pieces = [rows[start : start + 32] for start in range(0, len(rows), 32)]
    return np.concatenate([to_array(tail.predict_on_batch(stored.take(p))) for p in pieces])


def _scores(
    stored: Stored, rows: RowSets, recipe: Recipe, val: NDArray[np.float32],
    test: NDArray[np.float32],
) -> list[Score]:  # fmt: skip
    """Choose temperature and threshold on validation, and score the test part by them."""
    draft = draft_bundle(Path(), "xception", InputSpec(side=recipe.side))
    bundle = with_choices(draft, recipe, validation=stored.part.take(rows.val), logits=val)
    cases = [stored.part.cases[row] for row in rows.test.tolist()]
    return scores_of([
        (case, summarize_scan(str(case.path), p, MODALITY_ANY, bundle=bundle))
        for case, p in zip(cases, softmax(test, bundle.temperature), strict=True)
    ])  # fmt: skip
