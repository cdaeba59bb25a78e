"""How well scores tell two classes apart: rates at thresholds, areas under curves, DeLong.

Figures of resamples take weights, [r, n], and return a figure for each resample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from tumorlens.models.performance import predictive_values
from tumorlens.records import Estimate
from tumorlens.study.stats.intervals import (
    ENDS,
    RESAMPLES,
    TAILS,
    Weights,
    bootstrap,
    estimate_of,
    not_collapsed,
    share,
)

# Even steps of the log odds: what a sure network has to say stands close to 0 and to 1.
THRESHOLD_GRID = (1 / (1 + np.exp(-np.linspace(-7, 7, 113)))).round(4)


def detection_statistics(
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    *,
    thresholds: float | NDArray[np.float64],
    groups: NDArray,
    prevalences: Sequence[float] = (),
    resamples: int = RESAMPLES,
) -> dict[str, NDArray[np.float64]]:
    """Return `areas`, `rates` and predictive values of scores, [n], with intervals over groups.

    Rates are of no dimension or [k], as `thresholds` are; `ppv` and `npv` have an axis more, of
    `prevalences`. No interval is without width: where no resample moves a figure, it is Wilson's
    of as many cases as there are groups.
    """
    flagged = np.greater_equal.outer(scores, thresholds)
    at = np.array(prevalences)

    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        found = rates(truth, flagged, weights)
        ppv, npv = _predictive(found, "", at)
        return areas(truth, scores, weights) | found | {"ppv": ppv, "npv": npv}

    found = bootstrap(statistics, groups, resamples=resamples)
    found = not_collapsed(found, independent_groups(truth, flagged, groups))
    bounds = [_predictive(found, end, at) for end in ENDS[1:]]
    for name, (low, high) in zip(("ppv", "npv"), zip(*bounds, strict=True), strict=True):
        stuck = ~(found[f"{name}_low"] < found[f"{name}_high"]) & np.isfinite(found[name])
        found[f"{name}_low"] = np.where(stuck, low, found[f"{name}_low"])
        found[f"{name}_high"] = np.where(stuck, high, found[f"{name}_high"])
    return found


def _predictive(
    found: Mapping[str, NDArray[np.float64]], end: str, prevalences: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return PPV and NPV of one end of both rates, on a last axis of prevalences."""
    sensitivity, specificity = found[f"sensitivity{end}"], found[f"specificity{end}"]
    return predictive_values(sensitivity[..., None], specificity[..., None], prevalences)


def independent_groups(
    truth: NDArray[np.bool_], flagged: NDArray[np.bool_], groups: NDArray
) -> dict[str, int | NDArray[np.int64]]:
    """Count the groups that each figure is a share of; pairs of an area as the rarer class."""
    numbers = np.unique(groups, return_inverse=True)[1]
    tumors, healthy = (len(np.unique(numbers[rows])) for rows in (truth, ~truth))
    columns = flagged.reshape(len(flagged), -1).T
    alarms = [len(np.unique(numbers[rows])) for rows in columns]
    all_groups, rarer = len(np.unique(numbers)), min(tumors, healthy)
    return {
        "auc": rarer,
        "average_precision": tumors,
        "sensitivity": tumors,
        "specificity": healthy,
        "accuracy": all_groups,
        "precision": np.array(alarms).reshape(flagged.shape[1:]),
        "f1": tumors,
        "macro_f1": rarer or all_groups,
    }


