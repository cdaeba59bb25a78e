"""Hold one source out: train without it, with and without what the recipe adds, then ask it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.baselines.jobs import ask
from studies.baselines.sets import Sets, scores_file, scores_in, split_of

from tumorlens.records import Case, Estimate
from tumorlens.study.data import splits
from tumorlens.study.data.groups import Groups
from tumorlens.study.experiments.runner import Job, Listeners
from tumorlens.study.experiments.scores import Score, probabilities_of, train_network, truth_of
from tumorlens.study.recipes import Recipe, find_recipe
from tumorlens.study.stats.discrimination import areas
from tumorlens.study.stats.intervals import Weights, bootstrap, estimate_of

SETS = ("multimodal", "br35h", "navoneel", "bohaju", "figshare")
# Nearly all of navoneel is also in br35h, so the two are one source.
SOURCES: Mapping[str, tuple[str, ...]] = {
    "bohaju": ("bohaju",),
    "br35h": ("br35h", "navoneel"),
}
GEOMETRIC, PHOTOMETRIC = "geometric", "photometric"
COUNTERFACTUAL, FULL = "counterfactual", "full"
# Two busy cores afford no more; all kinds get the same.
_BUDGET = {"side": 112, "train_side": 96, "eight_bit": False}
EPOCHS, STEPS = 12, 100  # steps are those of an epoch
MAX_SEEDS = 100  # looked for
_NEITHER = {"counterfactual_share": 0.0, "synthetic_lesion_share": 0.0,
            "localization_weight": 0.0, "ood_images": 0}  # fmt: skip
# Each adds something to the one before; the first has what is common practice.
KINDS: Mapping[str, Mapping[str, Any]] = {
    GEOMETRIC: {**_NEITHER, "photometric": 0.0, "balance": 0.0},
    PHOTOMETRIC: _NEITHER,
    COUNTERFACTUAL: {"synthetic_lesion_share": 0.0},
    FULL: {},
}
# How the last version named the kinds, in names of folders.
KINDS_BEFORE = {GEOMETRIC: "plain", PHOTOMETRIC: "wide", COUNTERFACTUAL: "changed", FULL: "whole"}


@dataclass(frozen=True)
class HoldoutRun:
    """One network that never saw one source."""

    source: str
    kind: str
    seed: int
    epochs: int = EPOCHS
    steps: int = STEPS

    def folder(self, runs: Path) -> Path:
        """Return its folder, by the name of its kind or by the one before."""
        before = runs / f"without-{self.source}-{KINDS_BEFORE[self.kind]}-{self.seed}"
        named = runs / f"without-{self.source}-{self.kind}-{self.seed}"
        return before if before.exists() else named

    def recipe(self, name: str = "") -> Recipe:
        """Return the default recipe at what is afforded here, full or with less."""
        changes = {**_BUDGET, **KINDS[self.kind], "epochs": self.epochs, "seed": self.seed,
                   "name": name or self.kind}  # fmt: skip
        return replace(find_recipe("default"), **changes)


def all_runs(seeds: int) -> list[HoldoutRun]:
    """List the runs; what is compared first comes first, all of a seed side by side."""
    return [
        HoldoutRun(source, kind, seed)
        for kinds in ((GEOMETRIC, FULL), (PHOTOMETRIC, COUNTERFACTUAL))
        for seed in range(seeds) for source in SOURCES for kind in kinds
    ]  # fmt: skip


def plan_jobs(
    seeds: int, sets: Sets, *, epochs: int | None = None, steps: int | None = None
) -> list[Job]:
    """Return the jobs of all runs."""
    changes = {"epochs": epochs or EPOCHS, "steps": steps or STEPS}
    runs = [replace(run, **changes) for run in all_runs(seeds)]
    folders = [(run, run.folder(sets.runs)) for run in runs]
    return [Job(folder, scores_file(folder), _do_run, {"run": run, "sets": sets})
            for run, folder in folders]  # fmt: skip


def held_out_sets(cases: Sequence[Case], groups: Groups, *, held: Sequence[str]) -> list[str]:
    """Hold out whole data sets, and all that shares a group with them; a tenth of the rest is val.

    What is held out becomes `test`.
    """
    inside = np.array([case.dataset in held for case in cases])
    touched = np.isin(groups.groups, groups.groups[inside])
    parts = np.full(len(cases), "test", object)
    rest = np.flatnonzero(~touched)
    own = Groups(groups.groups[rest], groups.image_ids[rest], groups.audit)
    made = splits.split_cases([cases[i] for i in rest.tolist()], own, test=0.1, val=0.0, seed=1)
    parts[rest] = np.where(np.array(made) == "test", "val", "train")
    return parts.tolist()


def _do_run(folder: Path, listeners: Listeners, *, run: HoldoutRun, sets: Sets) -> None:
    """Train without the source, and all that shares a group with it, then ask it.

    One file of each of its images is asked.
    """
    cases, groups = sets.read(SETS)
    held = SOURCES[run.source]
    split = split_of(folder, cases, held_out_sets(cases, groups, held=held), groups)
    learned = [case for case in cases if case.dataset not in held]
    bundle = train_network(
        splits.apply_split(learned, split, allow_leaks=True), split,
        recipe=run.recipe(folder.name), out=folder, cache=sets.cache, steps=run.steps,
        listeners=listeners,
    )  # fmt: skip
    inside = np.flatnonzero([case.dataset in held for case in cases])
    rows = inside[np.unique(groups.image_ids[inside], return_index=True)[1]]
    ask(bundle, cases, groups, rows, folder)


@dataclass(frozen=True)
class HoldoutFigures:
    """Networks of one kind on one source, and what they gain over geometric augmentation."""

    source: str
    kind: str
    auc: Estimate
    gain: Estimate
    gains: tuple[float, ...]  # of each seed
    n_groups: int


def holdout_figures(runs: Path) -> list[HoldoutFigures]:
    """Return a row per source and kind: the area under the ROC curve, and its gain.

    Of several seeds the mean, among those that the first kind has too; intervals are of a
    bootstrap over groups, the same resamples for both.
    """
    return [
        _compare(runs, source, kind, seeds)
        for source in SOURCES for kind in KINDS
        if (seeds := _seeds_of_both(runs, source, kind))
    ]  # fmt: skip


def _seeds_of_both(runs: Path, source: str, kind: str) -> list[int]:
    """List the seeds with which both this kind and the first one have answered."""

    def has_scores(kind: str, seed: int) -> bool:
        folder = HoldoutRun(source, kind, seed).folder(runs)
        return (folder / scores_file(folder)).exists()

    seeds = range(MAX_SEEDS)
    return [seed for seed in seeds if has_scores(GEOMETRIC, seed) and has_scores(kind, seed)]


def _compare(runs: Path, source: str, kind: str, seeds: Sequence[int]) -> HoldoutFigures:
    first, own = (
        [scores_in(HoldoutRun(source, one, seed).folder(runs)) for seed in seeds]
        for one in (GEOMETRIC, kind)
    )
    like = first[0]
    truth, groups = truth_of(like), np.array([score.group for score in like])
    pairs = [
        (_in_order_of(like, a), _in_order_of(like, b)) for a, b in zip(first, own, strict=True)
    ]

    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        aucs = np.array([[areas(truth, one, weights)["auc"] for one in pair] for pair in pairs])
        gains = aucs[:, 1] - aucs[:, 0]
        return {"auc": aucs[:, 1].mean(0), "gain": gains.mean(0), "gains": gains.T}

    found = bootstrap(statistics, groups)
    return HoldoutFigures(
        source,
        kind,
        estimate_of(found, "auc", len(truth)),
        estimate_of(found, "gain", len(truth)),
        tuple(found["gains"].tolist()),
        len(np.unique(groups)),
    )


def _in_order_of(like: Sequence[Score], scores: Sequence[Score]) -> NDArray[np.float64]:
    """Return tumor probabilities in the order of other scores of the same cases."""
    found = {score.case: score for score in scores}
    return probabilities_of([found[score.case] for score in like])
