"""Train, validation and test parts that share no image and no patient.

The split file is a table, one row per case: `path` as it was given, `split` (empty for a file
that cannot be read), `label`, `group` (cases of one group never part), `image_id` (the same for
copies of one image), `patient`, `case` (the key that finds the row again wherever the set is
mounted), `notes` (why a file is in no part), and two that are the same in every row: `audit`, the
fingerprint of the search for copies, and `fingerprint`, the hash of all that decides, so that an
edited or mixed file is noticed.
"""

import csv
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import LeakError, SplitError
from tumorlens.files import read_table, write_file, write_table
from tumorlens.images.readers import attempt, read_scan
from tumorlens.labels import UNLABELED
from tumorlens.records import Case, Unusable
from tumorlens.study.data.case_table import SPLIT_NAMES
from tumorlens.study.data.groups import Groups, Leak, find_leaks, grouped_folds

UNREADABLE = "could not be read"
PARTS = ("train", "val", "test")
OLD_NAMES = {"picture": "image_id"}  # of columns, up to version 0.1
HASHED = ("path", "split", "label", "group", "image_id", "patient", "case", "audit")
COLUMNS = (*HASHED, "notes", "fingerprint")
FIRST_COLUMNS = ("path", "split", "label", "group", "case", "audit", "fingerprint")  # ever


@dataclass(frozen=True)
class Split:
    """A split that was made or read."""

    parts: Mapping[str, str]  # case key -> train | val | test
    groups: Mapping[str, str]  # case key -> group
    image_ids: Mapping[str, str]  # case key -> the same name for copies of one image
    audit: str  # of the search that found the groups, 16 hex digits
    fingerprint: str  # 16 hex digits
    left_out: Mapping[str, str] = field(default_factory=dict)  # case key -> why it has no part


def split_cases(
    cases: Sequence[Case], groups: Groups, *, test: float = 0.15, val: float = 0.15, seed: int = 0
) -> list[str]:
    """Assign parts by whole groups, stratified by data set and label.

    `test` and `val` are shares of all cases, met as nearly as whole groups allow. Raises
    SplitError where the shares leave no training part or a label has too few groups.
    """
    if not (0 < test < 1 and 0 <= val < 1 and test + val < 1):
        fix = "Both are shares, and something must be left to train on."
        raise SplitError("split", f"test {test} and validation {val} cannot be taken", fix)
    strata = np.array([f"{case.dataset}/{case.label}" for case in cases])
    _check_strata(strata, groups.groups)
    parts = np.full(len(cases), "train", object)
    held_out = _one_fold(strata, groups.groups, share=test, seed=seed)
    parts[held_out] = "test"
    rest = np.setdiff1d(np.arange(len(cases)), held_out)
    if val > 0:
        inside = _one_fold(strata[rest], groups.groups[rest], share=val / (1 - test), seed=seed + 1)
        parts[rest[inside]] = "val"
    fill_gaps(parts, strata, groups.groups, needed=("test", "val") if val > 0 else ("test",))
    return parts.tolist()


def split_usable(
    cases: Sequence[Case],
    groups: Groups,
    *,
    divide: Callable[[Sequence[Case], Groups], list[str]],
) -> list[str]:
    """Divide the cases that can be read; each of the others gets the part ""."""
    if groups.usable is None or groups.usable.all():
        return divide(cases, groups)
    rows = np.flatnonzero(groups.usable)
    parts = np.full(len(cases), "", object)
    if len(rows):
        parts[rows] = divide([cases[i] for i in rows.tolist()], groups.take(rows))
    return parts.tolist()


def split_with_unlabeled(cases: Sequence[Case], groups: Groups) -> list[str]:
    """Assign parts as `split_cases` does; a scan without a label follows its group, or is train."""
    labeled = np.array([case.label != UNLABELED for case in cases], bool)
    parts = np.full(len(cases), "train", object)
    if labeled.any():
        rows = np.flatnonzero(labeled)
        parts[rows] = split_cases([cases[i] for i in rows.tolist()], groups.take(rows))
    part_of = dict(zip(groups.groups[labeled].tolist(), parts[labeled].tolist(), strict=True))
    for i in np.flatnonzero(~labeled).tolist():
        parts[i] = part_of.get(int(groups.groups[i]), "train")
    return parts.tolist()


