"""The jobs of the study of baselines: each trains one network, asks it, and keeps its scores."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from studies.baselines.protocols import divide, rows_asked
from studies.baselines.results import add_time
from studies.baselines.runs import (
    FIRST,
    FOLDS,
    HEAD,
    LEARNED_SETS,
    LEFT_OUT,
    MEASURED_SET,
    PRETRAINED,
    RUNS,
    SEARCHES,
    SEEDS,
    SEVEN,
    SHARES,
    SHIPPED,
    STARTS,
    Run,
)
from studies.baselines.sets import Sets, scores_file, split_of

from tumorlens.errors import TrainingError
from tumorlens.models.bundle import Bundle, load_bundle
from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.data.groups import Groups
from tumorlens.study.data.splits import Split
from tumorlens.study.experiments.cross_validation import CrossValidation, cross_validate
from tumorlens.study.experiments.learning_curve import LearningCurve, measure_learning_curve
from tumorlens.study.experiments.runner import Job, Listeners
from tumorlens.study.experiments.scores import (
    predict_cases,
    read_scores,
    scores_of,
    train_network,
    write_scores,
)
from tumorlens.study.recipes import (
    IMAGENET,
    REPRODUCTIONS,
    Recipe,
    find_pretraining,
    find_recipe,
    read_recipe,
    space_of,
)
from tumorlens.study.training.run_folder import SPLIT_FILE
from tumorlens.study.training.transfer.initialize import check_warm_start
from tumorlens.study.training.transfer.pretraining import PretrainJob, pretrain

ENDED = "ended.txt"  # what a search, or the last repeat of folds, writes last


def plan_jobs(sets: Sets) -> dict[str, Job]:
    """Return all jobs by their names, each after those that it starts from."""
    last_of_start = f"size-{SHARES[-1]:g}-seed-{SEEDS - 1}/result.json"
    works = {
        **{name: (_do_run, _result_of(name, sets)) for name in FIRST},
        **dict.fromkeys(SEARCHES, (_search, ENDED)),
        PRETRAINED: (_pretrain, "learning_curves.png"),
        **{run.name: (_do_run, _result_of(run.name, sets)) for run in RUNS},
        **dict.fromkeys(STARTS, (_measure_start, last_of_start)),
    }  # fmt: skip
    return {
        name: Job(sets.runs / name, result, _do_timed, {"work": work, "sets": sets})
        for name, (work, result) in works.items()
    }


def waves_of(jobs: Mapping[str, Job]) -> list[list[Job]]:
    """Return jobs that may be done at once, then those that start from what these leave."""
    starts = {run.name for run in RUNS if run.start or run.search} | set(STARTS)
    return [
        [job for name, job in jobs.items() if (name in starts) == is_later]
        for is_later in (False, True)
    ]


def _do_timed(folder: Path, listeners: Listeners, *, work: Callable[..., None], sets: Sets) -> None:
    """Do a job, and add the time that it took to that of its earlier starts."""
    started = time.monotonic()
    try:
        work(folder, listeners, sets=sets)
    finally:
        add_time(folder, time.monotonic() - started)


def _result_of(name: str, sets: Sets) -> str:
    run = next(run for run in RUNS if run.name == name)
    return ENDED if run.protocol == FOLDS else scores_file(sets.runs / name)


def epochs_of(name: str) -> int:
    """Return how many epochs a job trains, to show progress by."""
    recipes = {run.name: run.changed_recipe for run in RUNS}
    recipes |= {name: found.recipe for name, found in STARTS.items()}
    recipes |= {name: find_recipe(found.system) for name, found in SEARCHES.items()}
    return (recipes.get(name) or find_pretraining("vicreg").recipe).epochs


def ask(
    bundle: Bundle, cases: Sequence[Case], groups: Groups, rows: NDArray[np.int64], out: Path
) -> None:
    """Ask a bundle for the cases at some positions, and write the scores of the run."""
    named = splits.with_groups(cases, groups)
    held = predict_cases(bundle, [named[row] for row in rows.tolist()])
    write_scores(scores_of(held), out / scores_file(out))


def _search(folder: Path, listeners: Listeners, *, sets: Sets) -> None:
    """Search a recipe's space by Hyperband at its full pixels and epochs; the best is kept."""
    from tumorlens.study.experiments.tuning import RECIPE_FILE, tune
    from tumorlens.study.training.run import Job as TrainingJob

    search = SEARCHES[folder.name]
    recipe = find_recipe(search.system)
    cases, groups = sets.read((REPRODUCTIONS[search.system].data_set,))
    parts, known = divide(cases, groups, protocol=search.protocol, joint=sets.joint)
    split = split_of(folder, cases, parts, known)
    job = TrainingJob(recipe, split, folder, sets.cache, folder.name)
    learned = splits.apply_split(cases, split, allow_leaks=True)
    found = tune(learned, job, space_of(recipe), trials=search.trials, listeners=listeners)
    text = f"{len(found.trials)} trials, the best is {found.best.number}: {RECIPE_FILE}\n"
    (folder / ENDED).write_text(text, encoding="utf-8")


