"""What a split file tells of the cases that are measured, besides their labels."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tumorlens.records import Case
from tumorlens.study.data.splits import Split


@dataclass(frozen=True)
class Context:
    """What is known around the measured cases; empty where no split was given."""

    validation: tuple[Case, ...] = ()  # what conformal sets are fitted on
    copies: Mapping[str, bool] | None = None  # case key -> a copy stands in train or validation
    conflicts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # case key -> other labels of the same picture, anywhere in the split


def read_context(cases: Sequence[Case], split: Split, *, part: str) -> Context:
    """Gather what `split` tells of one part; `cases` are all that it names and were found."""
    return Context(
        validation=tuple(case for case in cases if part == "test" and case.split == "val"),
        copies=_copies(split) if part == "test" else None,
        conflicts=_conflicts(cases, split),
    )


def _copies(split: Split) -> dict[str, bool]:
    """Tell of each test case whether training or validation holds a file of its picture."""
    seen = {split.image_ids[key] for key, part in split.parts.items() if part != "test"}
    return {
        key: split.image_ids[key] in seen for key, part in split.parts.items() if part == "test"
    }


def _conflicts(cases: Sequence[Case], split: Split) -> dict[str, tuple[str, ...]]:
    labels: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        labels[split.image_ids[case.key]].add(case.label)
    found = {}
    for case in cases:
        others = labels[split.image_ids[case.key]] - {case.label}
        if others:
            found[case.key] = tuple(sorted(others))
    return found
