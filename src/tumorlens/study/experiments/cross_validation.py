"""Cross-validation: every case is predicted by a network that saw nothing of its group.

Of a head on a frozen network the features are the same in every fold: each scan goes through the
network once, and a fold costs seconds. Nothing is exported: a bundle of a fold is only ever asked
for the scans held out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import TrainingError
from tumorlens.files import read_table, write_table
from tumorlens.inputs.prepare import InputSpec
from tumorlens.json_records import write_json
from tumorlens.predictions.decision import softmax
from tumorlens.predictions.document import COLUMNS, table_row
from tumorlens.predictions.predictor import summarize as summarize_scan
from tumorlens.records import Case, Prediction
from tumorlens.study.data import splits
from tumorlens.study.data.folds import fold_parts
from tumorlens.study.data.splits import Split
from tumorlens.study.experiments.runner import (
    SILENT,
    Executor,
    Job,
    Listeners,
    in_this_process,
    run_jobs,
)
from tumorlens.study.experiments.scores import (
    Json,
    Score,
    Summary,
    detection,
    predict_cases,
    read_scores,
    summarize,
    train_network,
    type_accuracy,
)
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.networks.transfer import head_of
from tumorlens.study.networks.weights import load_weights
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.data.training_set import Subset, prepare_subset
from tumorlens.study.training.learner import build_network, check_network, to_array
from tumorlens.study.training.packaging.assemble import draft_bundle, with_choices
from tumorlens.study.training.preconditions import check_classes, check_preconditions
from tumorlens.study.training.run_folder import open_or_resume
from tumorlens.study.training.transfer.frozen_features import (
    AugmentedViews,
    FeatureSet,
    frozen_features,
    train_head,
)
from tumorlens.study.training.transfer.initialize import head_plan, load_run, run_digest
from tumorlens.study.training.validation_metrics import validation_metrics

PLAN_FILE, TABLE_FILE, FIGURES_FILE = "folds.json", "predictions.csv", "cross_validation.json"
FOLD_COLUMNS = ("repeat", "fold", "case", "label", "group", *COLUMNS)
INTERVALS = "95 %, bootstrap over groups, 1000 resamples, seed 0; within a repeat, then the mean"
IN_SCOPE = 0.0  # a distance: what belongs to a labeled set is not asked whether it is a brain


@dataclass(frozen=True)
class CrossValidation:
    """What is trained, how often, and where to."""

    recipe: Recipe
    folds: int
    repeats: int
    out: Path
    cache: Path  # of prepared images
    weights: str = ""  # of the backbone: a file instead of what the recipe says
    start: Path | None = None  # another run, whose network every fold starts from

    def folder(self, repeat: int, fold: int) -> Path:
        """Return the folder of one fold; both count from 1, and repeats go on counting."""
        return self.out / f"fold-{(repeat - 1) * self.folds + fold}"

    def recipe_of(self, repeat: int) -> Recipe:
        """Return the recipe, with which each repeat starts from other weights."""
        return replace(self.recipe, seed=self.recipe.seed + repeat - 1)

    def to_json(self, groups: splits.Groups) -> Json:
        """Return what has to be the same when work goes on."""
        return {
            "recipe": self.recipe.to_json(),
            "folds": self.folds,
            "cases": len(groups.groups),
            "groups": len(np.unique(groups.groups)),
            "audit": groups.audit,
            **({"start": run_digest(self.start)} if self.start else {}),
        }


@dataclass(frozen=True)
class PartFigures:
    """Figures of some cases: detection (all, CT, MRI), and type where any is recorded."""

    detection: Mapping[str, Summary]
    type: Summary | None

    def to_json(self) -> Json:
        """Return it as cross_validation.json has it."""
        found = {name: summary.to_json() for name, summary in self.detection.items()}
        return {"detection": found, "type": self.type.to_json() if self.type else None}


@dataclass(frozen=True)
class CrossFigures:
    """What cross-validation found: of all cases, and of each set where there are several."""

    n: int
    unreadable: int
    whole: PartFigures
    sets: Mapping[str, PartFigures]

    def to_json(self) -> Json:
        """Return it as cross_validation.json has it."""
        return {
            "n": self.n,
            "unreadable": self.unreadable,
            "intervals": INTERVALS,
            **self.whole.to_json(),
            "sets": {name: found.to_json() for name, found in self.sets.items()},
        }


def cross_validate(
    cases: Sequence[Case],
    groups: splits.Groups,
    plan: CrossValidation,
    *,
    listeners: Listeners = SILENT,
    executor: Executor = in_this_process,
    resume: bool = False,
    on_start: Callable[[int, int], None] = lambda _number, _total: None,
    on_end: Callable[[Path], None] = lambda _folder: None,
) -> CrossFigures:
    """Train every fold of every repeat and judge each case where it was held out.

    Writes fold-1 ..., predictions.csv and cross_validation.json into `plan.out`. A fold that was
    finished is not trained again; `on_start` hears which one of how many begins, `on_end` the
    folder of each that was trained now. More repeats may be asked for later. Raises TrainingError
    where the folder holds other runs, or holds these and `resume` is False.
    """
    check_network(plan.recipe)
    check_preconditions(cases, plan.recipe, out=plan.out, cache=plan.cache)
    jobs = _plan_folds(cases, groups, plan)
    for job in jobs:
        parts = zip(cases, job.settings["parts"], strict=True)
        check_classes([replace(case, split=part) for case, part in parts], splits.PARTS)
    described = plan.to_json(groups)
    open_or_resume(plan.out / PLAN_FILE, described, resume=resume)
    left = [job for job in jobs if not job.is_done]
    for job in run_jobs(left, executor, listeners=listeners,
                        on_start=lambda job: on_start(jobs.index(job) + 1, len(jobs))):  # fmt: skip
        on_end(job.folder)
    rows = [row for job in jobs for row in read_table(job.folder / TABLE_FILE)]
    write_table(plan.out / TABLE_FILE, FOLD_COLUMNS, rows)
    figures = cross_figures(read_scores(plan.out / TABLE_FILE))
    described |= {"repeats": plan.repeats, **figures.to_json()}
    write_json(described, plan.out / FIGURES_FILE)
    return figures


def _plan_folds(cases: Sequence[Case], groups: splits.Groups, plan: CrossValidation) -> list[Job]:
    is_head = plan.recipe.head_epochs and not plan.recipe.epochs
    frozen = FrozenNetwork(plan.recipe, plan.out, plan.cache, plan.weights, plan.start)
    return [
        Job(plan.folder(repeat, fold), TABLE_FILE, _do_fold,
            {"cases": cases, "groups": groups, "parts": parts, "plan": plan, "repeat": repeat,
             "fold": fold, "frozen": frozen if is_head else None})
        for repeat in range(1, plan.repeats + 1)
        for fold, parts in enumerate(
            # Each repeat draws other folds.
            fold_parts(cases, groups.groups, folds=plan.folds, seed=repeat - 1), start=1
        )
    ]  # fmt: skip


def _do_fold(
    folder: Path,
    listeners: Listeners,
    *,
    cases: Sequence[Case],
    groups: splits.Groups,
    parts: Sequence[str],
    plan: CrossValidation,
    repeat: int,
    fold: int,
    frozen: "FrozenNetwork | None",
) -> None:
    """Train what a fold needs, and write what it answers for the part held out, last of all."""
    split = splits.write_split(folder / "split.csv", cases, parts, groups=groups)
    parted = splits.apply_split(cases, split, allow_leaks=True)  # whole groups: it has none
    recipe = plan.recipe_of(repeat)
    if frozen:
        predicted = frozen.predict_held_out(parted, split, recipe, listeners)
    else:
        bundle = train_network(
            parted, split, recipe=recipe, out=folder, cache=plan.cache, weights=plan.weights,
            start=plan.start, listeners=listeners,
        )  # fmt: skip
        predicted = predict_cases(bundle, [case for case in parted if case.split == "test"])
    rows = [{"repeat": repeat, "fold": fold, **_row(case, found)} for case, found in predicted]
    write_table(folder / TABLE_FILE, FOLD_COLUMNS, rows)


def _row(case: Case, prediction: Prediction) -> dict[str, str]:
    # With more digits than a person reads: figures are computed from this table.
    exact = {
        name: f"{value:.9g}"
        for name in ("tumor_probability", "threshold")
        if (value := getattr(prediction, name)) is not None
    }
    place = {"case": case.key, "label": case.label, "group": str(case.group)}
    return {**place, **table_row(prediction), **exact}


def cross_figures(scores: Sequence[Score]) -> CrossFigures:
    """Return figures of out-of-fold scores, of all cases and of each set among several.

    A sensitivity uses the threshold of each score's own fold. Raises TrainingError where no scan
    could be read.
    """
    read = [score for score in scores if np.isfinite(score.tumor_probability)]
    if not read:
        fact, fix = "could read none of the scans held out", "Look into predictions.csv."
        raise TrainingError("cross-validation", fact, fix)
    names = list(dict.fromkeys(score.dataset for score in read))
    sets = {name: [score for score in read if score.dataset == name] for name in names}
    return CrossFigures(
        n=len({score.case for score in scores}),
        unreadable=len({score.case for score in scores} - {score.case for score in read}),
        whole=_part_figures(read),
        sets={name: _part_figures(rows) for name, rows in sets.items()} if len(sets) > 1 else {},
    )


def _part_figures(scores: Sequence[Score]) -> PartFigures:
    parts = {"all": list(scores)}
    for name in labels.MODALITIES:
        parts[name] = [s for s in scores if (labels.modality_of(s.label) or s.modality) == name]
    typed = [score for score in scores if labels.type_of(score.label)]
    return PartFigures(
        {name: summarize(rows, detection) for name, rows in parts.items() if rows},
        summarize(typed, type_accuracy) if typed else None,
    )


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
        (case, summarize_scan(str(case.path), p, IN_SCOPE, bundle=bundle))
        for case, p in zip(cases, probabilities, strict=True)
    ]


def _logits(head: keras.Model, features: NDArray[np.float16]) -> NDArray[np.float32]:
    return to_array(head.predict_on_batch(features.astype(np.float32)))
