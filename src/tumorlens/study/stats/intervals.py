"""Intervals: bootstrap over groups, because slices of one patient are not independent; Wilson."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
_Z = 1.959963984540054  # the normal quantile of the upper tail
_AT_ONCE = 200_000  # weights in memory at a time: what a cache holds
Statistics = Callable[[NDArray[np.float64]], Mapping[str, float]]
ManyStatistics = Callable[[NDArray[np.float64]], Mapping[str, NDArray[np.float64]]]


def with_intervals(
    statistics: Statistics, groups: NDArray, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """Give each statistic with `_low` and `_high`, the central 95 % of the resamples.

    `statistics` takes weights of the cases, [n]; whole groups, [n], are drawn with
    replacement (Field and Welsh, 2007), so a case weighs as often as its group was drawn. A
    resample that cannot show a statistic (NaN) is left out of its interval.
    """
    found = dict(statistics(np.ones(len(groups))))
    drawn = [
        statistics(weights)
        for some in _weights(groups, resamples=resamples, seed=seed)
        for weights in some
    ]
    for name in list(found):
        column = np.array([row[name] for row in drawn], float)
        low, high = _central(column[:, None])
        found[f"{name}_low"], found[f"{name}_high"] = float(low[0]), float(high[0])
    return found


def bootstrap(
    statistics: ManyStatistics, groups: NDArray, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Do the same for statistics of many resamples at once, which is far faster.

    `statistics` takes weights, [r, n], and gives arrays [r] or [r, k]; the statistic and its
    bounds come as arrays of no dimension or [k].
    """
    found = {key: v[0] for key, v in statistics(np.ones((1, len(groups)))).items()}
    drawn = [statistics(some) for some in _weights(groups, resamples=resamples, seed=seed)]
    for name, value in list(found.items()):
        columns = np.concatenate([row[name] for row in drawn]) if drawn else np.zeros(0)
        low, high = _central(columns.reshape(len(columns), value.size))
        found[f"{name}_low"] = low.reshape(value.shape)
        found[f"{name}_high"] = high.reshape(value.shape)
    return found


def _weights(groups: NDArray, *, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Draw weights, [r, n], some resamples at a time; none of fewer than two groups."""
    numbers = np.unique(groups, return_inverse=True)[1]
    count = int(numbers.max()) + 1 if len(numbers) else 0
    if count < 2:
        return
    rng = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // len(numbers))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        taken = rng.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(taken.ravel(), minlength=rows * count).reshape(rows, count)
        yield times[:, numbers].astype(float)


def _central(columns: NDArray) -> tuple[NDArray, NDArray]:
    """Give the central 95 % of each column of [resamples, k], without what is not finite."""
    bounds = np.full((2, columns.shape[1]), np.nan)
    for k in range(columns.shape[1]):
        known = columns[np.isfinite(columns[:, k]), k]
        if len(known):
            bounds[:, k] = np.quantile(known, TAILS)
    return bounds[0], bounds[1]


def wilson(hits: float, n: float) -> tuple[float, float]:
    """Give the 95 % score interval of a share (Wilson, 1927), which takes cases as independent.

    >>> tuple(round(x, 4) for x in wilson(81, 263))
    (0.2553, 0.3662)
    """
    if not n:
        return np.nan, np.nan
    share, z2 = hits / n, _Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At the ends the bound is exact, and not off by the last bit.
    return (
        float(middle - half) if hits > 0 else 0.0,
        float(middle + half) if hits < n else 1.0,
    )


def not_collapsed(found: Mapping[str, NDArray], groups: Mapping[str, int]) -> dict[str, NDArray]:
    """Give shares that no resample could move, such as 1.0, Wilson's interval instead.

    `groups` tells of how many independent groups each share is; taking them for the number of
    cases makes the interval wide enough where cases of a group are alike.
    """
    widened = dict(found)
    for name, n in groups.items():
        low, high = found[f"{name}_low"], found[f"{name}_high"]
        if n and not low < high and np.isfinite(found[name]):
            bounds = wilson(float(found[name]) * n, n)
            widened[f"{name}_low"], widened[f"{name}_high"] = map(np.array, bounds)
    return widened
