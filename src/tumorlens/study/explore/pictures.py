"""Mean pictures, their spread and histograms of each class, from a stream of prepared scans.

Memory does not grow with the number of scans: sums are kept, and for what needs single
pictures (the montage, the test of groups) a seeded sample of bounded size. Sums are whole
numbers in float64, exact up to 9e15, so neither the order of the scans nor their number costs
precision.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec
from tumorlens.records import Case
from tumorlens.study.explore.permutation import PERMUTATIONS, Significance, compare_groups

BATCH = 512
MONTAGE = 24  # pictures of each label
TESTED_GROUPS = 400  # of each label, at most
TESTED_SIDE = 48  # pixels: a difference between classes is wide, and the test is of all pixels


@dataclass(frozen=True)
class Batch:
    """Prepared scans with what is known of each."""

    pixels: NDArray[np.uint8]  # [b, side, side]
    labels: Sequence[str]
    groups: Sequence[str]  # copies and slices of one patient share one
    paths: Sequence[str]


@dataclass(frozen=True)
class Difference:
    """How the mean pictures of two classes differ."""

    first: str
    second: str
    difference: NDArray[np.float64]  # [side, side] second less first, of all scans, grey levels
    test: Significance | None  # of groups, on TESTED_SIDE^2 pixels; None with too few groups

    @property
    def significant(self) -> NDArray[np.bool_] | None:
        """Where the classes differ, [TESTED_SIDE, TESTED_SIDE]."""
        return None if self.test is None else self.test.significant.reshape(TESTED_SIDE, -1)


@dataclass
class ClassPictures:
    """What is kept of the scans of one label, or of one modality, while they stream by."""

    side: int
    seed: int = 0
    count: int = 0
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    montage: list[tuple[str, str, NDArray[np.uint8]]] = field(default_factory=list)
    groups: dict[str, tuple[int, NDArray[np.float64]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with nothing seen."""
        self._sum = np.zeros((self.side, self.side))
        self._squares = np.zeros((self.side, self.side))

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean picture, [side, side]; NaN of no scans."""
        return self._sum / self.count if self.count else np.full(self._sum.shape, np.nan)

    @property
    def deviation(self) -> NDArray[np.float64]:
        """The standard deviation over scans (population), [side, side]; NaN of no scans."""
        if not self.count:
            return np.full(self._sum.shape, np.nan)
        # Whole numbers up to here: nothing cancels.
        spread = self.count * self._squares - self._sum**2
        return np.sqrt(np.maximum(spread, 0)) / self.count

    def add(self, batch: Batch) -> None:
        """Take in scans of this class; the side of the first one holds for all."""
        self.count += len(batch.pixels)
        for pixels, path, group in zip(batch.pixels, batch.paths, batch.groups, strict=True):
            cv2.accumulate(pixels, self._sum)
            cv2.accumulateSquare(pixels, self._squares)
            histogram = cv2.calcHist([pixels], [0], None, [256], [0, 256])
            self.histogram += histogram.ravel().astype(np.int64)
            self._sample(pixels, path)
            self._add_to_group(pixels, group)

    def _sample(self, pixels: NDArray[np.uint8], path: str) -> None:
        """Keep the scans whose seeded keys are smallest: a fair sample in any order."""
        key = _key(self.seed, path)
        if len(self.montage) == MONTAGE and key >= self.montage[-1][0]:
            return
        self.montage.append((key, path, pixels.copy()))
        self.montage.sort(key=lambda kept: kept[:2])
        del self.montage[MONTAGE:]

    def _add_to_group(self, pixels: NDArray[np.uint8], group: str) -> None:
        key = f"{_key(self.seed, group)} {group}"
        if key not in self.groups and len(self.groups) == TESTED_GROUPS:
            last = max(self.groups)
            if key > last:
                return
            del self.groups[last]  # for good: keys that stay only get smaller
        small = cv2.resize(pixels, (TESTED_SIDE, TESTED_SIDE), interpolation=cv2.INTER_AREA)
        count, total = self.groups.get(key, (0, np.zeros(TESTED_SIDE**2)))
        self.groups[key] = (count + 1, total + small.ravel())

    def group_means(self) -> dict[str, NDArray[np.float64]]:
        """Give the mean picture of each group in the sample, [TESTED_SIDE^2]."""
        return {key: total / count for key, (count, total) in self.groups.items()}


def merge_pictures(parts: Sequence[ClassPictures]) -> ClassPictures:
    """Give what the scans of several classes would have left together, from what each left.

    The samples too are those of one stream: what is among the smallest keys of all is among the
    smallest of its own part. Raises ValueError for no parts, or parts of several sides or seeds.
    """
    if len({(part.side, part.seed) for part in parts}) != 1:
        raise ValueError("parts must share one side and one seed")
    merged = ClassPictures(parts[0].side, parts[0].seed)
    for part in parts:
        merged.count += part.count
        merged.histogram += part.histogram
        merged._sum += part._sum
        merged._squares += part._squares
        merged.montage += part.montage
        for key, (count, total) in part.groups.items():
            known, sums = merged.groups.get(key, (0, np.zeros(TESTED_SIDE**2)))
            merged.groups[key] = (known + count, sums + total)
    merged.montage = sorted(merged.montage, key=lambda kept: kept[:2])[:MONTAGE]
    merged.groups = {key: merged.groups[key] for key in sorted(merged.groups)[:TESTED_GROUPS]}
    return merged


def _key(seed: int, name: str) -> str:
    digest = hashlib.blake2b(
        name.encode("utf-8", "surrogateescape"), digest_size=12, key=str(seed).encode()
    )
    return digest.hexdigest()


def read_batches(
    cases: Sequence[Case],
    spec: InputSpec,
    *,
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Batch]:
    """Prepare cases batch by batch; scans that cannot be read are left out.

    A case without a group is one of its own.
    """
    for start in range(0, len(cases), BATCH):
        block = cases[start : start + BATCH]
        prepared = prepare_files([case.path for case in block], spec, cache=cache)
        kept = np.flatnonzero(prepared.usable).tolist()
        yield Batch(
            prepared.pixels[kept],
            [block[i].label for i in kept],
            [block[i].group or block[i].key for i in kept],
            [str(block[i].path) for i in kept],
        )
        if progress:
            progress(start + len(block), len(cases))


def stream_pictures(batches: Iterable[Batch], *, seed: int = 0) -> dict[str, ClassPictures]:
    """Gather the statistics of each label, and of each modality as "all ct" and "all mri"."""
    found: dict[str, ClassPictures] = {}
    for batch in batches:
        names = np.array(batch.labels, str)
        for label in np.unique(names).tolist():
            part = _rows(batch, np.flatnonzero(names == label))
            modality = labels.modality_of(label) if label in labels.LABELS else None
            for name in (label, f"all {modality}") if modality else (label,):
                if name not in found:
                    found[name] = ClassPictures(batch.pixels.shape[-1], seed)
                found[name].add(part)
    return dict(sorted(found.items()))


def _rows(batch: Batch, rows: NDArray[np.int64]) -> Batch:
    chosen = [int(row) for row in rows]
    return Batch(
        batch.pixels[rows],
        [batch.labels[i] for i in chosen],
        [batch.groups[i] for i in chosen],
        [batch.paths[i] for i in chosen],
    )


def difference(
    pictures: dict[str, ClassPictures],
    first: str,
    second: str,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Difference:
    """Compare two classes: the difference of their means, and where it is more than chance.

    The difference is of all scans at full size; the test is of at most TESTED_GROUPS groups of
    each class, each counted once, at TESTED_SIDE pixels.
    """
    a, b = pictures[first], pictures[second]
    test = compare_groups(a.group_means(), b.group_means(), permutations=permutations, seed=seed)
    return Difference(first, second, b.mean - a.mean, test)


def shrunk_difference(found: Difference) -> NDArray[np.float64]:
    """Bring a difference to the pixels of its test, [TESTED_SIDE, TESTED_SIDE]."""
    size = (TESTED_SIDE, TESTED_SIDE)
    return np.asarray(cv2.resize(found.difference, size, interpolation=cv2.INTER_AREA), np.float64)
