"""Rates and areas of a detector from counts, many bootstrap resamples at once."""

import numpy as np
from numpy.typing import NDArray

from tumorlens.study.stats.intervals import bootstrap, not_collapsed

PREVALENCES = (0.01, 0.05, 0.25, 0.5)
# Thresholds in even steps of the log odds, since a sure network answers close to 0 and to 1.
GRID = (1 / (1 + np.exp(-np.linspace(-7, 7, 113)))).round(4)
Weights = NDArray[np.float64]  # [r, n]: how often each case counts, in r resamples


def rates_with_intervals(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], *, threshold: float, groups: NDArray
) -> dict[str, NDArray[np.float64]]:
    """Return `areas` and the `rates` at a threshold, with `_low` and `_high` of a bootstrap.

    The bootstrap is over `groups`, [n]; a rate that no resample moves has Wilson's interval.
    """
    flagged = scores >= threshold
    found = bootstrap(
        lambda weights: areas(truth, scores, weights) | rates(truth, flagged, weights), groups
    )
    independent = {"sensitivity": groups[truth], "specificity": groups[~truth], "accuracy": groups}
    return not_collapsed(found, {name: len(np.unique(own)) for name, own in independent.items()})


def rates(
    truth: NDArray[np.bool_], flagged: NDArray[np.bool_], weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """Return what follows from four counts, [r] each; predictive values are [r, prevalences]."""
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
    """Return PPV and NPV at PREVALENCES, on a last axis of rates [..., 1], by Bayes' rule."""
    p = np.array(PREVALENCES)
    ppv = share(sensitivity * p, sensitivity * p + (1 - specificity) * (1 - p))
    npv = share(specificity * (1 - p), specificity * (1 - p) + (1 - sensitivity) * p)
    return ppv, npv


def areas(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """Return the area under the ROC curve, ties counting half, and average precision, [r] each."""
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


def ratio(part: float, whole: float) -> float:
    """Divide; NaN where there is nothing to divide by."""
    return float(part / whole) if whole else np.nan
