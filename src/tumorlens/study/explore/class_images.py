"""Mean images, their spread and histograms of each class, from a stream of prepared scans.

Memory does not grow with the number of scans: sums are kept, and for what needs single images
(the montage, the test of groups) a seeded sample of bounded size. Sums are whole numbers in
float64, exact up to 9e15, so neither the order of the scans nor their number costs precision.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec
from tumorlens.progress import Progress, silent
from tumorlens.records import Case
from tumorlens.study.audit.text import blurred_thumbnail, why_hidden
from tumorlens.study.stats.class_differences import PERMUTATIONS, Significance, compare_groups

BLOCK = 512  # scans held in memory at a time
MONTAGE = 24  # images of each label
MONTAGE_SIDE = 72  # pixels: a name that were left in a head could not be read at this size
TESTED_GROUPS = 400  # of each label, at most
TESTED_SIDE = 48  # pixels: a difference between classes is wide, and the test is of all pixels
Image = NDArray[np.uint8]  # [side, side]


@dataclass
class ClassStatistics:
    """What is kept of the scans of one label, or of one modality, while they stream by."""

    side: int
    seed: int = 0
    count: int = 0
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    sample: list[tuple[str, Path, Image]] = field(default_factory=list)
    groups: dict[str, tuple[int, NDArray[np.float64]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start with nothing seen."""
        self._sum = np.zeros((self.side, self.side))
        self._squares = np.zeros((self.side, self.side))

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean image, [side, side]; NaN of no scans."""
        return self._sum / self.count if self.count else np.full(self._sum.shape, np.nan)

    @property
    def deviation(self) -> NDArray[np.float64]:
        """The standard deviation over scans (population), [side, side]; NaN of no scans."""
        if not self.count:
            return np.full(self._sum.shape, np.nan)
        # Whole numbers up to here: nothing cancels.
        spread = self.count * self._squares - self._sum**2
        return np.sqrt(np.maximum(spread, 0)) / self.count

    def add(self, image: Image, case: Case) -> None:
        """Take in one scan of this class."""
        self.count += 1
        cv2.accumulate(image, self._sum)
        cv2.accumulateSquare(image, self._squares)
        histogram = cv2.calcHist([image], [0], None, [256], [0, 256])
        self.histogram += histogram.ravel().astype(np.int64)
        self._add_to_sample(image, case.path)
        self._add_to_group(image, case.group_name)

    def _add_to_sample(self, image: Image, path: Path) -> None:
        """Keep the scans whose seeded keys are smallest: a fair sample in any order."""
        key = _key(self.seed, str(path))
        if len(self.sample) == MONTAGE and key >= self.sample[-1][0]:
            return
        self.sample.append((key, path, image.copy()))
        self.sample.sort(key=lambda kept: kept[:2])
        del self.sample[MONTAGE:]

    def _add_to_group(self, image: Image, group: str) -> None:
        key = f"{_key(self.seed, group)} {group}"
        if key not in self.groups and len(self.groups) == TESTED_GROUPS:
            last = max(self.groups)
            if key > last:
                return
            del self.groups[last]  # for good: keys that stay only get smaller
        small = cv2.resize(image, (TESTED_SIDE, TESTED_SIDE), interpolation=cv2.INTER_AREA)
        count, total = self.groups.get(key, (0, np.zeros(TESTED_SIDE**2)))
        self.groups[key] = (count + 1, total + small.ravel())

    def group_means(self) -> dict[str, NDArray[np.float64]]:
        """Return the mean image of each group in the sample, [TESTED_SIDE^2]."""
        return {key: total / count for key, (count, total) in self.groups.items()}


def _key(seed: int, name: str) -> str:
    digest = hashlib.blake2b(
        name.encode("utf-8", "surrogateescape"), digest_size=12, key=str(seed).encode()
    )
    return digest.hexdigest()


def merge_statistics(parts: Sequence[ClassStatistics]) -> ClassStatistics:
    """Return what the scans of several classes would have left together, from what each left.

    The samples too are those of one stream: what is among the smallest keys of all is among the
    smallest of its own part. Raises ValueError for no parts, or parts of several sides or seeds.
    """
    if len({(part.side, part.seed) for part in parts}) != 1:
        raise ValueError("parts must share one side and one seed")
    merged = ClassStatistics(parts[0].side, parts[0].seed)
    for part in parts:
        merged.count += part.count
        merged.histogram += part.histogram
        merged._sum += part._sum
        merged._squares += part._squares
        merged.sample += part.sample
        for key, (count, total) in part.groups.items():
            known, sums = merged.groups.get(key, (0, np.zeros(TESTED_SIDE**2)))
            merged.groups[key] = (known + count, sums + total)
    merged.sample = sorted(merged.sample, key=lambda kept: kept[:2])[:MONTAGE]
    merged.groups = {key: merged.groups[key] for key in sorted(merged.groups)[:TESTED_GROUPS]}
    return merged


def prepared_images(
    cases: Sequence[Case], spec: InputSpec, *, cache: Path, progress: Progress = silent
) -> Iterator[tuple[Image, Case]]:
    """Prepare cases block by block; scans that cannot be read are left out."""
    for start in range(0, len(cases), BLOCK):
        block = cases[start : start + BLOCK]
        prepared = prepare_files([case.path for case in block], spec, cache=cache)
        for row in np.flatnonzero(prepared.usable).tolist():
            yield prepared.pixels[row], block[row]
        progress(start + len(block), len(cases))


def class_statistics(
    images: Iterable[tuple[Image, Case]], *, seed: int = 0
) -> dict[str, ClassStatistics]:
    """Gather the statistics of each label, and of each modality as "all ct" and "all mri"."""
    found: dict[str, ClassStatistics] = {}
    for image, case in images:
        modality = labels.modality_of(case.label)
        for name in (case.label, f"all {modality}") if modality else (case.label,):
            if name not in found:
                found[name] = ClassStatistics(image.shape[-1], seed)
            found[name].add(image, case)
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class MeanDifference:
    """How the mean images of two classes differ."""

    first: str
    second: str
    n: int  # scans of both
    pixels: NDArray[np.float64]  # [side, side] second less first, of all scans, gray levels
    test: Significance | None  # of groups, on TESTED_SIDE^2 pixels; None with too few groups

    @property
    def significant(self) -> NDArray[np.bool_] | None:
        """Where the classes differ, [TESTED_SIDE, TESTED_SIDE]."""
        return None if self.test is None else self.test.significant.reshape(TESTED_SIDE, -1)

    def tested_pixels(self) -> NDArray[np.float64]:
        """Return the difference at the pixels of the test, [TESTED_SIDE^2]."""
        size = (TESTED_SIDE, TESTED_SIDE)
        shrunk = cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA)
        return np.asarray(shrunk, np.float64).ravel()


def mean_difference(
    classes: Mapping[str, ClassStatistics],
    first: str,
    second: str,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> MeanDifference:
    """Compare two classes: the difference of their means, and where it is more than chance.

    The difference is of all scans at full size; the test is of at most TESTED_GROUPS groups of
    each class, each counted once, at TESTED_SIDE pixels.
    """
    a, b = classes[first], classes[second]
    test = compare_groups(a.group_means(), b.group_means(), permutations=permutations, seed=seed)
    return MeanDifference(first, second, a.count + b.count, b.mean - a.mean, test)


@dataclass(frozen=True)
class Montage:
    """A fair sample of the scans of one class, small and without text over the head."""

    images: tuple[Image, ...]  # [MONTAGE_SIDE, MONTAGE_SIDE] each
    withheld: int  # of the sample, because text may lie over the head


def montage(statistics: ClassStatistics) -> Montage:
    """Shrink the sampled scans; those with likely text over the head are withheld.

    Most text over a head is not found by looking for it, hence the small size: see MONTAGE_SIDE.
    """
    images = [
        blurred_thumbnail(image, side=MONTAGE_SIDE)
        for _, path, image in statistics.sample
        if not why_hidden(path)
    ]
    return Montage(tuple(images), len(statistics.sample) - len(images))
