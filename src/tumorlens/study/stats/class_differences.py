"""How two classes differ: effect sizes, corrected p-values, and where their mean images part.

A test for each of thousands of pixels finds differences everywhere. The largest statistic over
all pixels, in relabelings that chance could have given, says what chance reaches anywhere
(Nichols and Holmes, 2002). Units are groups, because copies of an image and slices of one head
are no new evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tumorlens.json_records import to_json

PERMUTATIONS = 1000
LEVEL = 0.05
_BLOCK = 128  # relabelings computed at a time


@dataclass(frozen=True)
class Significance:
    """The outcome of a maximum-statistic permutation test on p pixels."""

    t: NDArray[np.float64]  # [p], above 0 where the second class is brighter
    p: NDArray[np.float64]  # [p], corrected for all pixels (family-wise)
    threshold: float  # what |t| has to exceed anywhere, at LEVEL
    n_first: int  # groups
    n_second: int
    permutations: int

    @property
    def significant(self) -> NDArray[np.bool_]:
        """Where the classes differ at LEVEL, [p]."""
        return self.p <= LEVEL


def compare_groups(
    first: dict[str, NDArray[np.float64]],
    second: dict[str, NDArray[np.float64]],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Significance | None:
    """Test mean images of groups, {group: [p]}, of two classes against each other.

    A group that stands in both classes (healthy and tumor slices of one head) swaps as a pair;
    the others swap freely. The relabeling that was observed counts as one of them, so no p is
    below 1 / (permutations + 1). None with fewer than two groups in either class.
    """
    if min(len(first), len(second)) < 2:
        return None
    names = [sorted(first), sorted(second)]
    pixels = np.stack([*(first[n] for n in names[0]), *(second[n] for n in names[1])])
    pixels = pixels - pixels.mean(0)  # squares of what is left do not cancel
    sides = np.repeat([False, True], [len(first), len(second)])
    position = {n: i for i, n in enumerate(names[0])}
    pairs = np.array(
        [(position[n], len(first) + i) for i, n in enumerate(names[1]) if n in position], int
    ).reshape(-1, 2)
    rng = np.random.default_rng(seed)
    observed = _t(sides[None], pixels)[0]
    largest = np.concatenate([
        np.abs(_t(_relabeled(sides, pairs, count=count, rng=rng), pixels)).max(1)
        for count in _blocks(permutations)
    ])  # fmt: skip
    # Counting in a sorted list: how many relabelings reach what was observed at each pixel.
    reached = permutations - np.searchsorted(np.sort(largest), np.abs(observed) * (1 - 1e-12))
    return Significance(
        t=observed,
        p=(1 + reached) / (1 + permutations),
        threshold=float(np.quantile(largest, 1 - LEVEL, method="higher")),
        n_first=len(first),
        n_second=len(second),
        permutations=permutations,
    )


def _blocks(total: int) -> list[int]:
    return [min(_BLOCK, total - start) for start in range(0, total, _BLOCK)]


def _relabeled(
    sides: NDArray[np.bool_],
    pairs: NDArray[np.int64],
    *,
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Draw labelings, [count, units], that are as likely as the given one if classes are equal."""
    drawn = np.repeat(sides[None], count, axis=0)
    free = np.setdiff1d(np.arange(len(sides)), pairs)
    drawn[:, free] = rng.permuted(drawn[:, free], axis=1)
    coins = rng.integers(0, 2, (count, len(pairs))).astype(bool)
    drawn[:, pairs[:, 0]], drawn[:, pairs[:, 1]] = coins, ~coins
    return drawn


def _t(sides: NDArray[np.bool_], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Student's t (pooled variance) for each labeling and pixel, [labelings, p].

    0 where a pixel never varies, as background does.
    """
    n = len(pixels)
    second = sides.sum(1, keepdims=True)
    first = n - second
    total, squares = pixels.sum(0), np.square(pixels).sum(0)
    sums = sides.astype(np.float64) @ pixels
    mean_second, mean_first = sums / second, (total - sums) / first
    inside = squares - second * mean_second**2 - first * mean_first**2
    error = np.sqrt(np.maximum(inside, 0) / max(1, n - 2) * (1 / first + 1 / second))
    smallest = 1e-9 * np.sqrt(squares.max() / n)
    return np.divide(
        mean_second - mean_first, error, out=np.zeros_like(sums), where=error > smallest
    )


def effect_size(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[float | None, float | None, float | None]:
    """Compare values of two classes; above 0 where `b` is larger. NaN among them is left out.

    Returns Cliff's delta, which is the rank-biserial correlation (-1 to 1), Cohen's d (pooled
    deviation) and the two-sided p-value of Mann and Whitney; None where they do not show it.
    """
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if len(a) < 2 or len(b) < 2:
        return None, None, None
    test = stats.mannwhitneyu(b, a, method="asymptotic")
    pooled = (a.var(ddof=1) * (len(a) - 1) + b.var(ddof=1) * (len(b) - 1)) / (len(a) + len(b) - 2)
    gap = float(b.mean() - a.mean())
    cohen_d = to_json(gap / np.sqrt(pooled)) if pooled > 0 else None
    return to_json(2 * test.statistic / (len(a) * len(b)) - 1), cohen_d, to_json(test.pvalue)


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
