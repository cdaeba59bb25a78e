"""How well tumors are told from healthy scans, at the bundle's threshold and at any."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from tumorlens.study.evaluation.labeled_predictions import Answers, plain
from tumorlens.study.stats.delong import delong
from tumorlens.study.stats.intervals import bootstrap, not_collapsed, wilson

PREVALENCES = (0.01, 0.05, 0.25, 0.5)
Weights = NDArray[np.float64]  # [r, n]: how often each case counts, in r resamples


def detection_figures(answers: Answers, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Give AUC, rates at the threshold and predictive values with intervals, of some rows.

    Figures that need both classes are None where one is missing. `_low` and `_high` are of the
    bootstrap over groups, `_delong_` and `_wilson_` of formulas that take cases as independent.
    """
    truth, scores = answers.truth[rows], answers.scores[rows]
    flagged, groups = scores >= answers.threshold, answers.groups[rows]

    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        return areas(truth, scores, weights) | rates(truth, flagged, weights)

    independent = {"sensitivity": groups[truth], "specificity": groups[~truth], "accuracy": groups}
    found = plain(not_collapsed(
        bootstrap(statistics, groups),
        {name: len(np.unique(own)) for name, own in independent.items()},
    ))  # fmt: skip
    counts = {
        "n": int(rows.sum()),
        "n_tumor": int(truth.sum()),
        "n_healthy": int((~truth).sum()),
        "n_groups": len(np.unique(groups)),
        "threshold": answers.threshold,
        "confusion": confusion_matrix(truth, flagged, labels=[False, True]).tolist(),
    }
    return counts | _predictive(found) | _formulas(truth, scores, flagged)


def rates(
    truth: NDArray[np.bool_], flagged: NDArray[np.bool_], weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """Give what follows from four counts, [r] each; predictive values are [r, prevalences]."""
    tp, fn = weights @ (truth & flagged), weights @ (truth & ~flagged)
    fp, tn = weights @ (~truth & flagged), weights @ (~truth & ~flagged)
    sensitivity, specificity = share(tp, tp + fn), share(tn, tn + fp)
    f1, f1_healthy = share(2 * tp, 2 * tp + fp + fn), share(2 * tn, 2 * tn + fp + fn)
    ppv, npv = predictive_values(sensitivity[:, None], specificity[:, None])
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "accuracy": share(tp + tn, tp + tn + fp + fn),
        "f1": f1,
        "macro_f1": _mean_of_known(f1, f1_healthy),
        "ppv": ppv,
        "npv": npv,
    }


def _mean_of_known(*values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average arrays of one shape; what is NaN does not count."""
    table = np.stack(values)
    known = np.isfinite(table)
    return share(np.where(known, table, 0.0).sum(0), known.sum(0).astype(float))


def predictive_values(
    sensitivity: NDArray[np.float64], specificity: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give PPV and NPV at PREVALENCES, on a last axis of rates [..., 1], by Bayes' rule."""
    p = np.array(PREVALENCES)
    ppv = share(sensitivity * p, sensitivity * p + (1 - specificity) * (1 - p))
    npv = share(specificity * (1 - p), specificity * (1 - p) + (1 - sensitivity) * p)
    return ppv, npv


def areas(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """Give the area under the ROC curve, ties counting half, and average precision, [r] each."""
    if not len(scores):
        nothing = np.full(len(weights), np.nan)
        return {"auc": nothing, "average_precision": nothing}
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))  # of each distinct score
    sorted_weights, positive = weights[:, order], truth[order]
    own = np.add.reduceat(sorted_weights * positive, starts, axis=1)
    other = np.add.reduceat(sorted_weights * ~positive, starts, axis=1)
    tp, fp = np.cumsum(own, axis=1), np.cumsum(other, axis=1)
    above = (other * (tp - own / 2)).sum(1)
    precision = np.where(tp > 0, tp / np.maximum(tp + fp, 1), 0.0)
    both = fp[:, -1] > 0
    average = share((own * precision).sum(1), tp[:, -1])
    return {
        "auc": share(above, tp[:, -1] * fp[:, -1]),
        "average_precision": np.where(both, average, np.nan),
    }


def share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide; NaN where there is nothing to divide by."""
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _predictive(found: dict[str, Any]) -> dict[str, Any]:
    """Turn the columns of predictive values into a row for each prevalence."""
    names = [f"{value}{bound}" for value in ("ppv", "npv") for bound in ("", "_low", "_high")]
    columns = {name: found.pop(name) for name in names}
    rows = [
        {"prevalence": p} | {name: column[i] for name, column in columns.items()}
        for i, p in enumerate(PREVALENCES)
    ]
    return found | {"predictive_values": rows}


def _formulas(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], flagged: NDArray[np.bool_]
) -> dict[str, float | None]:
    right = truth == flagged
    asked = {"sensitivity": truth, "specificity": ~truth, "accuracy": np.ones(len(truth), bool)}
    bounds = {"auc_delong": delong(truth, scores).interval()} | {
        f"{name}_wilson": wilson(right[rows].sum(), rows.sum()) for name, rows in asked.items()
    }
    return plain({f"{n}_{side}": v for n, pair in bounds.items()
                  for side, v in zip(("low", "high"), pair, strict=True)})  # fmt: skip
