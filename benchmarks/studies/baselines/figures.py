"""Figures of an arm from its answers: accuracy, recall, specificity, F1, AUC, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.study.stats.discrimination import areas, rates
from tumorlens.study.stats.intervals import bootstrap, not_collapsed, share

DETECTION = ("accuracy", "sensitivity", "specificity", "f1", "auc")
Row = Mapping[str, Any]  # of an arm's table: repeat, label, group, tumor_probability, threshold
Weights = NDArray[np.float64]
Threshold = Callable[[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]],
                     NDArray[np.float64]]  # fmt: skip


def _own(truth: NDArray, scores: NDArray, thresholds: NDArray) -> NDArray[np.float64]:
    return thresholds


def _half(truth: NDArray, scores: NDArray, thresholds: NDArray) -> NDArray[np.float64]:
    return np.full(len(scores), 0.5)


def _best_on_test(truth: NDArray, scores: NDArray, thresholds: NDArray) -> NDArray[np.float64]:
    """Take the threshold with the best accuracy on the very cases it is judged by: a fault."""
    tried = np.unique(scores)
    accuracy = [((scores >= t) == truth).mean() for t in tried]
    return np.full(len(scores), float(tried[int(np.argmax(accuracy))]))


MEASURES: Mapping[str, Threshold] = {
    "threshold": _own,
    "half": _half,
    "best on test": _best_on_test,
}


def detection_of(rows: Sequence[Row], measure: str = "threshold") -> dict[str, Any]:
    """Give the figures of detection; of several repeats, the mean of theirs.

    Intervals are of a bootstrap over groups, within each repeat alike; a share that no
    resample moves gets Wilson's of as many cases as there are groups.
    """
    truth = np.array([labels.is_tumor(row["label"]) for row in rows], bool)
    scores = np.array([float(row["tumor_probability"]) for row in rows])
    own = np.array([float(row["threshold"]) for row in rows])
    flagged = scores >= MEASURES[measure](truth, scores, own)
    groups = np.array([row["group"] for row in rows])
    repeats = np.array([row["repeat"] for row in rows])

    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        each = []
        for repeat in np.unique(repeats):
            at = repeats == repeat
            found = areas(truth[at], scores[at], weights[:, at])
            found |= rates(truth[at], flagged[at], weights[:, at])
            each.append(found)
        return {name: np.mean([found[name] for found in each], axis=0) for name in DETECTION}

    asked = {"sensitivity": groups[truth], "specificity": groups[~truth], "accuracy": groups}
    found = not_collapsed(
        bootstrap(statistics, groups), {name: len(np.unique(g)) for name, g in asked.items()}
    )
    return _counts(rows) | _plain(found)


def classes_of(rows: Sequence[Row]) -> dict[str, Any]:
    """Give the share of cases whose likeliest atom is in the set of their label.

    So a tumor whose type was not recorded counts as right with any type.
    """
    probabilities = np.array([[float(row[atom]) for atom in labels.ATOMS] for row in rows])
    sets = labels.label_mask([row["label"] for row in rows]) > 0.5
    right = sets[np.arange(len(rows)), probabilities.argmax(1)]
    return _counts(rows) | _share_right(right, rows)


def types_of(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Give the accuracy of the type of tumors whose type is recorded; None where there are none."""
    typed = [row for row in rows if labels.type_of(row["label"])]
    if not typed:
        return None
    own = [[float(row[f"mri_{name}"]) for name in labels.TYPES] for row in typed]
    known = [labels.TYPES.index(str(labels.type_of(row["label"]))) for row in typed]
    right = np.array(own).argmax(1) == np.array(known)
    return _counts(typed) | _share_right(right, typed)


def mismatched(rows: Sequence[Row], *, seed: int = 0) -> float:
    """Give the accuracy at one half where labels stand in another order than answers: a fault."""
    truth = np.array([labels.is_tumor(row["label"]) for row in rows], bool)
    scores = np.array([float(row["tumor_probability"]) for row in rows])
    return float((np.random.default_rng(seed).permutation(scores >= 0.5) == truth).mean())


def _share_right(right: NDArray[np.bool_], rows: Sequence[Row]) -> dict[str, float | None]:
    groups = np.array([row["group"] for row in rows])
    found = bootstrap(lambda weights: {"accuracy": share(weights @ right, weights.sum(1))}, groups)
    return _plain(not_collapsed(found, {"accuracy": len(np.unique(groups))}))


def _counts(rows: Sequence[Row]) -> dict[str, Any]:
    tumors = {row["case"] for row in rows if labels.is_tumor(row["label"])}
    return {
        "n": len({row["case"] for row in rows}),
        "n_tumor": len(tumors),
        "n_groups": len({row["group"] for row in rows}),
        "repeats": len({row["repeat"] for row in rows}),
    }


def _plain(found: Mapping[str, NDArray]) -> dict[str, float | None]:
    return {key: float(value) if np.isfinite(value) else None for key, value in found.items()}
