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

    @property
    def share(self) -> float:
        """The share of test cases with a copy or a slice of the same patient outside test."""
        return self.in_train_or_val / self.n if self.n else 0.0


def find_leaks(
    labels: Sequence[str], parts: Sequence[str], groups: NDArray | Sequence[Any]
) -> list[Leak]:
    """Count, for all labels and for each, the test cases whose group also trains."""
    held = defaultdict(set)
    for part, group in zip(parts, groups, strict=True):
        held[part].add(group)
    rows = [(n, g) for n, p, g in zip(labels, parts, groups, strict=True) if p == "test"]
    names = ["all", *sorted({name for name, _ in rows})]
    outside = held["train"] | held["val"]
    return [
        Leak(
            name,
            sum(name in ("all", n) for n, _ in rows),
            sum(name in ("all", n) and g in held["train"] for n, g in rows),
            sum(name in ("all", n) and g in outside for n, g in rows),
        )
        for name in names
    ]