def _recipe_of(run: Run, sets: Sets) -> Recipe:
    """Return the recipe of a run: what its search found, changed as its row says."""
    if not run.search:
        return run.changed_recipe
    found = sets.runs / run.search
    if not (found / ENDED).exists():
        fix = f"Run it first: --only {run.search} {run.name}"
        raise TrainingError(run.name, f"takes what {run.search} finds, which has not ended", fix)
    return replace(read_recipe(found / "recipe.json"), **run.changes)


def _do_run(folder: Path, listeners: Listeners, *, sets: Sets) -> None:
    run = next(run for run in RUNS if run.name == folder.name)
    cases, groups = sets.read((REPRODUCTIONS[run.system].data_set,))
    if run.protocol == SHIPPED:
        _ask_shipped(folder, cases, groups, sets)
    elif run.protocol == LEFT_OUT:
        bundle = load_bundle(_strangers(run, cases, sets))
        ask(bundle, cases, groups, np.arange(len(cases)), folder)
    elif run.stored:
        _train_on_stored(run, folder, listeners, cases, groups=groups, sets=sets)
    elif run.protocol == FOLDS:
        _do_folds(run, folder, listeners, cases, groups=groups, sets=sets)
    else:
        _train_and_ask(run, folder, listeners, cases, groups=groups, sets=sets)


def _do_folds(
    run: Run, folder: Path, listeners: Listeners, cases: list[Case], *, groups: Groups, sets: Sets
) -> None:
    """Cross-validate repeat by repeat; the page shows those that have ended."""
    recipe = run.changed_recipe
    for repeats in range(1, run.repeats + 1):
        plan = CrossValidation(
            recipe, 5, repeats, folder, sets.cache, weights=_weights(recipe, sets),
            start=_strangers(run, cases, sets) if run.start else None,
        )  # fmt: skip
        cross_validate(cases, groups, plan, listeners=listeners, resume=True)
        write_scores(read_scores(folder / "predictions.csv"), folder / scores_file(folder))
    (folder / ENDED).write_text(f"{run.repeats} repeats\n", encoding="utf-8")


def _train_and_ask(
    run: Run, folder: Path, listeners: Listeners, cases: list[Case], *, groups: Groups, sets: Sets
) -> None:
    parts, known = divide(cases, groups, protocol=run.protocol, joint=sets.joint)
    split = split_of(folder, cases, parts, known)
    recipe = _recipe_of(run, sets)
    bundle = train_network(
        splits.apply_split(cases, split, allow_leaks=True),  # faults are left in on purpose
        split, recipe=recipe, out=folder, cache=sets.cache, weights=_weights(recipe, sets),
        start=_start(run, cases, split, sets), listeners=listeners,
    )  # fmt: skip
    rows = rows_asked(cases, [split.parts[case.key] for case in cases], protocol=run.protocol)
    ask(bundle, cases, groups, rows, folder)


