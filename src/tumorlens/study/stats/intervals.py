"""Intervals of figures: bootstrap over groups, because slices of one patient are alike; Wilson."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from tumorlens.json_records import to_json
from tumorlens.records import Estimate

RESAMPLES = 1000
LEVEL = 0.95
ENDS = ("", "_low", "_high")  # of the names of a figure and its bounds
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
Z = 1.959963984540054  # the normal quantile of the upper tail
_AT_ONCE = 200_000  # weights in memory at a time: what a cache holds
Weights = NDArray[np.float64]  # [r, n]: how often each case counts, in r resamples
Statistics = Callable[[Weights], Mapping[str, NDArray[np.float64]]]


def bootstrap(
    statistics: Statistics, groups: NDArray, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Return each statistic with `_low` and `_high`, the central 95 % of the resamples.

    Whole groups, [n], are drawn with replacement (Field and Welsh, 2007), so a case weighs as
    often as its group was drawn. `statistics` takes such weights of r resamples at once, [r, n],
    and returns arrays [r] or [r, k]; the statistic and its bounds come as arrays of no dimension
    or [k]. A resample that cannot show a statistic (NaN) is left out of its interval.
    """
    found = {key: v[0] for key, v in statistics(np.ones((1, len(groups)))).items()}
    drawn = [statistics(some) for some in _weights(groups, resamples=resamples, seed=seed)]
    for name, value in list(found.items()):
        columns = np.concatenate([row[name] for row in drawn]) if drawn else np.zeros(0)
        low, high = _central(columns.reshape(len(columns), value.size))
        found[f"{name}_low"] = low.reshape(value.shape)
        found[f"{name}_high"] = high.reshape(value.shape)
    return found


def _weights(groups: NDArray, *, resamples: int, seed: int) -> Iterator[Weights]:
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
    """Return the central 95 % of each column of [resamples, k], without what is not finite."""
    bounds = np.full((2, columns.shape[1]), np.nan)
    for k in range(columns.shape[1]):
        known = columns[np.isfinite(columns[:, k]), k]
        if len(known):
            bounds[:, k] = np.quantile(known, TAILS)
    return bounds[0], bounds[1]


def wilson(hits: float, n: float) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson, 1927), which takes cases as independent.

    >>> tuple(round(x, 4) for x in wilson(81, 263))
    (0.2553, 0.3662)
    """
    if not n:
        return np.nan, np.nan
    share, z2 = hits / n, Z**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At the ends the bound is exact, and not off by the last bit.
    return (
        float(middle - half) if hits > 0 else 0.0,
        float(middle + half) if hits < n else 1.0,
    )


def not_collapsed(
    found: Mapping[str, NDArray], groups: Mapping[str, int | NDArray[np.int64]]
) -> dict[str, NDArray]:
    """Return shares that no resample could move, such as 1.0, with Wilson's interval instead.

    `groups` tells of how many independent groups each share is; taking them for the number of
    cases makes the interval wide enough where cases of a group are alike.
    """
    widened = dict(found)
    for name, count in groups.items():
        value, low, high = (np.asarray(found[f"{name}{end}"], float) for end in ENDS)
        low, high, counts = low.copy(), high.copy(), np.broadcast_to(count, value.shape)
        stuck = ~(low < high) & np.isfinite(value) & (counts > 0)
        for at in map(tuple, np.argwhere(stuck)):
            low[at], high[at] = wilson(float(value[at] * counts[at]), float(counts[at]))
        widened[f"{name}_low"], widened[f"{name}_high"] = low, high
    return widened


def differences_not_collapsed(
    found: Mapping[str, NDArray], names: Mapping[str, tuple[str, str]]
) -> dict[str, NDArray]:
    """Return differences that no resample could move with an interval that has a width.

    `names` tells of which two figures each is the first less the second; from their bounds comes
    that of the difference (Newcombe, 1998, method 10; wider than need be where both are alike).
    One of 0 stays: no case tells the two apart.
    """
    widened = dict(found)
    for name, (first, second) in names.items():
        gap, low, high = (np.asarray(found[f"{name}{end}"], float) for end in ENDS)
        a, a_low, a_high = (np.asarray(found[f"{first}{end}"], float) for end in ENDS)
        b, b_low, b_high = (np.asarray(found[f"{second}{end}"], float) for end in ENDS)
        stuck = ~(low < high) & np.isfinite(gap) & (gap != 0)
        widened[f"{name}_low"] = np.where(stuck, gap - np.hypot(a - a_low, b_high - b), low)
        widened[f"{name}_high"] = np.where(stuck, gap + np.hypot(a_high - a, b - b_low), high)
    return widened


def share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide; NaN where there is nothing to divide by."""
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def bootstrap_shares(groups: NDArray, **columns: NDArray) -> dict[str, NDArray[np.float64]]:
    """Return the mean of each column of hits, [n], with intervals that have a width.

    Hits are 0 or 1; what is NaN does not count.
    """
    known = {name: np.isfinite(column.astype(float)) for name, column in columns.items()}
    hits = {name: np.nan_to_num(column.astype(float)) for name, column in columns.items()}
    found = bootstrap(
        lambda w: {name: share(w @ hits[name], w @ known[name]) for name in columns}, groups
    )
    return not_collapsed(found, {n: len(np.unique(groups[known[n]])) for n in columns})


def share_with_wilson(name: str, hits: NDArray[np.bool_]) -> dict[str, float]:
    """Return the share of hits, [n], under `name`, and Wilson's interval."""
    count, n = int(hits.sum()), len(hits)
    low, high = wilson(count, n)
    return {name: count / n if n else np.nan, f"{name}_low": low, f"{name}_high": high}


def estimate_of(found: Mapping[str, NDArray], name: str, n: int) -> Estimate:
    """Return a figure that stands with its bounds under `name`, `name_low` and `name_high`."""
    value, low, high = (to_json(found[name + end]) for end in ENDS)
    return Estimate(value, low, high, n)
