"""Leave one source out: train without it, with and without what the recipe adds, then ask it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.baselines.asking import ask, train_into, write_answers
from studies.baselines.bench import (
    ANSWERS_FILE,
    Bench,
    read_answers,
    read_sets,
    split_of,
)
from studies.baselines.figures import Row
from studies.baselines.protocols import held_out_sets

from tumorlens import labels
from tumorlens.models.bundle import load_bundle
from tumorlens.progress import TrainingCallback
from tumorlens.study.audit.tables import read_groups
from tumorlens.study.recipes import Recipe, find_recipe
from tumorlens.study.stats.discrimination import areas
from tumorlens.study.stats.intervals import bootstrap

SETS = ("multimodal", "br35h", "navoneel", "bohaju", "figshare")
# Nearly all of navoneel is also in br35h, so the two are one source.
SOURCES: Mapping[str, tuple[str, ...]] = {
    "bohaju": ("bohaju",),
    "br35h": ("br35h", "navoneel"),
}
PLAIN, WIDE, CHANGED, WHOLE = "plain", "wide", "changed", "whole"
# Two busy cores afford no more; all kinds get the same.
_BUDGET = {"side": 112, "train_side": 96, "epochs": 12, "eight_bit": False}
STEPS = 100  # of an epoch
MOST_SEEDS = 100  # looked for
_UNCHANGED = {
    "counterfactual_share": 0.0,
    "synthetic_lesion_share": 0.0,
    "localization_weight": 0.0,
    "ood_images": 0,
}
# Each adds something to the one before; the first has what is common practice.
KINDS: Mapping[str, Mapping[str, Any]] = {
    PLAIN: {**_UNCHANGED, "photometric": 0.0, "balance": 0.0},
    WIDE: _UNCHANGED,
    CHANGED: {"synthetic_lesion_share": 0.0},
    WHOLE: {},
}


@dataclass(frozen=True)
class Trial:
    """One network that never saw one source."""

    source: str
    kind: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"without-{self.source}-{self.kind}-{self.seed}"

    @property
    def recipe(self) -> Recipe:
        """The default recipe at what is afforded here, whole or plain."""
        changes = {**_BUDGET, **KINDS[self.kind], "seed": self.seed, "name": self.name}
        return replace(find_recipe("default"), **changes)


def all_trials(seeds: int) -> list[Trial]:
    """List the trials; what is compared first comes first, all of a seed side by side."""
    return [
        Trial(source, kind, seed)
        for kinds in ((PLAIN, WHOLE), (WIDE, CHANGED))
        for seed in range(seeds) for source in SOURCES for kind in kinds
    ]  # fmt: skip


def run_trial(trial: Trial, bench: Bench, *, callback: TrainingCallback) -> Path:
    """Train without the source, and all that shares a group with it, then ask it; once.

    One file of each of its pictures is asked.
    """
    out = bench.runs / trial.name
    if not (out / ANSWERS_FILE).exists():
        cases = read_sets(bench, SETS)
        groups = read_groups(bench.audit, cases)
        held = SOURCES[trial.source]
        split = split_of(out, cases, held_out_sets(cases, groups, held=held), groups)
        learned = [case for case in cases if case.dataset not in held]
        train_into(learned, split, trial.recipe, out, bench, callback=callback, steps=STEPS)
        inside = np.flatnonzero([case.dataset in held for case in cases])
        asked = inside[np.unique(groups.image_ids[inside], return_index=True)[1]]
        write_answers(ask(load_bundle(out / "bundle"), cases, groups, asked), out / ANSWERS_FILE)
    return out


def left_out_figures(runs: Path) -> list[dict[str, Any]]:
    """Give a row per source and kind: the area under the ROC curve, and its gain over plain.

    Of several seeds the mean, among those that plain has too; intervals are of a bootstrap over
    groups, the same resamples for both.
    """
    found = []
    for source in SOURCES:
        for kind in KINDS:
            if seeds := _seeds_of_both(runs, source, kind):
                figures = _compared(runs, source, kind, seeds)
                found.append({"source": source, "kind": kind, "seeds": len(seeds), **figures})
    return found


def _seeds_of_both(runs: Path, source: str, kind: str) -> list[int]:
    """List the seeds with which both this kind and plain have answered."""
    return [
        seed for seed in range(MOST_SEEDS)
        if all((runs / Trial(source, one, seed).name / ANSWERS_FILE).exists()
               for one in (PLAIN, kind))
    ]  # fmt: skip


def _compared(runs: Path, source: str, kind: str, seeds: Sequence[int]) -> dict[str, Any]:
    tables = {
        name: [read_answers(runs / Trial(source, one, seed).name) for seed in seeds]
        for name, one in (("plain", PLAIN), ("auc", kind))
    }
    first = tables["plain"][0]
    truth = np.array([labels.is_tumor(row["label"]) for row in first], bool)
    groups = np.array([row["group"] for row in first])
    scores = {
        name: [_scores(rows, first) for rows in repeated] for name, repeated in tables.items()
    }

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        means = {
            name: np.mean([areas(truth, one, weights)["auc"] for one in repeated], axis=0)
            for name, repeated in scores.items()
        }
        return {"auc": means["auc"], "gain": means["auc"] - means["plain"]}

    figures = {key: float(value) for key, value in bootstrap(statistics, groups).items()}
    once = np.ones((1, len(truth)))
    each = {
        name: [float(areas(truth, one, once)["auc"][0]) for one in repeated]
        for name, repeated in scores.items()
    }
    return {
        **figures,
        "each_gain": [own - plain for plain, own in zip(each["plain"], each["auc"], strict=True)],
        "n": len(truth),
        "n_tumor": int(truth.sum()),
        "n_groups": len(np.unique(groups)),
    }


def _scores(rows: Sequence[Row], like: Sequence[Row]) -> NDArray[np.float64]:
    """Give tumor probabilities in the order of another table of the same cases."""
    found = {row["case"]: float(row["tumor_probability"]) for row in rows}
    return np.array([found[row["case"]] for row in like])
