"""Which cases must stay together, and what of a test part is known from training."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Groups:
    """What must stay together, of n cases."""

    groups: NDArray[np.int64]  # [n] copies, neighboring slices, patients and given groups
    image_ids: NDArray[np.int64]  # [n] the same number for copies of one image
    audit: str = ""  # fingerprint of the search that found them, 16 hex digits

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "Groups":
        """Keep some cases, by position."""
        chosen = np.array(rows, np.int64)
        return Groups(self.groups[chosen], self.image_ids[chosen], self.audit)


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
    held = defaultdict(set)
    for part, group in zip(parts, groups, strict=True):
        held[part].add(group)
    outside = held["train"] | held["val"]
    tested = [(n, g) for n, p, g in zip(labels, parts, groups, strict=True) if p == "test"]
    leaks = []
    for label in ["all", *sorted({name for name, _ in tested})]:
        own = [group for name, group in tested if label in ("all", name)]
        found = sum(group in outside for group in own)
        trained = sum(group in held["train"] for group in own)
        leaks.append(Leak(label, len(own), trained, found, found / len(own) if own else 0.0))
    return leaks
