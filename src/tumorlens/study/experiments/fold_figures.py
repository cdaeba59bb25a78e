"""The figures of a cross-validation: over cases, by bootstrap, and over folds, as a spread."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import TrainingError
from tumorlens.study.stats.discrimination import areas, rates, share
from tumorlens.study.stats.intervals import Weights, bootstrap, nan_to_none

DETECTION = ("auc", "sensitivity", "specificity", "accuracy", "f1")
Row = Mapping[str, str]  # of predictions.csv
Statistics = Callable[[Weights], dict[str, NDArray[np.float64]]]  # to [r] each
INTERVALS = "95 %, bootstrap over groups, 1000 resamples, seed 0; within a repeat, then the mean"


def cross_figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Give detection (all, CT, MRI) and type of out-of-fold rows, and of each set among several.

    A sensitivity uses the threshold of each row's own fold. A figure of several repeats is
    the mean of theirs, so that a case predicted five times does not count as five. Raises
    TrainingError where no row has an answer.
    """
    answered = [row for row in rows if not row["error"]]
    if not answered:
        fact, fix = "could read none of the scans held out", "Look into predictions.csv."
        raise TrainingError("cross-validation", fact, fix)
    return {
        "n": len({row["case"] for row in rows}),
        "unreadable": len({row["case"] for row in rows if row["error"]}),
        "intervals": INTERVALS,
        **_answered(answered),
        "sets": {name: _answered(part) for name, part in _by_set(answered).items()},
    }


def _answered(rows: Sequence[Row]) -> dict[str, Any]:
    modality = np.array([labels.modality_of(r["label"]) or r["modality"] for r in rows])
    parts = {"all": np.ones(len(rows), bool)}
    parts |= {name: modality == name for name in labels.MODALITIES if (modality == name).any()}
    return {
        "detection": {
            name: _summary([rows[i] for i in np.flatnonzero(part).tolist()], _detection)
            for name, part in parts.items()
        },
        "type": _typed(rows),
    }


def _by_set(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Part rows by the data set that stands in front of their keys; nothing where it is one."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["case"].partition("/")[0], []).append(row)
    return found if len(found) > 1 else {}


def _typed(rows: Sequence[Row]) -> dict[str, Any] | None:
    known = [row for row in rows if labels.type_of(row["label"])]
    return _summary(known, _type) if known else None


def _summary(
    rows: Sequence[Row], statistics: Callable[[Sequence[Row]], Statistics]
) -> dict[str, Any]:
    """Give each figure with its interval over groups and its spread over folds."""
    tumors = [labels.is_tumor(row["label"]) for row in rows]
    cases = {row["case"]: tumor for row, tumor in zip(rows, tumors, strict=True)}
    groups = np.array([row["group"] for row in rows])
    repeats = _positions([row["repeat"] for row in rows])
    each = [(at, statistics([rows[i] for i in at])) for at in repeats]

    def over_repeats(weights: Weights) -> dict[str, NDArray[np.float64]]:
        found = [one(weights[:, at]) for at, one in each]
        return {name: np.mean([row[name] for row in found], axis=0) for name in found[0]}

    folds = [
        statistics([rows[i] for i in at])(np.ones((1, len(at))))
        for at in _positions([(row["repeat"], row["fold"]) for row in rows])
    ]
    return {
        "n": len(cases),
        "n_tumor": sum(cases.values()),
        "n_groups": len(np.unique(groups)),
        **nan_to_none(bootstrap(over_repeats, groups)),
        "folds": {name: _spread([float(row[name][0]) for row in folds]) for name in folds[0]},
    }


def _positions(keys: Sequence[Any]) -> list[NDArray[np.int64]]:
    """Give the positions of each key, [.], in the order in which keys come."""
    found: dict[Any, list[int]] = {}
    for position, key in enumerate(keys):
        found.setdefault(key, []).append(position)
    return [np.array(at) for at in found.values()]


def _spread(values: Sequence[float]) -> dict[str, Any]:
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return {"n": 0, "mean": None, "deviation": None, "values": [None] * len(values)}
    return {
        "n": len(finite),
        "mean": float(np.mean(finite)),
        "deviation": float(np.std(finite, ddof=1)) if len(finite) > 1 else None,
        "values": [nan_to_none(value) for value in values],
    }


def _detection(rows: Sequence[Row]) -> Statistics:
    truth = np.array([labels.is_tumor(row["label"]) for row in rows], bool)
    scores = np.array([float(row["tumor_probability"]) for row in rows])
    flagged = scores >= np.array([float(row["threshold"]) for row in rows])

    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        found = areas(truth, scores, weights) | rates(truth, flagged, weights)
        return {name: found[name] for name in DETECTION}

    return statistics


def _type(rows: Sequence[Row]) -> Statistics:
    right = np.array([_best_type(row) == labels.type_of(row["label"]) for row in rows], bool)
    return lambda weights: {"accuracy": share(weights @ right, weights.sum(1))}


def _best_type(row: Row) -> str:
    """Give the likeliest type given a tumor; a slice taken for CT has none, and counts as wrong."""
    given = {name: float(row[f"p_{name}"] or -1) for name in labels.TYPES}
    best = max(given, key=lambda name: given[name])
    return best if given[best] >= 0 else ""
