"""Which cases must stay together: copies, neighboring slices, patients, given groups."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet

from tumorlens.records import Case
from tumorlens.study.audit.duplicates.copies import SAME, Link, connected


@dataclass(frozen=True)
class Groups:
    """What must stay together, of n cases."""

    groups: NDArray[np.int64]  # [n] copies, neighboring slices, patients and given groups
    pictures: NDArray[np.int64]  # [n] copies alone
    audit: str = ""  # fingerprint of the search that found them, 16 hex digits

    def take(self, rows: Sequence[int]) -> "Groups":
        """Keep some cases, by position."""
        chosen = np.array(rows, np.int64)
        return Groups(self.groups[chosen], self.pictures[chosen], self.audit)


def group_links(cases: Sequence[Case], links: Sequence[Link]) -> Groups:
    """Group cases by what links them, and by the patient and group of their own data set."""
    n = len(cases)
    groups, pictures = _joined(connected(n, links), cases), connected(n, links, SAME)
    return Groups(groups, pictures, _fingerprint(cases, groups, pictures))


def _fingerprint(
    cases: Sequence[Case], groups: NDArray[np.int64], pictures: NDArray[np.int64]
) -> str:
    """Hash what was found; neither the order of the files nor their place counts."""
    rows = zip((case.key for case in cases), groups.tolist(), pictures.tolist(), strict=True)
    numbers: dict[tuple[str, int], int] = {}
    text = []
    for key, group, picture in sorted(rows):
        named = [
            numbers.setdefault((kind, number), len(numbers))
            for kind, number in (("group", group), ("picture", picture))
        ]
        text.append(f"{key}\t{named[0]}\t{named[1]}")
    return hashlib.sha256("\n".join(text).encode(errors="surrogateescape")).hexdigest()[:16]


def _joined(groups: NDArray[np.int64], cases: Sequence[Case]) -> NDArray[np.int64]:
    """Merge groups that share a patient or a given group of one data set."""
    together = DisjointSet(set(groups.tolist()))
    first: dict[tuple[str, str, str], int] = {}
    for group, case in zip(groups.tolist(), cases, strict=True):
        for kind, name in (("patient", case.patient), ("group", case.group)):
            if name:
                together.merge(group, first.setdefault((case.dataset, kind, name), group))
    merged = np.array([together[group] for group in groups.tolist()], np.int64)
    return np.unique(merged, return_inverse=True)[1].astype(np.int64)
