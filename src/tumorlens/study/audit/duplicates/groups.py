"""Which cases must stay together: copies, neighboring slices, patients, given groups."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet

from tumorlens.inputs.prepare import InputSpec
from tumorlens.records import Case
from tumorlens.study.audit.duplicates.copies import SAME, Link, connected, find_copies
from tumorlens.study.data.groups import Groups


def group_cases(
    cases: Sequence[Case],
    *,
    cache: Path | None = None,
    spec: InputSpec | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Groups:
    """Group cases by verified copies, neighboring slices, patient and given group.

    With `spec` scans are prepared on the way, where they will be asked for next.
    """
    paths = [case.path for case in cases]
    return group_links(cases, find_copies(paths, cache=cache, spec=spec, progress=progress))


def group_links(cases: Sequence[Case], links: Sequence[Link]) -> Groups:
    """Group cases by what links them, and by the patient and group of their own data set."""
    n = len(cases)
    groups, image_ids = _joined(connected(n, links), cases), connected(n, links, SAME)
    return Groups(groups, image_ids, _fingerprint(cases, groups, image_ids))


def _fingerprint(
    cases: Sequence[Case], groups: NDArray[np.int64], image_ids: NDArray[np.int64]
) -> str:
    """Hash what was found; neither the order of the files nor their place counts."""
    rows = zip((case.key for case in cases), groups.tolist(), image_ids.tolist(), strict=True)
    numbers: dict[tuple[str, int], int] = {}
    text = []
    for key, group, image_id in sorted(rows):
        named = [
            numbers.setdefault((kind, number), len(numbers))
            for kind, number in (("group", group), ("image", image_id))
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
