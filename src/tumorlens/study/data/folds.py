"""Folds of whole groups: in each, one piece is held out, and one of the rest is for choosing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import SplitError
from tumorlens.records import Case
from tumorlens.study.data.groups import Groups, grouped_folds
from tumorlens.study.data.splits import Split, fill_gaps

INNER_PIECES = 6  # one of them is the validation part of a fold, about 17 % of its rest


def fold_parts(
    cases: Sequence[Case], groups: NDArray[np.int64], *, folds: int, seed: int
) -> list[list[str]]:
    """Return each fold's part of each case, by whole groups, stratified by data set and label.

    In fold k the k-th piece is `test`; of the rest, one piece is `val` and the others `train`.
    Raises SplitError where a label has fewer groups than there are folds, or than three.
    """
    strata = np.array([f"{case.dataset}/{case.label}" for case in cases])
    _check(strata, groups, folds=folds)
    return [
        _with_validation(test, strata, groups, seed=seed).tolist()
        for _, test in grouped_folds(strata, groups, count=folds, seed=seed)
    ]


def _check(strata: NDArray[np.str_], groups: NDArray[np.int64], *, folds: int) -> None:
    if folds < 2:
        raise SplitError("folds", f"{folds} is fewer than two", "Give --folds at least 2.")
    for stratum in np.unique(strata):
        count = len(np.unique(groups[strata == stratum]))
        if count < max(3, folds):
            fact = f"has {count} independent groups, too few for {folds} folds"
            fix = "Take fewer folds, add scans of other patients, or leave this class out."
            raise SplitError(stratum, fact, fix)


def _with_validation(
    test: NDArray[np.int64], strata: NDArray[np.str_], groups: NDArray[np.int64], *, seed: int
) -> NDArray[np.object_]:
    parts = np.full(len(strata), "train", object)
    parts[test] = "test"
    rest = np.flatnonzero(parts == "train")
    largest = int(np.unique(strata[rest], return_counts=True)[1].max())
    pieces = min(INNER_PIECES, len(np.unique(groups[rest])), largest)
    _, inside = grouped_folds(strata[rest], groups[rest], count=pieces, seed=seed)[0]
    parts[rest[inside]] = "val"
    fill_gaps(parts, strata, groups, needed=("val",))
    return parts


def groups_of(split: Split, cases: Sequence[Case]) -> Groups:
    """Return the groups that a split file knows of, for the cases it names."""
    keys = [case.key for case in cases]
    numbers = [
        np.unique([column[key] for key in keys], return_inverse=True)[1].astype(np.int64)
        for column in (split.groups, split.image_ids)
    ]
    return Groups(numbers[0], numbers[1], split.audit)
