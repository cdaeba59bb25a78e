"""Networks that hypotheses are judged by: set by set, fold by fold, with and without augmentation.

A job trains two small networks on four fifths of one set, alike but for augmentation, and asks
both for the last fifth and for every other set. Whole groups are held out, and what another set
shares with the set trained on, by image, slice or patient, is not asked. Every network gets the
same number of updates, whatever the size of its set.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tumorlens import labels
from tumorlens.errors import CasesError
from tumorlens.json_records import write_json
from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.data.folds import fold_parts
from tumorlens.study.experiments.runner import (
    Executor,
    Job,
    Listeners,
    in_own_process,
    run_jobs,
)
from tumorlens.study.experiments.scores import (
    SCORES_FILE,
    Json,
    Score,
    area,
    predict_cases,
    read_scores,
    scores_of,
    summarize,
    together,
    train_network,
    write_scores,
)
from tumorlens.study.explore.held_out_performance import (
    AUGMENTATION,
    EXPERIMENTS_SCHEMA,
    TRANSFER,
    set_name,
)
from tumorlens.study.recipes import Recipe, find_recipe
from tumorlens.study.training.preconditions import check_preconditions
from tumorlens.study.training.run_folder import open_or_resume, read_json

PLAN_FILE, EXPERIMENTS_FILE = "plan.json", "experiments.json"
FOLDS, MAX_IMAGES, STEPS, RESAMPLES = 5, 2000, 60, 300
AUGMENTED, PLAIN = "augmented", "plain"
UNSEEN, OTHERS = "unseen groups of the same set", "other sets"


@dataclass(frozen=True)
class PairedRuns:
    """Which networks are trained, how often, and where to."""

    recipe: Recipe
    out: Path
    cache: Path  # of prepared images
    folds: int = FOLDS
    max_images: int = MAX_IMAGES  # taken of one set
    steps: int = STEPS  # of an epoch

    def to_json(self, sets: "PairedSets") -> Json:
        """Return what has to be the same when work goes on."""
        return {
            "recipe": self.recipe.to_json(),
            "folds": self.folds,
            "largest": self.max_images,
            "steps": self.steps,
            "audit": sets.groups.audit,
            "sets": list(sets.trained),
            "cases": len(sets.cases),
        }


@dataclass(frozen=True)
class PairedSets:
    """The scans that take part, one file of each image; `group` as found."""

    cases: tuple[Case, ...]
    groups: splits.Groups  # of these cases
    trained: tuple[str, ...]  # names of sets with groups enough to train on
    seen_by: Mapping[str, frozenset[str]]  # set -> groups with any file in it, taken or not


def small_recipe() -> Recipe:
    """Return the recipe of a pair: `quick`, smaller and shorter, since many are trained."""
    return replace(find_recipe("quick"), name="trial", side=80, train_side=64, epochs=10)


def choose_sets(cases: Sequence[Case], groups: splits.Groups, plan: PairedRuns) -> PairedSets:
    """Take some images of each set that has both healthy and tumor scans.

    Raises CasesError where no set can be trained on.
    """
    named = splits.with_groups(cases, groups)
    taken: list[int] = []
    trained = []
    for name in sorted({case.dataset for case in cases}):
        rows = np.array([i for i, case in enumerate(named) if case.dataset == name])
        rows = _sample(rows, named, groups, count=plan.max_images)
        if {labels.is_tumor(named[i].label) for i in rows} != {True, False}:
            continue
        taken += rows
        if _fewest_groups([named[i] for i in rows]) >= max(3, plan.folds):
            trained.append(name)
    if not trained:
        fact = f"hold no set with healthy and tumor scans of {plan.folds} groups or more"
        raise CasesError("folders", fact, "Add scans of other patients, or take fewer folds.")
    seen = {name: frozenset(c.group or "" for c in named if c.dataset == name) for name in trained}
    return PairedSets(tuple(named[i] for i in taken), groups.take(taken), tuple(trained), seen)


def _sample(
    rows_of_set: np.ndarray, cases: Sequence[Case], groups: splits.Groups, *, count: int
) -> list[int]:
    """Draw images so that each label keeps its share, the same ones every time."""
    order = np.random.default_rng(0).permutation(rows_of_set)
    order = order[np.sort(np.unique(groups.image_ids[order], return_index=True)[1])]
    names = np.array([cases[i].label for i in order])
    kept: list[int] = []
    for name in np.unique(names):
        rows = order[names == name]
        kept += rows[: max(1, round(count * len(rows) / max(count, len(order))))].tolist()
    return sorted(kept)


def _fewest_groups(cases: Sequence[Case]) -> int:
    return min(
        len({case.group for case in cases if case.label == label})
        for label in {case.label for case in cases}
    )


def run_pairs(
    sets: PairedSets,
    plan: PairedRuns,
    *,
    at_most: int | None = None,
    executor: Executor = in_own_process,
    on_end: Callable[[int, int], None] = lambda _done, _total: None,
) -> bool:
    """Train the pairs that are not done, at most so many; return whether all are done.

    After each, `plan.out/experiments.json` holds what is known so far. `on_end` hears how many of
    how many are done. Raises TrainingError where the folder holds pairs of other sets or another
    plan.
    """
    check_preconditions(sets.cases, plan.recipe, out=plan.out, cache=plan.cache)
    open_or_resume(plan.out / PLAN_FILE, plan.to_json(sets))
    jobs = [
        Job(plan.out / f"{name}-{fold}", SCORES_FILE, _do_pair,
            {"sets": sets, "plan": plan, "name": name, "fold": fold})
        for fold in range(plan.folds) for name in sets.trained
    ]  # fmt: skip
    left = [job for job in jobs if not job.is_done]
    for _ in run_jobs(left[:at_most], executor):
        write_experiments(plan.out)
        on_end(sum(job.is_done for job in jobs), len(jobs))
    return all(job.is_done for job in jobs)


def write_experiments(out: Path) -> None:
    """Write experiments.json from the scores of all pairs that are done."""
    done = sorted(out.glob(f"*/{SCORES_FILE}"))
    plan = read_json(out / PLAN_FILE)
    found = {
        "schema": EXPERIMENTS_SCHEMA,
        "plan": plan,
        "trials": {"done": len(done), "planned": plan["folds"] * len(plan["sets"])},
        "experiments": experiments_of([row for file in done for row in read_scores(file)]),
    }
    write_json(found, out / EXPERIMENTS_FILE)


def _do_pair(
    folder: Path, listeners: Listeners, *, sets: PairedSets, plan: PairedRuns, name: str, fold: int
) -> None:
    """Train the two networks of a pair, and write what both answer, last of all."""
    rows = [i for i, case in enumerate(sets.cases) if case.dataset == name]
    members, groups = [sets.cases[i] for i in rows], sets.groups.take(rows)
    parts = fold_parts(members, groups.groups, folds=plan.folds, seed=0)[fold]
    split = splits.write_split(folder / "split.csv", members, parts, groups=groups)
    parted = splits.apply_split(members, split)
    modalities = {labels.modality_of(case.label) for case in members}
    targets = [case for case in parted if case.split == "test"] + [
        case for case in sets.cases
        if case.dataset != name and case.group not in sets.seen_by[name]
        and labels.modality_of(case.label) in modalities
    ]  # fmt: skip
    found: list[Score] = []
    for network in (AUGMENTED, PLAIN):
        strength = plan.recipe.augmentation if network == AUGMENTED else 0.0
        recipe = replace(plan.recipe, seed=plan.recipe.seed + fold, augmentation=strength)
        bundle = train_network(
            parted, split, recipe=recipe, out=folder / network, cache=plan.cache,
            name=folder.name, steps=plan.steps, listeners=listeners,
        )  # fmt: skip
        predicted = predict_cases(bundle, targets)
        found += scores_of(predicted, fold=fold, network=network, trained_on=name)
    write_scores(found, folder / SCORES_FILE)


def experiments_of(scores: Sequence[Score]) -> list[Json]:
    """Return the experiments that the scores make, as `read_experiments` reads them."""
    found: list[Json] = []
    matrix: dict[str, Json] = {}
    augmented = [score for score in scores if score.network == AUGMENTED]
    for rows in together(augmented, _sets):
        if cell := _cell(rows):
            trained, tested = _sets(rows[0])
            matrix.setdefault(trained, {})[tested] = cell
    if matrix:
        found.append({"id": TRANSFER, "measure": "AUC", "matrix": matrix})
    for where, is_same_set in ((UNSEEN, True), (OTHERS, False)):
        pairs = _pairs([s for s in scores if (s.trained_on == s.dataset) == is_same_set])
        if pairs:
            found.append(
                {"id": AUGMENTATION, "where": where, "measure": "mean AUC", "pairs": pairs}
            )
    return found


def _sets(score: Score) -> tuple[str, str]:
    """Name the set that the network was trained on, and the one that the scan is from."""
    return set_name(score.trained_on, score.label), set_name(score.dataset, score.label)


def _has_both(scores: Sequence[Score]) -> bool:
    return len({score.is_tumor for score in scores}) > 1


def _cell(scores: Sequence[Score]) -> Json | None:
    """Average the AUC of the networks of all folds; a fold with one class alone has none."""
    folds = [rows for rows in together(scores, lambda s: s.fold) if _has_both(rows)]
    if not folds:
        return None
    known = [score for rows in folds for score in rows]
    found = summarize(known, area, over=lambda score: score.fold, resamples=RESAMPLES)
    auc = found.figures["auc"]
    return {"auc": auc.value, "auc_low": auc.low, "auc_high": auc.high, "n": found.n,
            "n_groups": found.n_groups, "networks": len(folds)}  # fmt: skip


def _pairs(scores: Sequence[Score]) -> list[Json]:
    """Return, for each fold, the AUC without and with augmentation, each a mean over the sets."""
    found = []
    for of_fold in together(scores, lambda score: score.fold):
        aucs: dict[str, list[float]] = {AUGMENTED: [], PLAIN: []}
        for rows in together(of_fold, lambda score: (_sets(score), score.network)):
            if _has_both(rows):
                aucs[rows[0].network].append(float(area(rows)(np.ones((1, len(rows))))["auc"][0]))
        if aucs[PLAIN] and len(aucs[PLAIN]) == len(aucs[AUGMENTED]):
            means = {name: float(np.mean(values)) for name, values in aucs.items()}
            found.append(
                {"seed": of_fold[0].fold, "without": means[PLAIN], "with": means[AUGMENTED]}
            )
    return found
