"""What parts and data sets share: files of one picture on both sides of a line."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tumorlens.labels import LABELS, UNLABELED, is_tumor
from tumorlens.records import Case
from tumorlens.study.audit.patients import Patients
from tumorlens.study.data.groups import Groups, find_leaks


def shared_pictures(places: Sequence[str], pictures: Sequence[int]) -> dict[str, dict[str, int]]:
    """Count, for each ordered pair of places, the files of one with a copy in the other.

    Within one place a file counts if it has another of the same picture there.
    """
    count: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for place, picture in zip(places, pictures, strict=True):
        count[picture][place] += 1
    names = sorted(set(places))
    table = {a: dict.fromkeys(names, 0) for a in names}
    for held in count.values():
        for a, files in held.items():
            for b in held:
                if a != b or files > 1:
                    table[a][b] += files
    return table


def traced_tumors(
    cases: Sequence[Case], parts: Sequence[str], patients: Patients
) -> dict[str, int]:
    """Count test tumors whose patient is known, and of them those whose patient trains too."""
    trained = {name for name, part in zip(patients.names, parts, strict=True) if part == "train"}
    tested = [
        name
        for case, name, part in zip(cases, patients.names, parts, strict=True)
        if part == "test" and name and _is_tumor(case.label)
    ]
    return {"traceable": len(tested), "in_train": sum(name in trained for name in tested)}


def _is_tumor(label: str) -> bool:
    return label != UNLABELED and label in LABELS and is_tumor(label)


def leak_figures(
    cases: Sequence[Case], parts: Sequence[str], groups: Groups, patients: Patients
) -> dict[str, Any]:
    """Give what of a split leaks: by copies alone, and by all that must stay together."""
    labels = [case.label for case in cases]

    def rows(numbers: Sequence[int]) -> list[dict[str, Any]]:
        return [
            {"label": leak.label, "n": leak.n, "in_train": leak.in_train,
             "in_train_or_val": leak.in_train_or_val, "share": leak.share}
            for leak in find_leaks(labels, parts, numbers)
        ]  # fmt: skip

    return {
        "copies": rows(groups.image_ids.tolist()),
        "groups": rows(groups.groups.tolist()),
        "test_tumors": traced_tumors(cases, parts, patients),
    }
