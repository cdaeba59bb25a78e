"""Networks that hypotheses are judged by: set by set, fold by fold, with and without augmentation.

A trial trains two small networks on four fifths of one set, alike but for augmentation, and asks
both for the last fifth and for every other set. Whole groups are held out, and what another set
shares with the set trained on, by picture, slice or patient, is not asked. Every network gets the
same number of updates, whatever the size of its set.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tumorlens import labels
from tumorlens.errors import CasesError
from tumorlens.files import read_table, write_table
from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec
from tumorlens.progress import SilentCallback
from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.experiments.hypothesis_figures import Score, experiments_of
from tumorlens.study.experiments.subprocess_runner import in_own_process
from tumorlens.study.explore.held_out_performance import EXPERIMENTS_SCHEMA, set_name
from tumorlens.study.recipes import Recipe, find_recipe
from tumorlens.study.training.run_folder import open_or_resume, read_json, write_json

PLAN_FILE, SCORES_FILE, EXPERIMENTS_FILE = "plan.json", "scores.csv", "experiments.json"
FOLDS, LARGEST, STEPS = 5, 2000, 60
Caller = Callable[..., tuple[Any, int | None]]


@dataclass(frozen=True)
class Trials:
    """Which networks are trained, how often, and where to."""

    recipe: Recipe
    out: Path
    cache: Path  # of prepared images
    folds: int = FOLDS
    largest: int = LARGEST  # scans taken of one set
    steps: int = STEPS  # of an epoch

    def to_json(self) -> dict[str, Any]:
        """Give what has to be the same when work goes on."""
        return {
            "recipe": self.recipe.to_json(),
            "folds": self.folds,
            "largest": self.largest,
            "steps": self.steps,
        }


@dataclass(frozen=True)
class TrialSets:
    """The scans that take part, one file of each picture; `group` as found."""

    cases: tuple[Case, ...]
    groups: splits.Groups  # of these cases
    trained: tuple[str, ...]  # names of sets with groups enough to train on
    seen_by: Mapping[str, frozenset[str]]  # set -> groups with any file in it, taken or not


def trial_recipe() -> Recipe:
    """Give the recipe of a trial: `quick`, smaller and shorter, since many are trained."""
    return replace(find_recipe("quick"), name="trial", side=80, train_side=64, epochs=10)


def choose_sets(cases: Sequence[Case], groups: splits.Groups, job: Trials) -> TrialSets:
    """Take at most `job.largest` pictures of each set that has both healthy and tumor scans.

    Raises CasesError where no set can be trained on.
    """
    named = splits.with_groups(cases, groups)
    taken: list[int] = []
    trained = []
    for name in sorted({case.dataset for case in cases}):
        own = np.array([i for i, case in enumerate(named) if case.dataset == name])
        own = _sample(own, named, groups, largest=job.largest)
        if {labels.is_tumor(named[i].label) for i in own} != {True, False}:
            continue
        taken += own
        if _fewest_groups([named[i] for i in own]) >= max(3, job.folds):
            trained.append(name)
    if not trained:
        fact = f"hold no set with healthy and tumor scans of {job.folds} groups or more"
        raise CasesError("folders", fact, "Add scans of other patients, or take fewer folds.")
    seen = {name: frozenset(c.group or "" for c in named if c.dataset == name) for name in trained}
    return TrialSets(
        tuple(named[i] for i in taken),
        groups.take(taken),
        tuple(trained),
        seen,
    )


def _sample(
    own: np.ndarray, cases: Sequence[Case], groups: splits.Groups, *, largest: int
) -> list[int]:
    """Draw pictures so that each label keeps its share, the same ones every time."""
    order = np.random.default_rng(0).permutation(own)
    order = order[np.sort(np.unique(groups.image_ids[order], return_index=True)[1])]
    names = np.array([cases[i].label for i in order])
    kept: list[int] = []
    for name in np.unique(names):
        rows = order[names == name]
        kept += rows[: max(1, round(largest * len(rows) / max(largest, len(order))))].tolist()
    return sorted(kept)


def _fewest_groups(cases: Sequence[Case]) -> int:
    return min(
        len({case.group for case in cases if case.label == label})
        for label in {case.label for case in cases}
    )


def run_trials(
    sets: TrialSets,
    job: Trials,
    *,
    at_most: int | None = None,
    call: Caller = in_own_process,
    ended: Callable[[int, int], None] | None = None,
) -> bool:
    """Run the trials that are not done, at most so many; tell whether all are done.

    After each, `job.out/experiments.json` holds what is known so far. A trial that was broken
    off is done again. `ended` hears how many of how many are done. Raises TrainingError where the
    folder holds trials of other sets or another plan.
    """
    open_or_resume(job.out / PLAN_FILE, {**job.to_json(), "audit": sets.groups.audit,
                                "sets": list(sets.trained), "cases": len(sets.cases)})  # fmt: skip
    planned = [(fold, name) for fold in range(job.folds) for name in sets.trained]
    for fold, name in planned:
        folder = job.out / f"{name}-{fold}"
        if (folder / SCORES_FILE).exists():
            continue
        if at_most == 0:
            break
        at_most = None if at_most is None else at_most - 1
        call(_run_trial, sets, job, name, fold, folder, subject=folder)
        write_experiments(job.out)
        if ended:
            ended(sum((job.out / f"{n}-{f}" / SCORES_FILE).exists() for f, n in planned),
                  len(planned))  # fmt: skip
    return all((job.out / f"{name}-{fold}" / SCORES_FILE).exists() for fold, name in planned)


def write_experiments(out: Path) -> None:
    """Write experiments.json from the scores of all trials that are done."""
    done = sorted(out.glob(f"*/{SCORES_FILE}"))
    scores = [row for file in done for row in _read_scores(file)]
    plan = read_json(out / PLAN_FILE)
    write_json(out / EXPERIMENTS_FILE, {
        "schema": EXPERIMENTS_SCHEMA,
        "plan": plan,
        "trials": {"done": len(done), "planned": plan["folds"] * len(plan["sets"])},
        "experiments": experiments_of(scores),
    })  # fmt: skip


def _run_trial(sets: TrialSets, job: Trials, name: str, fold: int, folder: Path) -> None:
    """Train the two networks of a trial, and write what both say, last of all."""
    from tumorlens.study.training.backend import load_backend

    load_backend()
    from tumorlens.study.experiments.folds import fold_parts

    rows = [i for i, case in enumerate(sets.cases) if case.dataset == name]
    own, groups = [sets.cases[i] for i in rows], sets.groups.take(rows)
    parts = fold_parts(own, groups.groups, folds=job.folds, seed=0)[fold]
    split = splits.write_split(folder / "split.csv", own, parts, groups=groups)
    parted = splits.apply_split(own, split)
    modalities = {labels.modality_of(case.label) for case in own}
    asked = [case for case in parted if case.split == "test"] + [
        case for case in sets.cases
        if case.dataset != name and case.group not in sets.seen_by[name]
        and labels.modality_of(case.label) in modalities
    ]  # fmt: skip
    found: list[Score] = []
    for augmented in (True, False):
        found += _train_and_ask(parted, asked, split, job, folder, fold=fold, augmented=augmented)
    _write_scores(found, folder / SCORES_FILE)


def _train_and_ask(
    cases: Sequence[Case],
    asked: Sequence[Case],
    split: splits.Split,
    job: Trials,
    folder: Path,
    *,
    fold: int,
    augmented: bool,
) -> list[Score]:
    from tumorlens.study.training.packaging.packaging import tumor_scores
    from tumorlens.study.training.run import Job, train

    strength = job.recipe.augmentation if augmented else 0.0
    recipe = replace(job.recipe, seed=job.recipe.seed + fold, augmentation=strength)
    run = folder / ("augmented" if augmented else "plain")
    one = Job(recipe, split, run, job.cache, folder.name, steps=job.steps)
    bundle = train(cases, one, callback=SilentCallback(), resume=True)
    spec = InputSpec(side=recipe.side)
    made = prepare_files([case.path for case in asked], spec, cache=job.cache)
    scores = tumor_scores(bundle, made.pixels)
    return [
        Score(
            augmented=augmented,
            trained_on=set_name(cases[0].dataset, case.label),
            fold=fold,
            tested_on=set_name(case.dataset, case.label),
            case=case.key,
            group=case.group or case.key,
            is_tumor=labels.is_tumor(case.label),
            score=float(score),
        )
        for case, score, usable in zip(asked, scores, made.usable, strict=True)
        if usable
    ]


def _write_scores(scores: Sequence[Score], out: Path) -> None:
    rows = (
        [int(s.augmented), s.trained_on, s.fold, s.tested_on, s.case, s.group,
         int(s.is_tumor), f"{s.score:.9g}"]
        for s in scores
    )  # fmt: skip
    write_table(out, list(Score.__dataclass_fields__), rows)


def _read_scores(path: Path) -> list[Score]:
    return [
        Score(
            augmented=row["augmented"] == "1",
            trained_on=row["trained_on"],
            fold=int(row["fold"]),
            tested_on=row["tested_on"],
            case=row["case"],
            group=row["group"],
            is_tumor=row["is_tumor"] == "1",
            score=float(row["score"]),
        )
        for row in read_table(path)
    ]
