"""Folds of whole groups: in each, one piece is held out, and one of the rest is for choosing."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from tumorlens.errors import SplitError
from tumorlens.records import Case
from tumorlens.study.data.splits import Groups, Split

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
    outer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return [
        _with_validation(held, strata, groups, seed=seed).tolist()
        for _, held in outer.split(strata, strata, groups)
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
    held: NDArray[np.int64], strata: NDArray[np.str_], groups: NDArray[np.int64], *, seed: int
) -> NDArray[np.object_]:
    parts = np.full(len(strata), "train", object)
    parts[held] = "test"
    rest = np.flatnonzero(parts == "train")
    largest = int(np.unique(strata[rest], return_counts=True)[1].max())
    pieces = min(INNER_PIECES, len(np.unique(groups[rest])), largest)
    inner = StratifiedGroupKFold(pieces, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A label with fewer cases than pieces is no news: it is seen to below.
        warnings.simplefilter("ignore", UserWarning)
        _, inside = next(inner.split(rest, strata[rest], groups[rest]))
    parts[rest[inside]] = "val"
    for stratum in np.unique(strata):
        own = strata == stratum
        learned, counts = np.unique(groups[own & (parts == "train")], return_counts=True)
        if not (own & (parts == "val")).any() and len(learned) > 1:
            parts[groups == learned[counts.argmin()]] = "val"
    return parts


def groups_of(split: Split, cases: Sequence[Case]) -> Groups:
    """Return the groups that a split file knows of, for the cases it names."""
    keys = [case.key for case in cases]
    numbers = [
        np.unique([column[key] for key in keys], return_inverse=True)[1].astype(np.int64)
        for column in (split.groups, split.image_ids)
    ]
    return Groups(numbers[0], numbers[1], split.audit)
