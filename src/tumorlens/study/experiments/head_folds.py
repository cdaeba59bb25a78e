"""Cross-validation of a head on a frozen network: its features are the same in every fold.

So each scan goes through the network once, and a fold costs seconds. Nothing is exported: a bundle
of a fold is only ever asked for the scans held out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.inputs.prepare import InputSpec
from tumorlens.predictions.calibration import calibrated
from tumorlens.predictions.predictor import summarize
from tumorlens.progress import Progress
from tumorlens.records import Case, Prediction
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.networks.transfer import head_of
from tumorlens.study.networks.weights import load_weights
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.data.training_set import Subset, prepare_subset
from tumorlens.study.training.learner import build_network
from tumorlens.study.training.packaging.packaging import draft_bundle, with_choices
from tumorlens.study.training.state import to_array
from tumorlens.study.training.transfer.frozen_features import AugmentedViews, frozen_features
from tumorlens.study.training.transfer.head import FeatureSet, train_head
from tumorlens.study.training.transfer.initialize import head_plan, load_run
from tumorlens.study.training.validation_metrics import validation_metrics

IN_SCOPE = 0.0  # a distance: what belongs to a labeled set is not asked whether it is a brain


@dataclass(frozen=True)
class LookedAt:
    """The usable scans of all folds and what a frozen network sees in them."""

    model: keras.Model
    part: Subset
    plain: NDArray[np.float16]  # [n, D] of every file
    first: NDArray[np.int64]  # [k] position of the first file of each picture
    views: NDArray[np.float16]  # [k, views, D] of those


def build_frozen(recipe: Recipe, *, weights: str, start: Path | None) -> keras.Model:
    """Build the recipe's network with the weights it is frozen with."""
    keras.utils.set_random_seed(recipe.seed)
    model = build_network(recipe, side=recipe.side, atoms=len(labels.ATOMS))
    if start:
        load_run(model, start)
    else:
        load_weights(model, NETWORKS[recipe.network].family, weights or recipe.weights)
    return model


def look(
    cases: Sequence[Case],
    model: keras.Model,
    recipe: Recipe,
    *,
    pictures: Mapping[str, str],
    cache: Path,
    out: Path,
    progress: Progress | None = None,
    extracting: Progress | None = None,
) -> LookedAt:
    """Let all scans through the network once; those that cannot be read are listed in `out`."""
    part = prepare_subset(cases, InputSpec(side=recipe.side), image_ids=pictures, cache=cache,
                        unreadable=out / "unreadable.csv", progress=progress)  # fmt: skip
    plain = frozen_features(model, part.images, cache=cache, progress=extracting)[:, 0]
    first = np.sort(np.unique(part.image_ids, return_index=True)[1])
    views = AugmentedViews(recipe.head_views, strength=recipe.augmentation, seed=recipe.seed)
    shown = frozen_features(
        model, part.images[first], cache=cache, views=views, progress=extracting
    )
    return LookedAt(model, part, plain, first, shown)


def predict_held_out(
    seen: LookedAt, parts: Mapping[str, str], recipe: Recipe
) -> list[tuple[Case, Prediction]]:
    """Train a fresh head on the train part, choose on val, and predict the test part."""
    part_of = np.array([parts[case.key] for case in seen.part.cases])
    learned, chosen = (np.flatnonzero(part_of[seen.first] == name) for name in ("train", "val"))
    held = np.flatnonzero(part_of == "test")
    train, val = (_rows(seen.part, seen.first[rows]) for rows in (learned, chosen))
    val_features = seen.plain[seen.first[chosen]]
    head = _fresh_head(seen.model, seed=recipe.seed)
    data = train.to_training_set()
    train_head(
        head,
        FeatureSet(seen.views[learned], data.label_masks, data.image_ids, data.strata),
        head_plan(recipe),
        held=val_features,
        validate=lambda z: validation_metrics(z, val.names, val.strata)["val_loss"],
    )
    draft = draft_bundle(Path(), "head", InputSpec(side=recipe.side))
    bundle = with_choices(draft, recipe, validation=val, logits=_ask(head, val_features))
    probabilities = calibrated(_ask(head, seen.plain[held]), bundle.temperature)
    return [
        (case, summarize(str(case.path), p, IN_SCOPE, bundle=bundle))
        for case, p in zip((seen.part.cases[i] for i in held.tolist()), probabilities, strict=True)
    ]


def _rows(part: Subset, rows: NDArray[np.int64]) -> Subset:
    return replace(part, cases=tuple(part.cases[i] for i in rows.tolist()),
                   images=part.images[rows], image_ids=part.image_ids[rows])  # fmt: skip


def _fresh_head(model: keras.Model, *, seed: int) -> keras.Model:
    """Give the head with new random weights."""
    keras.utils.set_random_seed(seed)
    return keras.models.clone_model(head_of(model))


def _ask(head: keras.Model, features: NDArray[np.float16]) -> NDArray[np.float32]:
    return to_array(head.predict_on_batch(features.astype(np.float32)))
