"""Which cases must stay together, and what of a test part is known from training."""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold


@dataclass(frozen=True)
class Groups:
    """What must stay together, of n cases."""

    groups: NDArray[np.int64]  # [n] copies, neighboring slices, patients and given groups
    image_ids: NDArray[np.int64]  # [n] the same number for copies of one image
    audit: str = ""  # fingerprint of the search that found them, 16 hex digits
    usable: NDArray[np.bool_] | None = None  # [n] which could be read; None: nobody looked
    notes: tuple[str, ...] = ()  # what was taken from names of files and folders, for people

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "Groups":
        """Keep some cases, by position."""
        chosen = np.array(rows, np.int64)
        usable = None if self.usable is None else self.usable[chosen]
        groups, image_ids = self.groups[chosen], self.image_ids[chosen]
        return replace(self, groups=groups, image_ids=image_ids, usable=usable)


def grouped_folds(
    strata: NDArray, groups: NDArray, *, count: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the rows to learn from and those held out, of `count` folds of whole groups."""
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a stratum with fewer cases than folds
        return list(folds.split(strata, strata, groups))


LOOKED_FOR = (
    "copies (also mirrored, rotated, shifted, scaled, cropped to 15 % a side, brighter or "
    "inverted), neighboring slices that look alike, recorded patients and groups, and names "
    "of files and folders"
)
NOT_KNOWABLE = (
    "patients that nobody recorded whose slices do not look alike, and copies that were warped, "
    "painted over or cropped further"
)


@dataclass(frozen=True)
class Leak:
    """How much of the test part is known from training, for one label or for all."""

    label: str
    n: int
    in_train: int
    in_train_or_val: int
    share: float  # of n in train or val, 0 of none


def find_leaks(
    labels: Sequence[str], parts: Sequence[str], groups: NDArray | Sequence[Any]
) -> list[Leak]:
    """Count, for all labels and for each, the test cases whose group also trains."""
    seen = defaultdict(set)
    for part, group in zip(parts, groups, strict=True):
        seen[part].add(group)
    outside = seen["train"] | seen["val"]
    tested = [(n, g) for n, p, g in zip(labels, parts, groups, strict=True) if p == "test"]
    leaks = []
    for label in ["all", *sorted({name for name, _ in tested})]:
        chosen = [group for name, group in tested if label in ("all", name)]
        found = sum(group in outside for group in chosen)
        trained = sum(group in seen["train"] for group in chosen)
        share = found / len(chosen) if chosen else 0.0
        leaks.append(Leak(label, len(chosen), trained, found, share))
    return leaks
