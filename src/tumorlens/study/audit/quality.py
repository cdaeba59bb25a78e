"""Which files people would want to look at, and how the labels are spread."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorlens.study.audit.facts import FileFacts

RARE = 0.05  # of a data set: a mode or format that more files share is not odd
FENCE = 3.0  # interquartile ranges beyond the quartiles (Tukey's far out)
LEAST_FACTOR = 1.5  # nearer sizes and shapes are never odd, however alike the others are
NO_SPLIT = ""


@dataclass(frozen=True)
class OddFile:
    """A file, by position, whose header differs from most of its data set."""

    position: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Outlier:
    """A file, by position, that a network's training scans do not look like."""

    position: int
    dataset: str
    distance: float  # cosine, 0 to 2


def odd_files(
    facts: Sequence[FileFacts | None], datasets: Sequence[str] | None = None
) -> list[OddFile]:
    """List files of a rare mode, format, size or shape in their data set, in their order.

    Without `datasets` all files are one set. Files without facts are left out.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, fact in enumerate(facts):
        if fact is not None:
            members[datasets[i] if datasets else ""].append(i)
    reasons: dict[int, list[str]] = defaultdict(list)
    for positions in members.values():
        own = [fact for i in positions if (fact := facts[i]) is not None]
        for place, reason in (*_rare(own), *_far(own)):
            reasons[positions[place]].append(reason)
    return [OddFile(i, tuple(reasons[i])) for i in sorted(reasons)]


def _rare(facts: Sequence[FileFacts]) -> Iterator[tuple[int, str]]:
    for name in ("mode", "format"):
        values = [getattr(fact, name) for fact in facts]
        counts = Counter(values)
        usual, most = counts.most_common(1)[0]
        for place, value in enumerate(values):
            if counts[value] <= RARE * len(facts):
                share = f"{100 * most / len(facts):.0f} %"
                yield place, f"{name} {value}, where {share} are {usual}"


def _far(facts: Sequence[FileFacts]) -> Iterator[tuple[int, str]]:
    width = np.array([fact.width for fact in facts], float)
    height = np.array([fact.height for fact in facts], float)
    usual = f"{np.median(width):.0f} x {np.median(height):.0f}"
    for name, values in (("size", np.sqrt(width * height)), ("shape", width / height)):
        for place in np.flatnonzero(_beyond(np.log(values))).tolist():
            own = f"{width[place]:.0f} x {height[place]:.0f}"
            yield place, f"{name} {own}, far from the usual {usual}"


def _beyond(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    reach = FENCE * (high - low)
    far = (values < low - reach) | (values > high + reach)
    return far & (np.abs(values - middle) > np.log(LEAST_FACTOR))


def balance(
    labels: Sequence[str], splits: Sequence[str | None], datasets: Sequence[str]
) -> dict[str, dict[str, dict[str, int]]]:
    """Count files by data set, part ("" where none is published) and label."""
    counts = Counter(
        (dataset, split or NO_SPLIT, label)
        for label, split, dataset in zip(labels, splits, datasets, strict=True)
    )
    table: dict[str, dict[str, dict[str, int]]] = {}
    for (dataset, split, label), count in sorted(counts.items()):
        table.setdefault(dataset, {}).setdefault(split, {})[label] = count
    return table


def outliers(distances: ArrayLike, datasets: Sequence[str], *, limit: float) -> list[Outlier]:
    """List the files beyond a bundle's scope limit, the farthest first.

    `distances`, [n], are to the k-th nearest training scan; NaN (unreadable) is left out.
    """
    far = np.asarray(distances, np.float64)
    beyond = np.flatnonzero(far > limit)  # NaN compares false
    order = beyond[np.argsort(-far[beyond], kind="stable")]
    return [Outlier(i, datasets[i], float(far[i])) for i in map(int, order)]