def _train_on_stored(
    run: Run, folder: Path, listeners: Listeners, cases: list[Case], *, groups: Groups, sets: Sets
) -> None:
    """Train what lies above the frozen part on its stored maps, which are computed where needed."""
    from studies.baselines import xception

    parts, known = divide(cases, groups, protocol=run.protocol, joint=sets.joint)
    split = split_of(folder, cases, parts, known)
    named = splits.with_groups(cases, groups)
    tested = rows_asked(cases, [split.parts[case.key] for case in cases], protocol=run.protocol)
    recipe = run.changed_recipe
    stored = xception.store(
        xception.needed(named, split, tested), split, recipe, cache=sets.cache,
        weights=_weights(recipe, sets), out=folder, listeners=listeners,
    )  # fmt: skip
    rows = xception.row_sets(stored, split, {cases[row].key for row in tested.tolist()})
    if run.stored == SEVEN:
        scores = xception.train_seven(stored, rows, recipe)
    elif run.stored == HEAD:
        scores = xception.train_frozen(stored, rows, recipe)
    else:
        scores = xception.train_tail(stored, rows, recipe, out=folder, listeners=listeners)
    write_scores(scores, folder / scores_file(folder))


def _ask_shipped(folder: Path, cases: list[Case], groups: Groups, sets: Sets) -> None:
    """Ask our bundle for the test part of the split it was trained on; nothing is trained."""
    if sets.joint is None:
        fix = "Give --split FILE: the split that it was trained on."
        raise TrainingError(folder.name, "needs our bundle and its split", fix)
    bundle = load_bundle(sets.bundle or "")
    if bundle.provenance.data.split != sets.joint.fingerprint:
        fix = "Give the split that it was trained on."
        raise TrainingError(bundle.folder, "was trained on another split", fix)
    tested = np.flatnonzero([sets.joint.parts[case.key] == "test" for case in cases])
    folder.mkdir(parents=True, exist_ok=True)
    ask(bundle, cases, groups, tested, folder)


def _start(run: Run, cases: Sequence[Case], split: Split, sets: Sets) -> Path | None:
    """Return the run that a network starts from, which has seen nothing that `split` holds out."""
    if run.start != PRETRAINED:
        return _strangers(run, cases, sets) if run.start else None
    check_warm_start(sets.runs / PRETRAINED, split.groups, split.parts)
    return sets.runs / PRETRAINED


def _strangers(run: Run, cases: Sequence[Case], sets: Sets) -> Path:
    """Return the run of the sources left out, which has seen none of these scans and no copy."""
    if sets.strangers is None:
        fix = "Give --strangers RUN: the folder that `make strangers` wrote."
        raise TrainingError(run.name, "starts from the network of the sources left out", fix)
    known = splits.read_split(sets.strangers / SPLIT_FILE).groups
    if unknown := [case.key for case in cases if case.key not in known]:
        fact = f"was trained on a split without {len(unknown)} of these scans, first {unknown[0]}"
        raise TrainingError(sets.strangers, fact, "Give the run of one split of all sets.")
    check_warm_start(sets.strangers, known, dict.fromkeys((case.key for case in cases), "test"))
    return sets.strangers


def _weights(recipe: Recipe, sets: Sets) -> str:
    """Return the file of the weights that a recipe starts from, where it asks for any."""
    return sets.weights_of(recipe.network) if recipe.weights == IMAGENET else ""


def _pretrain(folder: Path, listeners: Listeners, *, sets: Sets) -> None:
    """Pretrain on the train groups of several sets together."""
    cases, groups = sets.read(LEARNED_SETS)
    parts, known = divide(cases, groups, protocol="grouped", joint=sets.joint)
    split = split_of(folder, cases, parts, known)
    job = PretrainJob(find_pretraining("vicreg"), split, folder, sets.cache)
    pretrain(splits.apply_split(cases, split), job, callback=listeners.callback, resume=True)


def _measure_start(folder: Path, listeners: Listeners, *, sets: Sets) -> None:
    """Measure one start at a few percent of the groups."""
    start, pretrained = STARTS[folder.name], sets.runs / PRETRAINED
    split = splits.read_split(pretrained / "split.csv")
    if start.is_pretrained:
        check_warm_start(pretrained, split.groups, split.parts)
    plan = LearningCurve(
        start.recipe, split, folder, sets.cache, SHARES, SEEDS,
        weights=_weights(start.recipe, sets), start=pretrained if start.is_pretrained else None,
    )  # fmt: skip
    cases, _ = sets.read((MEASURED_SET,))
    measure_learning_curve(splits.apply_split(cases, split), plan)
