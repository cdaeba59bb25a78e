"""What other thresholds would have given: ROC, precision and recall, and a table."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions
from tumorlens.study.stats.discrimination import THRESHOLD_GRID, detection_statistics
from tumorlens.study.stats.intervals import ENDS, nan_to_none

CURVE_POINTS = 200
THRESHOLDS = (0.01, 0.02, 0.05, *(round(0.1 * k, 1) for k in range(1, 10)), 0.95, 0.98, 0.99)


def roc_points(
    answers: LabeledPredictions, rows: NDArray[np.bool_]
) -> dict[str, list[float]] | None:
    """Give the ROC curve of some rows, at most CURVE_POINTS points; None with one class."""
    truth = answers.truth[rows]
    if truth.all() or not truth.any():
        return None
    fpr, tpr, thresholds = roc_curve(truth, answers.scores[rows])
    kept = spread(len(fpr))
    return {
        "fpr": fpr[kept].round(5).tolist(),
        "tpr": tpr[kept].round(5).tolist(),
        "threshold": np.minimum(thresholds, 1.0)[kept].round(6).tolist(),
    }


def precision_recall_points(
    answers: LabeledPredictions, rows: NDArray[np.bool_]
) -> dict[str, list[float]] | None:
    """Give precision by recall of some rows, at most CURVE_POINTS points; None with one class."""
    truth = answers.truth[rows]
    if truth.all() or not truth.any():
        return None
    precision, recall, thresholds = precision_recall_curve(truth, answers.scores[rows])
    kept = spread(len(recall))
    return {
        "recall": recall[kept].round(5).tolist(),
        "precision": precision[kept].round(5).tolist(),
        "threshold": np.append(thresholds, 1.0)[kept].round(6).tolist(),
    }


def spread(count: int, points: int = CURVE_POINTS) -> NDArray[np.int64]:
    """Choose at most `points` positions out of `count`, evenly, the first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(points, count)).astype(np.int64))


def threshold_table(answers: LabeledPredictions, rows: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Tell sensitivity, specificity and precision with intervals, and what is flagged.

    A row for each threshold, the bundle's own marked. The table says what another choice would
    have done here; choosing from it and reporting the same scans would flatter.
    """
    thresholds = np.array(sorted({*THRESHOLDS, answers.threshold}))
    flagged = (answers.scores[rows][:, None] >= thresholds).sum(0)
    found = _by_threshold(answers, rows, thresholds)
    columns = [name + end for name in ("sensitivity", "specificity", "precision") for end in ENDS]
    return [
        {"threshold": threshold, "chosen": threshold == answers.threshold}
        | {name: found[name][i] for name in columns}
        | {"flagged": int(flagged[i])}
        | {name: found[name] for name in ("n", "n_tumor", "n_healthy")}
        for i, threshold in enumerate(thresholds.tolist())
    ]


def threshold_sweep(answers: LabeledPredictions, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Tell sensitivity and specificity with intervals along many thresholds, in columns.

    Thresholds are even steps of the log odds and the bundle's own; for whoever moves a threshold
    and wants to see what it does. What `threshold_table` says of choosing holds here too.
    """
    thresholds = np.unique(np.append(THRESHOLD_GRID, answers.threshold))
    found = _by_threshold(answers, rows, thresholds)
    names = ("n", "n_tumor", "n_healthy", "n_groups", "threshold")
    columns = [name + end for name in ("sensitivity", "specificity") for end in ENDS]
    rounded = {name: [v if v is None else round(v, 5) for v in found[name]] for name in columns}
    return {name: found[name] for name in names} | rounded


def _by_threshold(
    answers: LabeledPredictions, rows: NDArray[np.bool_], thresholds: NDArray[np.float64]
) -> dict[str, Any]:
    truth, groups = answers.truth[rows], answers.groups[rows]
    found = detection_statistics(truth, answers.scores[rows], thresholds=thresholds, groups=groups)
    return {
        "n": len(truth),
        "n_tumor": int(truth.sum()),
        "n_healthy": int((~truth).sum()),
        "n_groups": len(np.unique(groups)),
        "threshold": thresholds.tolist(),
        **nan_to_none(found),
    }
