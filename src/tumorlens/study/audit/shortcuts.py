"""How well each label can be told without looking at the brain.

A small decision tree is given only facts of the file, its border and its corners. Where it tells
the classes apart, a network may have learned the same. On prepared images the figures say how
much of that is left; there mean, deviation and length also hold the disease itself, so that only
what reaches the stored figures is alarming.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier

from tumorlens import labels as algebra
from tumorlens.records import Estimate
from tumorlens.study.data.groups import grouped_folds
from tumorlens.study.stats.discrimination import areas
from tumorlens.study.stats.intervals import Weights, bootstrap, estimate_of, not_collapsed

FOLDS = 5  # also the fewest groups that a class needs
RESAMPLES = 300  # of the intervals
DEPTH = 4
LEAF = 0.015  # smallest share of the cases in a leaf
STAGES = ("as stored", "prepared")

Columns = Mapping[str, NDArray] | NDArray[np.void]  # by name, [n] each


def _finding(label: str, *, modality: str) -> str | None:
    if algebra.modality_of(label) != modality:
        return None
    return "tumor" if algebra.is_tumor(label) else "healthy"


# What a label says for a task; None where it says nothing.
TASKS: Mapping[str, Callable[[str], str | None]] = {
    "CT detection": partial(_finding, modality="ct"),
    "MRI detection": partial(_finding, modality="mri"),
    "type": algebra.type_of,
}
_SIZE = ("width", "height", "aspect", "mode", "format")
_BACKGROUND = ("mean", "std", "black_share", "border_mean", "border_std")
_CORNERS = ("corner_edges", "corner_mean")
_ALL = (*_SIZE, "bytes", *_BACKGROUND, *_CORNERS)
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "size, mode and format": _SIZE,
    "file bytes": ("bytes",),
    "border, mean and black share": _BACKGROUND,
    "corner text": _CORNERS,
    "all of these": _ALL,
}


@dataclass(frozen=True)
class Shortcut:
    """What one family of facts gives away about one task."""

    task: str  # a row of TASKS
    family: str  # a row of FAMILIES, or the name of a single fact
    stage: str  # one of STAGES; "" of a single fact
    n_groups: int
    auc: Estimate  # of the type: mean of one type against the others; 0.5 tells nothing
    reason: str = ""  # why there is no figure


@dataclass(frozen=True)
class _Problem:
    """One task on the files whose labels answer it."""

    rows: NDArray[np.int64]  # [m], positions among all files
    truth: NDArray[np.int64]  # [m], number of the class
    groups: NDArray[np.int64]  # [m]
    folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]]  # train and held-out, of 0..m-1
    reason: str  # why it cannot be solved


def measure_shortcuts(
    labels: Sequence[str], groups: NDArray, *, raw: Columns, prepared: Columns, seed: int = 0
) -> list[Shortcut]:
    """Score every family for every task, as stored and prepared, on whole groups held out.

    `raw` and `prepared` give columns of n values (a structured array does): PIXEL_FACTS and
    `bytes`, and `raw` also width, height, mode and format; mode and format may be text.
    Prepared images share one size, mode and format, so that family tells nothing there by
    construction. Files with a value that is not finite are left out of both stages.

    Intervals are by bootstrap over groups with the trees as they are, and so a little narrow:
    held-out scores of overlapping training sets are not independent (Bengio and Grandvalet,
    2004), and where there is nothing to tell they hold 0.5 in about 85 % of cases, not 95 %.
    """
    stages = dict(zip(STAGES, (_stored_columns(raw), _prepared_columns(prepared)), strict=True))
    values = [column for columns in stages.values() for column in columns.values()]
    usable = np.logical_and.reduce([np.isfinite(column) for column in values])
    return [
        _solve(problem, [columns[fact] for fact in facts], seed=seed, names=(task, family, stage))
        for task, problem in _problems(labels, groups, usable=usable, seed=seed).items()
        for stage, columns in stages.items()
        for family, facts in FAMILIES.items()
    ]


def measure_fact(
    labels: Sequence[str], groups: NDArray, fact: NDArray, *, name: str, seed: int = 0
) -> list[Shortcut]:
    """Score a single fact, [n], for every task, as `measure_shortcuts` does families.

    Scans of which it is not known (not finite, or no text) are left out.
    """
    column = _numbers(fact)
    return [
        _solve(problem, [column], seed=seed, names=(task, name, ""))
        for task, problem in _problems(labels, groups, usable=is_known(fact), seed=seed).items()
    ]


def is_known(fact: NDArray) -> NDArray[np.bool_]:
    """Tell of which scans a fact, [n], is known: a finite number, or a text that is not empty."""
    return np.isfinite(fact) if np.issubdtype(fact.dtype, np.number) else fact != ""


def _stored_columns(raw: Columns) -> dict[str, NDArray[np.float64]]:
    columns = {name: _numbers(raw[name]) for name in _ALL if name != "aspect"}
    height = np.where(columns["height"] > 0, columns["height"], np.nan)
    return columns | {"aspect": columns["width"] / height}


def _prepared_columns(prepared: Columns) -> dict[str, NDArray[np.float64]]:
    n = len(prepared["bytes"])
    return {name: np.zeros(n) if name in _SIZE else _numbers(prepared[name]) for name in _ALL}


def _numbers(column: NDArray) -> NDArray[np.float64]:
    """Return numbers, those of text by its place in the alphabet."""
    if np.issubdtype(column.dtype, np.number):
        return np.asarray(column, np.float64)
    return np.unique(column, return_inverse=True)[1].astype(np.float64)


def _problems(
    labels: Sequence[str], groups: NDArray, *, usable: NDArray[np.bool_], seed: int
) -> dict[str, _Problem]:
    found = {}
    for task, class_of in TASKS.items():
        classes = {label: class_of(label) for label in set(labels)}
        names = np.array([classes[label] or "" for label in labels], np.str_)
        rows = np.flatnonzero(usable & (names != ""))
        known, truth = np.unique(names[rows], return_inverse=True)
        numbers = np.unique(groups[rows], return_inverse=True)[1]
        reason = _too_few(known, truth, numbers)
        folds = [] if reason else grouped_folds(truth, numbers, count=FOLDS, seed=seed)
        found[task] = _Problem(rows, truth, numbers, folds, reason)
    return found


def _too_few(names: NDArray[np.str_], truth: NDArray[np.int64], groups: NDArray[np.int64]) -> str:
    """Return why a task cannot be solved, "" where it can."""
    if len(names) < 2:
        return f"only {names[0]}" if len(names) else "no files"
    for number, name in enumerate(names):
        count = len(np.unique(groups[truth == number]))
        if count < FOLDS:
            return f"only {count} independent groups of {name}, fewer than {FOLDS}"
    return ""


def _solve(
    problem: _Problem, facts: Sequence[NDArray], *, seed: int, names: tuple[str, str, str]
) -> Shortcut:
    task, family, stage = names
    n, n_groups = len(problem.rows), len(np.unique(problem.groups))
    if problem.reason:
        nothing = Estimate(None, None, None, n)
        return Shortcut(task, family, stage, n_groups, nothing, problem.reason)
    table = np.column_stack([fact[problem.rows] for fact in facts])
    # Trees of one leaf may differ in the last bit between folds, which is no information.
    scores = _held_out_scores(table, problem, seed=seed).round(9).T
    truth = problem.truth
    # Of two classes, one against the other is the same figure either way around.
    classes = range(len(scores))[1:] if len(scores) == 2 else range(len(scores))

    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        each = [areas(truth == k, scores[k], weights)["auc"] for k in classes]
        return {"auc": np.mean(each, axis=0)}

    found = bootstrap(statistics, problem.groups, resamples=RESAMPLES, seed=seed)
    rarest = min(len(np.unique(problem.groups[truth == k])) for k in np.unique(truth))
    found = not_collapsed(found, {"auc": rarest})
    return Shortcut(task, family, stage, n_groups, estimate_of(found, "auc", n))


def _held_out_scores(
    table: NDArray[np.float64], problem: _Problem, *, seed: int
) -> NDArray[np.float64]:
    """Score each file by a tree that saw neither it nor its group: [m, classes]."""
    scores = np.zeros((len(table), int(problem.truth.max()) + 1))
    for train, test in problem.folds:
        tree = DecisionTreeClassifier(
            max_depth=DEPTH,
            min_samples_leaf=max(1, round(LEAF * len(train))),
            class_weight="balanced",
            random_state=seed,
        )
        tree.fit(table[train], problem.truth[train])
        scores[np.ix_(test, tree.classes_)] = tree.predict_proba(table[test])
    return scores
