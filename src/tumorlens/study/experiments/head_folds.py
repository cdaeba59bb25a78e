"""Cross-validation of a head on a frozen network: its features are the same in every fold.

So each scan goes through the network once, and a fold costs seconds. Nothing is exported: a bundle
of a fold is only ever asked for the scans held out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.inputs.prepare import InputSpec
from tumorlens.predictions.decision import softmax
from tumorlens.predictions.predictor import summarize
from tumorlens.records import Case, Prediction
from tumorlens.study.data.splits import Split
from tumorlens.study.experiments.runner import Listeners
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.networks.transfer import head_of
from tumorlens.study.networks.weights import load_weights
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.data.training_set import Subset, prepare_subset
from tumorlens.study.training.learner import build_network, to_array
from tumorlens.study.training.packaging.assemble import draft_bundle, with_choices
from tumorlens.study.training.transfer.frozen_features import (
    AugmentedViews,
    FeatureSet,
    frozen_features,
    train_head,
)
from tumorlens.study.training.transfer.initialize import head_plan, load_run
from tumorlens.study.training.validation_metrics import validation_metrics

IN_SCOPE = 0.0  # a distance: what belongs to a labeled set is not asked whether it is a brain


@dataclass(frozen=True)
class Extracted:
    """The usable scans of all folds and their features."""

    head: keras.Model
    part: Subset
    plain: NDArray[np.float16]  # [n, D] of every file
    first: NDArray[np.int64]  # [k] position of the first file of each image
    views: NDArray[np.float16]  # [k, views, D] of those


@dataclass(frozen=True)
class FrozenNetwork:
    """A network that learns nothing but its head; its features are kept for the next fold."""

    recipe: Recipe
    out: Path
    cache: Path
    weights: str = ""
    start: Path | None = None
    _kept: list[Extracted] = field(default_factory=list)  # not before a fold needs it

    def predict_held_out(
        self, cases: Sequence[Case], split: Split, recipe: Recipe, listeners: Listeners
    ) -> list[tuple[Case, Prediction]]:
        """Predict the test part of a fold by a head trained on its train part."""
        if not self._kept:
            self._kept.append(self.extract(cases, split.image_ids, listeners))
        return predict_held_out(self._kept[0], split.parts, recipe)

    def extract(
        self, cases: Sequence[Case], image_ids: Mapping[str, str], listeners: Listeners
    ) -> Extracted:
        """Let all scans through the network once; those that cannot be read are listed in `out`."""
        recipe, model = self.recipe, self._build()
        part = prepare_subset(
            cases, InputSpec(side=recipe.side), image_ids=image_ids, cache=self.cache,
            unreadable=self.out / "unreadable.csv", progress=listeners.preparing,
        )  # fmt: skip
        first = np.sort(np.unique(part.image_ids, return_index=True)[1])
        views = AugmentedViews(recipe.head_views, strength=recipe.augmentation, seed=recipe.seed)
        plain, augmented = (
            frozen_features(model, part.images[rows], cache=self.cache, views=drawn,
                            progress=listeners.extracting)
            for rows, drawn in ((slice(None), AugmentedViews()), (first, views))
        )  # fmt: skip
        return Extracted(head_of(model), part, plain[:, 0], first, augmented)

    def _build(self) -> keras.Model:
        keras.utils.set_random_seed(self.recipe.seed)
        model = build_network(self.recipe, side=self.recipe.side, atoms=len(labels.ATOMS))
        if self.start:
            load_run(model, self.start)
        else:
            family = NETWORKS[self.recipe.network].family
            load_weights(model, family, self.weights or self.recipe.weights)
        return model


def predict_held_out(
    seen: Extracted, parts: Mapping[str, str], recipe: Recipe
) -> list[tuple[Case, Prediction]]:
    """Train a fresh head on the train part, choose on val, and predict the test part."""
    part_of = np.array([parts[case.key] for case in seen.part.cases])
    learned, chosen = (np.flatnonzero(part_of[seen.first] == name) for name in ("train", "val"))
    tested = np.flatnonzero(part_of == "test")
    train, val = (seen.part.take(seen.first[rows]) for rows in (learned, chosen))
    val_features = seen.plain[seen.first[chosen]]
    keras.utils.set_random_seed(recipe.seed)
    head = keras.models.clone_model(seen.head)  # with new random weights
    data = train.to_training_set()
    train_head(
        head,
        FeatureSet(seen.views[learned], data.label_masks, data.image_ids, data.strata),
        head_plan(recipe),
        validation=val_features,
        validate=lambda z: validation_metrics(z, val.names, val.strata)["val_loss"],
    )
    draft = draft_bundle(Path(), "head", InputSpec(side=recipe.side))
    bundle = with_choices(draft, recipe, validation=val, logits=_logits(head, val_features))
    probabilities = softmax(_logits(head, seen.plain[tested]), bundle.temperature)
    cases = [seen.part.cases[i] for i in tested.tolist()]
    return [
        (case, summarize(str(case.path), p, IN_SCOPE, bundle=bundle))
        for case, p in zip(cases, probabilities, strict=True)
    ]


def _logits(head: keras.Model, features: NDArray[np.float16]) -> NDArray[np.float32]:
    return to_array(head.predict_on_batch(features.astype(np.float32)))