def rates(
    truth: NDArray[np.bool_], flagged: NDArray[np.bool_], weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """Return what follows from four counts: [r] of cases flagged [n], [r, k] of [n, k].

    Sensitivity, specificity, accuracy, precision, F1 of tumors, and the mean of F1 of both
    classes; NaN where there is no case to count.
    """
    shape = (len(weights), *flagged.shape[1:])
    flags = flagged.reshape(len(flagged), -1).astype(float)
    tumors, healthy = weights * truth, weights * ~truth
    tp, fp = tumors @ flags, healthy @ flags
    positive, negative = tumors.sum(1, keepdims=True), healthy.sum(1, keepdims=True)
    tn, fn = negative - fp, positive - tp
    f1, f1_healthy = share(2 * tp, 2 * tp + fp + fn), share(2 * tn, 2 * tn + fp + fn)
    found = {
        "sensitivity": share(tp, positive),
        "specificity": share(tn, negative),
        "accuracy": share(tp + tn, positive + negative),
        "precision": share(tp, tp + fp),
        "f1": f1,
        "macro_f1": _mean_of_known(np.stack([f1, f1_healthy])),
    }
    return {name: values.reshape(shape) for name, values in found.items()}


def _mean_of_known(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average over the first axis; what is NaN does not count."""
    known = np.isfinite(table)
    return share(np.where(known, table, 0.0).sum(0), known.sum(0).astype(float))


def areas(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """Return the area under the ROC curve, ties counting half, and average precision, [r] each.

    Cases whose score is NaN are left out; both are NaN where a class has no weight.
    """
    order = np.argsort(-scores, kind="stable")[: (~np.isnan(scores)).sum()]  # NaN last
    if not len(order):
        nothing = np.full(len(weights), np.nan)
        return {"auc": nothing, "average_precision": nothing}
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))  # of each distinct score
    sorted_weights, positive = weights[:, order], truth[order]
    tumors = np.add.reduceat(sorted_weights * positive, starts, axis=1)
    healthy = np.add.reduceat(sorted_weights * ~positive, starts, axis=1)
    tp, fp = np.cumsum(tumors, axis=1), np.cumsum(healthy, axis=1)
    above = (healthy * (tp - tumors / 2)).sum(1)
    precision = np.where(tp > 0, tp / np.maximum(tp + fp, 1), 0.0)
    average = share((tumors * precision).sum(1), tp[:, -1])
    return {
        "auc": share(above, tp[:, -1] * fp[:, -1]),
        "average_precision": np.where(fp[:, -1] > 0, average, np.nan),
    }


@dataclass(frozen=True)
class Areas:
    """Areas of k scores over the same cases, and how they vary together."""

    auc: NDArray[np.float64]  # [k]
    covariance: NDArray[np.float64]  # [k, k]

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the first area; NaN where it does not vary, as at 1."""
        return _interval(float(self.auc[0]), float(self.covariance[0, 0]), within=(0.0, 1.0))

    def difference(self) -> tuple[float, float, float, float]:
        """Return the first area minus the second, its interval and the two-sided p-value."""
        gap = float(self.auc[0] - self.auc[1])
        c = self.covariance
        variance = float(c[0, 0] + c[1, 1] - 2 * c[0, 1])
        low, high = _interval(gap, variance, within=(-1.0, 1.0))
        p = 2 * norm.sf(abs(gap) / np.sqrt(variance)) if np.isfinite(low) else np.nan
        return gap, low, high, float(p)


def delong(truth: NDArray[np.bool_], *scores: NDArray[np.float64]) -> Areas:
    """Return the areas of scores, [n] each; NaN where a class has fewer than two cases.

    After DeLong, DeLong and Clarke-Pearson (1988), computed from midranks (Sun and Xu, 2014).
    Cases count as independent; where slices of one patient are among them, the bootstrap over
    groups is the honest interval and this one the narrower.
    """
    positive, negative = int(truth.sum()), int((~truth).sum())
    if positive < 2 or negative < 2:
        nothing = np.full((len(scores), len(scores)), np.nan)
        return Areas(nothing[0].copy(), nothing)
    placed = [_placements(score[truth], score[~truth]) for score in scores]
    of_positive = np.stack([pair[0] for pair in placed])
    of_negative = np.stack([pair[1] for pair in placed])
    covariance = np.cov(of_positive) / positive + np.cov(of_negative) / negative
    return Areas(of_positive.mean(1), np.atleast_2d(covariance))


def _placements(
    positive: NDArray[np.float64], negative: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each positive's share of negatives below it, each negative's of positives above."""
    together = rankdata(np.concatenate([positive, negative]))
    above = (together[: len(positive)] - rankdata(positive)) / len(negative)
    below = 1 - (together[len(positive) :] - rankdata(negative)) / len(positive)
    return above, below


def _interval(value: float, variance: float, *, within: tuple[float, float]) -> tuple[float, float]:
    if not np.isfinite(variance) or variance <= 1e-15:
        return np.nan, np.nan
    low, high = value + norm.ppf(TAILS) * np.sqrt(variance)
    return max(within[0], float(low)), min(within[1], float(high))


def matched_area(
    truth: NDArray[np.bool_],
    scores: NDArray[np.float64],
    *,
    at: NDArray[np.float64],
    within: float,
    groups: NDArray,
) -> Estimate:
    """Return the AUC over pairs of a positive and a negative case that are matched, by groups.

    A pair counts where `at`, [n], differs by at most `within`: what goes along with `at` alone
    can win no pair. `n` of the figure is the number of pairs; none: no value.
    """
    positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)
    if not len(positive) or not len(negative):
        return Estimate(None, None, None, 0)
    matched = np.abs(at[positive, None] - at[None, negative]) <= within
    difference = scores[positive, None] - scores[None, negative]
    won = matched * ((difference > 0) + 0.5 * (difference == 0))

    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        ours, theirs = weights[:, positive], weights[:, negative]
        pairs = ((ours @ matched) * theirs).sum(1)
        return {"auc": share(((ours @ won) * theirs).sum(1), pairs)}

    independent = min(len(np.unique(groups[positive])), len(np.unique(groups[negative])))
    found = not_collapsed(bootstrap(statistics, groups), {"auc": independent})
    return estimate_of(found, "auc", int(matched.sum()))
