"""Where the mean images of two classes differ by more than chance, corrected for many pixels.

A test for each of thousands of pixels finds differences everywhere. The largest statistic over
all pixels, in relabelings that chance could have given, says what chance reaches anywhere
(Nichols and Holmes, 2002). Units are groups, because copies of an image and slices of one head
are no new evidence.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    least = 1e-9 * np.sqrt(squares.max() / n)
    return np.divide(mean_second - mean_first, error, out=np.zeros_like(sums), where=error > least)