def fill_gaps(
    parts: NDArray[np.object_],
    strata: NDArray[np.str_],
    groups: NDArray[np.int64],
    *,
    needed: Sequence[str],
) -> None:
    """Move a label's smallest training group into a part that lacks the label, in place."""
    for stratum in np.unique(strata):
        for part in needed:
            if ((strata == stratum) & (parts == part)).any():
                continue
            learned, sizes = np.unique(
                groups[(strata == stratum) & (parts == "train")], return_counts=True
            )
            if len(learned) > 1:
                parts[groups == learned[sizes.argmin()]] = part


def _check_strata(strata: NDArray[np.str_], groups: NDArray[np.int64]) -> None:
    for stratum in np.unique(strata):
        count = len(np.unique(groups[strata == stratum]))
        if count < 3:
            raise SplitError(
                stratum,
                f"has {count} independent groups, too few for three parts",
                "Add scans of other patients, or leave this class out.",
            )


def _one_fold(
    strata: NDArray[np.str_], groups: NDArray[np.int64], *, share: float, seed: int
) -> NDArray[np.int64]:
    """Take whole groups holding about `share` of the cases, in 40ths (20ths of small sets)."""
    # No more pieces than groups, or than the largest stratum has cases: scikit-learn refuses.
    count = len(np.unique(groups))
    largest = int(np.unique(strata, return_counts=True)[1].max())
    pieces = min(40 if count >= 200 else 20, count, largest)
    folds = [fold for _, fold in grouped_folds(strata, groups, count=pieces, seed=seed)]
    sizes = np.cumsum([len(fold) for fold in folds[:-1]])
    taken = int(np.abs(sizes - share * len(strata)).argmin()) + 1
    return np.sort(np.concatenate(folds[:taken]))


def leave_out(
    cases: Sequence[Case], parts: Sequence[str], groups: Groups, patterns: Sequence[str]
) -> list[str]:
    """Return the parts with whole groups of the cases whose key matches moved into test.

    `patterns` have wildcards as file names do. Raises SplitError for one that matches nothing.
    """
    keys = [case.key for case in cases]
    matched = [np.array([fnmatchcase(key, pattern) for key in keys]) for pattern in patterns]
    for pattern, rows in zip(patterns, matched, strict=True):
        if not rows.any():
            fix = f"Patterns are held against SET/PATH, such as {keys[0]}."
            raise SplitError(pattern, "matches no case", fix)
    gone = np.isin(groups.groups, groups.groups[np.any(matched, axis=0)])
    return np.where(gone, "test", np.asarray(parts, object)).tolist()


def published_parts(cases: Sequence[Case]) -> list[str]:
    """Return each case the part that its own folder or table publishes.

    Raises SplitError where a case has none.
    """
    lost = [case for case in cases if case.split not in PARTS]
    if lost:
        raise SplitError(
            lost[0].path,
            f"and {len(lost) - 1} more cases publish no split",
            "Use a grouped split (leave out --published).",
        )
    return [str(case.split) for case in cases]


def leaks_of(split: Split) -> Leak:
    """Count the leaks of a whole split file."""
    parts, groups = list(split.parts.values()), [split.groups[key] for key in split.parts]
    return find_leaks(["all"] * len(parts), parts, groups)[0]


def with_groups(cases: Sequence[Case], groups: Groups) -> list[Case]:
    """Return cases the groups that were found."""
    return [
        replace(case, group=f"g{number:05d}")
        for case, number in zip(cases, groups.groups, strict=True)
    ]


def write_split(out: Path, cases: Sequence[Case], parts: Sequence[str], *, groups: Groups) -> Split:
    """Write the split file whole, or not at all."""
    rows = [
        [str(c.path), part, c.label, f"g{g:05d}", f"p{p:05d}", c.patient or "", c.key, groups.audit]
        for c, part, g, p in zip(cases, parts, groups.groups, groups.image_ids, strict=True)
    ]
    fingerprint = _fingerprint(rows)
    notes = ("" if part else _why_unusable(case) for case, part in zip(cases, parts, strict=True))
    table = ([*row, note, fingerprint] for row, note in zip(rows, notes, strict=True))
    write_table(out, COLUMNS, table)
    return read_split(out)


def _why_unusable(case: Case) -> str:
    found = attempt(read_scan, case.path)
    return found.reason if isinstance(found, Unusable) else UNREADABLE


