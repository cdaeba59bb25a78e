"""Intervals by bootstrap over groups, because slices of one patient are not independent."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
Statistics = Callable[[NDArray[np.float64]], Mapping[str, float]]


def with_intervals(
    statistics: Statistics, groups: NDArray, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """Give each statistic with `_low` and `_high`, the central 95 % of the resamples.

    `statistics` takes weights of the cases, [n]; whole groups, [n], are drawn with
    replacement (Field and Welsh, 2007), so a case weighs as often as its group was drawn. A
    resample that cannot show a statistic (NaN) is left out of its interval.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    count = int(numbers.max()) + 1 if len(numbers) else 0
    values = dict(statistics(np.ones(len(groups))))
    rng = np.random.default_rng(seed)
    drawn = [
        statistics(
            np.bincount(rng.integers(0, count, count), minlength=count)[numbers].astype(float)
        )
        for _ in range(resamples if count > 1 else 0)
    ]
    found = dict(values)
    for name in values:
        column = np.array([row[name] for row in drawn], float)
        column = column[np.isfinite(column)]
        tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        low, high = np.quantile(column, tails) if len(column) else (np.nan, np.nan)
        found[f"{name}_low"], found[f"{name}_high"] = float(low), float(high)
    return found
