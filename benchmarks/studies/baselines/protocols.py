"""How a run divides its scans: as an earlier system did, or by whole groups."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.data.splits import Groups, Split

RANDOM_TEST = {"br35h": 0.1}  # of an earlier system's random split, where it is recorded
RANDOM_TEST_UNKNOWN = 0.2
Parts = list[str]
Draw = Callable[[Sequence[Case], Groups, Split | None], Parts]


@dataclass(frozen=True)
class Protocol:
    """A way to divide scans."""

    summary: str
    parts: Draw
    is_honest: bool = True  # what is tested was not learned from, and copies count once
    tested: Callable[[Case, str], bool] = lambda case, part: part == "test"


def _published(cases: Sequence[Case], groups: Groups, joint: Split | None) -> Parts:
    return splits.published_parts(cases)


def _published_with_test(cases: Sequence[Case], groups: Groups, joint: Split | None) -> Parts:
    return ["val" if part == "val" else "train" for part in splits.published_parts(cases)]


def _random(cases: Sequence[Case], groups: Groups, joint: Split | None) -> Parts:
    share = RANDOM_TEST.get(cases[0].dataset, RANDOM_TEST_UNKNOWN)
    return splits.split_cases(cases, files_alone(groups), test=share, val=0.1)


def _grouped(cases: Sequence[Case], groups: Groups, joint: Split | None) -> Parts:
    """Take the parts of the split of all sets, where there is one: ours was trained on it."""
    return [joint.parts[case.key] for case in cases] if joint else splits.split_cases(cases, groups)


PROTOCOLS: Mapping[str, Protocol] = {
    "published": Protocol("the published folders", _published),
    "published, as it was": Protocol(
        "the published folders, every file for itself", _published, is_honest=False
    ),
    "published, test learned": Protocol(
        "the published folders, the test folder also in training",
        _published_with_test,
        is_honest=False,
        tested=lambda case, part: case.split == "test",
    ),
    "random": Protocol("drawn file by file", _random, is_honest=False),
    "grouped": Protocol("70/15/15 by whole groups", _grouped),
}


def files_alone(groups: Groups) -> Groups:
    """Forget that files are copies of one another, as the earlier systems did."""
    alone = np.arange(len(groups.groups))
    return Groups(alone, alone, groups.audit)


def divide(
    cases: Sequence[Case], groups: Groups, *, protocol: str, joint: Split | None = None
) -> tuple[Parts, Groups]:
    """Return each case its part, and the groups that training shall know of.

    `joint` is one split of all sets, whose parts "grouped" takes.
    """
    row = PROTOCOLS[protocol]
    return row.parts(cases, groups, joint), groups if row.is_honest else files_alone(groups)


def rows_asked(cases: Sequence[Case], parts: Sequence[str], *, protocol: str) -> NDArray[np.int64]:
    """Return the positions of the cases that a run is judged by."""
    is_tested = PROTOCOLS[protocol].tested
    rows = [is_tested(case, part) for case, part in zip(cases, parts, strict=True)]
    return np.flatnonzero(rows)