def read_split(path: Path) -> Split:
    """Read a split file; raises SplitError if it is missing, malformed or was edited."""
    try:
        stored = read_table(path, errors="strict")
    except (OSError, ValueError, csv.Error) as e:
        fix = "Make it with `tumorlens split DIR --out FILE`."
        raise SplitError(path, f"cannot be read as a split file ({e})", fix) from e
    rows = [{OLD_NAMES.get(name, name): cell for name, cell in row.items()} for row in stored]
    needed = {*HASHED, "fingerprint"}
    if not rows or any(not needed <= row.keys() or not row["fingerprint"] for row in rows):
        raise SplitError(path, "is not a split file", f"Its columns are {', '.join(COLUMNS)}.")
    fingerprint = _fingerprint([[row[name] for name in HASHED] for row in rows])
    if {row["fingerprint"] for row in rows} != {fingerprint}:
        raise SplitError(path, "was edited after it was made", "Make the split again.")
    return Split(
        parts={row["case"]: row["split"] for row in rows if row["split"]},
        groups={row["case"]: row["group"] for row in rows},
        image_ids={row["case"]: row["image_id"] for row in rows},
        audit=rows[0]["audit"],
        fingerprint=fingerprint,
        left_out={row["case"]: row.get("notes") or UNREADABLE for row in rows if not row["split"]},
    )


def parts_in(path: Path, cases: Sequence[Case]) -> list[str]:
    """Return each case its part in any table of files and parts, "" where it is not named.

    The table is a split file, or a CSV with a column `split` (train, val, test, or what folders
    are called) and one of `case` or `path`; paths are tried from here and from the table's own
    folder. Raises SplitError where it is no such table, or names none of the cases.
    """
    try:
        rows = read_table(path, errors="strict")
    except (OSError, ValueError, csv.Error) as e:
        fix = "Give a CSV with the columns path and split."
        raise SplitError(path, f"cannot be read as a table ({e})", fix) from e
    if not rows or "split" not in rows[0] or not {"case", "path"} & set(rows[0]):
        raise SplitError(path, "has not the columns path (or case) and split", "Name them so.")
    odd = {(row["split"] or "").strip() for row in rows} - {""}
    odd = {name for name in odd if name.lower() not in SPLIT_NAMES}
    if odd:
        fact = f"has unknown parts: {', '.join(sorted(odd)[:10])}"
        raise SplitError(path, fact, f"Known are {', '.join(SPLIT_NAMES)}, or nothing.")
    named: dict[str, str] = {}
    for row in rows:
        part = SPLIT_NAMES.get((row["split"] or "").strip().lower(), "")
        where = row.get("path") or ""
        for name in (row.get("case"), *map(_absolute, (where, path.parent / where))):
            named.setdefault(name or "", part)
    found = [named.get(case.key, named.get(_absolute(case.path), "")) for case in cases]
    if not any(found):
        fact = f"names none of the {len(cases)} files given"
        raise SplitError(path, fact, "Give the folders that the split was made from.")
    return found


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path)


def copy_split(source: Path, out: Path) -> None:
    """Keep a split file with what was made from it."""
    if source.resolve() != out.resolve():
        write_file(out, source.read_bytes())


def _fingerprint(rows: Sequence[Sequence[str]]) -> str:
    """Hash what a split decides; where the files are mounted does not count."""
    text = "\n".join("\t".join(row[1:]) for row in sorted(rows, key=lambda row: row[6]))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def apply_split(cases: Sequence[Case], split: Split, *, allow_leaks: bool = False) -> list[Case]:
    """Return cases their part and group; cases the split does not name are left out.

    Raises SplitError if it names none of them, LeakError if its groups part and
    `allow_leaks` is False.
    """
    known = [case for case in cases if case.key in split.parts]
    if not known:
        fact = f"names none of the {len(cases)} cases given"
        raise SplitError("split", fact, "Give the folders that the split was made from.")
    leak = leaks_of(split)
    if leak.in_train_or_val and not allow_leaks:
        raise LeakError(
            "split",
            f"leaks: {leak.in_train_or_val} of {leak.n} test cases have a copy or a slice of "
            "the same patient in training or validation",
            "Make a grouped split, or pass --allow-leaks and see it printed on every page.",
        )
    return [
        replace(case, split=split.parts[case.key], group=split.groups[case.key]) for case in known
    ]
