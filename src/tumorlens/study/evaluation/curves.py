"""What other thresholds would have given: ROC, precision and recall, and a table."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from tumorlens.study.evaluation.labeled_predictions import Answers, plain
from tumorlens.study.stats.intervals import bootstrap
from tumorlens.study.stats.rates import GRID, share

CURVE_POINTS = 200
THRESHOLDS = (0.01, 0.02, 0.05, *(round(0.1 * k, 1) for k in range(1, 10)), 0.95, 0.98, 0.99)


def roc_points(answers: Answers, rows: NDArray[np.bool_]) -> dict[str, list[float]] | None:
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
    answers: Answers, rows: NDArray[np.bool_]
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


def threshold_table(answers: Answers, rows: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Tell sensitivity, specificity and precision with intervals, and what is flagged.

    A row for each threshold, the bundle's own marked. The table says what another choice would
    have done here; choosing from it and reporting the same scans would flatter.
    """
    truth, scores = answers.truth[rows], answers.scores[rows]
    thresholds = sorted({*THRESHOLDS, answers.threshold})
    flagged = scores[:, None] >= thresholds
    right = truth[:, None] == flagged

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        tp, tn = (weights * truth) @ right, (weights * ~truth) @ right
        return {
            "sensitivity": share(tp, (weights @ truth)[:, None]),
            "specificity": share(tn, (weights @ ~truth)[:, None]),
            "precision": share(tp, weights @ flagged),
        }

    found = plain(bootstrap(statistics, answers.groups[rows]))
    counts = {"n": len(truth), "n_tumor": int(truth.sum()), "n_healthy": int((~truth).sum())}
    return [
        {"threshold": threshold, "chosen": threshold == answers.threshold}
        | {name: column[i] for name, column in found.items()}
        | {"flagged": int(flagged[:, i].sum())}
        | counts
        for i, threshold in enumerate(thresholds)
    ]


def threshold_sweep(answers: Answers, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Tell sensitivity and specificity with intervals along many thresholds, in columns.

    Thresholds are even steps of the log odds and the bundle's own; for whoever moves a threshold
    and wants to see what it does. What `threshold_table` says of choosing holds here too.
    """
    truth, scores = answers.truth[rows], answers.scores[rows]
    thresholds = np.unique(np.append(GRID, answers.threshold))
    order = np.argsort(-scores, kind="stable")
    flagged = np.searchsorted(-scores[order], -thresholds, side="right")  # scans at or above each

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        sick, healthy = ((weights * own)[:, order] for own in (truth, ~truth))
        hits, alarms = (np.pad(np.cumsum(w, 1), ((0, 0), (1, 0)))[:, flagged]
                        for w in (sick, healthy))  # fmt: skip
        totals = [w.sum(1)[:, None] for w in (sick, healthy)]
        return {
            "sensitivity": share(hits, totals[0]),
            "specificity": share(totals[1] - alarms, totals[1]),
        }

    counts = {"n": len(truth), "n_tumor": int(truth.sum()), "n_healthy": int((~truth).sum())}
    return {
        **counts,
        "n_groups": len(np.unique(answers.groups[rows])),
        "threshold": thresholds.tolist(),
        **plain({name: np.round(column, 5) for name, column in
                 bootstrap(statistics, answers.groups[rows]).items()}),
    }  # fmt: skip
