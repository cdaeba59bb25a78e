"""The variance of the area under a ROC curve, and of the difference of two on the same cases.

After DeLong, DeLong and Clarke-Pearson (1988), computed from midranks (Sun and Xu, 2014).
Cases count as independent; where slices of one patient are among them, the bootstrap over
groups is the honest interval and this one the narrower.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from tumorlens.study.stats.intervals import TAILS


@dataclass(frozen=True)
class Areas:
    """Areas of k scores over the same cases, and how they vary together."""

    auc: NDArray[np.float64]  # [k]
    covariance: NDArray[np.float64]  # [k, k]

    def interval(self, k: int = 0) -> tuple[float, float]:
        """Give the 95 % interval of one area; NaN where it does not vary, as at an area of 1."""
        return _interval(float(self.auc[k]), float(self.covariance[k, k]), within=(0.0, 1.0))

    def difference(self) -> tuple[float, float, float, float]:
        """Give the first area minus the second, its interval and the two-sided p-value."""
        gap = float(self.auc[0] - self.auc[1])
        c = self.covariance
        variance = float(c[0, 0] + c[1, 1] - 2 * c[0, 1])
        low, high = _interval(gap, variance, within=(-1.0, 1.0))
        p = 2 * norm.sf(abs(gap) / np.sqrt(variance)) if np.isfinite(low) else np.nan
        return gap, low, high, float(p)


def delong(truth: NDArray[np.bool_], *scores: NDArray[np.float64]) -> Areas:
    """Give the areas of scores, [n] each; NaN where a class has fewer than two cases."""
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
    """Give each positive the share of negatives below it, each negative that of positives above."""
    together = rankdata(np.concatenate([positive, negative]))
    above = (together[: len(positive)] - rankdata(positive)) / len(negative)
    below = 1 - (together[len(positive) :] - rankdata(negative)) / len(positive)
    return above, below


def _interval(value: float, variance: float, *, within: tuple[float, float]) -> tuple[float, float]:
    if not np.isfinite(variance) or variance <= 1e-15:
        return np.nan, np.nan
    low, high = value + norm.ppf(TAILS) * np.sqrt(variance)
    return max(within[0], float(low)), min(within[1], float(high))
