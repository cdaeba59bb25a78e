"""How two classes differ in many measures: effect sizes, corrected p-values, rank correlation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tumorlens.json_records import to_json


@dataclass(frozen=True)
class EffectSize:
    """How a measure differs between two classes; None where they do not show it."""

    delta: float | None = None  # Cliff's, or the rank-biserial correlation: -1 to 1
    cohen_d: float | None = None  # pooled deviation
    p: float | None = None  # Mann-Whitney, two-sided


def effect_size(a: NDArray[np.float64], b: NDArray[np.float64]) -> EffectSize:
    """Compare values of two classes; above 0 where `b` is larger. NaN among them is left out."""
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if len(a) < 2 or len(b) < 2:
        return EffectSize()
    test = stats.mannwhitneyu(b, a, method="asymptotic")
    pooled = (a.var(ddof=1) * (len(a) - 1) + b.var(ddof=1) * (len(b) - 1)) / (len(a) + len(b) - 2)
    gap = float(b.mean() - a.mean())
    return EffectSize(
        delta=to_json(2 * test.statistic / (len(a) * len(b)) - 1),
        cohen_d=to_json(gap / np.sqrt(pooled)) if pooled > 0 else None,
        p=to_json(test.pvalue),
    )


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for their number by Holm's method (1979); None stays None."""
    corrected: list[float | None] = [None] * len(p)
    known = sorted((value, i) for i, value in enumerate(p) if value is not None)
    largest = 0.0
    for rank, (value, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * value))
        corrected[i] = largest
    return corrected


def rank_correlation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Spearman's correlation of columns, [f, f], over rows in which all are known."""
    known = values[np.isfinite(values).all(1)]
    if len(known) < 3:
        return np.full((values.shape[1], values.shape[1]), np.nan)
    ranks = stats.rankdata(known, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # a constant column
        return np.corrcoef(ranks, rowvar=False)


def group_means(values: NDArray[np.float64], groups: NDArray) -> NDArray[np.float64]:
    """Average rows, [n, f], by group: [groups, f]; NaN is left out where others are known."""
    numbers = np.unique(groups, return_inverse=True)[1]
    known = np.isfinite(values)
    sums, counts = np.zeros((2, int(numbers.max()) + 1, values.shape[1]))
    np.add.at(sums, numbers, np.where(known, values, 0.0))
    np.add.at(counts, numbers, known)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
