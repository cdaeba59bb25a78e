"""The files an audit leaves behind."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tumorlens.errors import SplitError
from tumorlens.files import read_table, replacing, write_table
from tumorlens.records import Case
from tumorlens.study.audit.run import Audit
from tumorlens.study.data.groups import Groups

GROUPS = ("path", "group", "patient")
PAIRS = ("a", "b", "kind", "orientation", "score")
CONFLICTS = ("a", "b", "label_a", "label_b", "kind", "orientation", "score")
TEXT = ("path", "x", "y", "width", "height", "over_head")
FILES = ("path", "case", "label", "split", "group", "picture", "patient", "patient_inherited",
         "width", "height", "mode", "format", "bytes", "text_rows", "fields", "distance",
         "remarks", "error")  # fmt: skip


def write_tables(audit: Audit, out: Path) -> None:
    """Write groups.csv, pairs.csv, conflicts.csv, text.csv and files.csv into a folder."""
    paths = [str(case.path) for case in audit.cases]
    write_table(out / "groups.csv", GROUPS, _groups(audit, paths))
    write_table(out / "pairs.csv", PAIRS, _pairs(audit, paths))
    write_table(out / "conflicts.csv", CONFLICTS, _conflicts(audit, paths))
    write_table(out / "text.csv", TEXT, _text(audit, paths))
    write_table(out / "files.csv", FILES, _files(audit, paths))


def write_figures(figures: Mapping[str, Any], out: Path) -> None:
    """Write audit.json into a folder."""
    with replacing(out / "audit.json") as partial:
        partial.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _groups(audit: Audit, paths: Sequence[str]) -> Iterable[Sequence[Any]]:
    for path, group, patient in zip(paths, audit.groups.groups, audit.patients.names, strict=True):
        yield path, f"g{group:05d}", patient


def _pairs(audit: Audit, paths: Sequence[str]) -> Iterable[Sequence[Any]]:
    for k in audit.links:
        yield paths[k.a], paths[k.b], k.kind, k.orientation, f"{k.score:.4f}"


def _conflicts(audit: Audit, paths: Sequence[str]) -> Iterable[Sequence[Any]]:
    labels = [case.label for case in audit.cases]
    for c in audit.conflicts:
        k = c.link
        yield (paths[k.a], paths[k.b], labels[k.a], labels[k.b], c.kind, k.orientation,
               f"{k.score:.4f}")  # fmt: skip


def _text(audit: Audit, paths: Sequence[str]) -> Iterable[Sequence[Any]]:
    for path, boxes in zip(paths, audit.survey.text, strict=True):
        for box in boxes:
            yield path, box.x, box.y, box.width, box.height, int(box.over_head)


def _files(audit: Audit, paths: Sequence[str]) -> Iterable[Sequence[Any]]:
    survey, groups, patients = audit.survey, audit.groups, audit.patients
    odd = {item.position: "; ".join(item.reasons) for item in audit.header_outliers}
    far = {item.position for item in audit.ood}
    for i, case in enumerate(audit.cases):
        facts = survey.facts[i]
        size = (facts.width, facts.height, facts.mode, facts.format, facts.bytes) if facts else ()
        remarks = [*survey.notes[i], *filter(None, [odd.get(i)])]
        remarks += ["unlike the training scans of the bundle"] if i in far else []
        distance = survey.distance[i]
        yield (
            paths[i], case.key, case.label, audit.parts[i], f"g{groups.groups[i]:05d}",
            f"p{groups.image_ids[i]:05d}", patients.names[i], int(patients.inherited[i]),
            *(size or [""] * 5), len(survey.text[i]), "; ".join(facts.exif if facts else ()),
            "" if np.isnan(distance) else f"{distance:.4f}", "; ".join(remarks), survey.errors[i],
        )  # fmt: skip


def read_groups(folder: Path, cases: Sequence[Case]) -> Groups:
    """Read the groups of an audit that saw these cases, and maybe more.

    Raises SplitError where the audit is missing, malformed, or did not see every case.
    """
    try:
        fingerprint = json.loads((folder / "audit.json").read_text(encoding="utf-8"))["fingerprint"]
        files = read_table(folder / "files.csv", errors="strict")
        rows = {row["case"]: (row["group"], row["picture"]) for row in files}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as e:
        fix = "Make it with `tumorlens audit DIR... --out OUT`."
        raise SplitError(folder, f"cannot be read as an audit ({e})", fix) from e
    lost = [case for case in cases if case.key not in rows]
    if lost:
        fact = f"did not see {len(lost)} of the scans given, first {lost[0].path}"
        raise SplitError(folder, fact, "Audit the same folders, or more.")
    found = np.array([rows[case.key] for case in cases])
    numbers = [np.unique(column, return_inverse=True)[1] for column in found.T]
    return Groups(numbers[0].astype(np.int64), numbers[1].astype(np.int64), fingerprint)
