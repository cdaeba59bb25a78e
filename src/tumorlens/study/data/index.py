"""A folder of labeled scans, in any of three layouts, becomes a list of Cases."""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorlens import labels
from tumorlens.errors import CasesError, UnknownLabelError
from tumorlens.files import read_table, write_table
from tumorlens.images.readers import find_scans
from tumorlens.records import Case
from tumorlens.study.data.registry import DATASETS

SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val",
               "validation": "val", "test": "test", "testing": "test"}  # fmt: skip
UNLABELED_NAMES = frozenset({"pred", "unlabeled", "unlabelled"})
COLUMNS = ("path", "label", "modality", "split", "patient", "group", "mask")


@dataclass(frozen=True)
class _Row:
    """A case before its label is understood."""

    path: Path
    inside: str  # path inside the set, posix
    name: str  # label as written
    modality: str | None = None
    split: str | None = None
    patient: str | None = None
    group: str | None = None
    mask: Path | None = None


def read_cases(
    folders: str | Path | Sequence[str | Path], *, unlabeled: bool = False
) -> list[Case]:
    """List the labeled scans of one folder or several; with `unlabeled` the others too.

    A folder is one of: class folders; split/class folders; a folder with `cases.csv` (or that
    file itself). Raises CasesError (no such folder, nothing in it, a table without the needed
    columns, listed files missing) and UnknownLabelError, which names every unknown class.
    """
    folders = [folders] if isinstance(folders, str | Path) else list(folders)
    cases = [case for folder in folders for case in _read_folder(Path(folder), unlabeled)]
    doubled = [key for key, count in Counter(case.key for case in cases).items() if count > 1]
    if doubled:
        raise CasesError(
            ", ".join(map(str, folders)),
            f"{len(doubled)} cases are named twice, first {doubled[0]}",
            "Give each folder once, and give folders different names.",
        )
    return cases


def write_cases(cases: Iterable[Case], out: Path) -> None:
    """Write `cases.csv`, with paths relative to its own folder."""
    base = out.resolve().parent
    base.mkdir(parents=True, exist_ok=True)
    rows = (
        [_relative(case.path, base), case.label, labels.modality_of(case.label) or "",
         case.split or "", case.patient or "", case.group or "",
         _relative(case.mask, base) if case.mask else ""]
        for case in cases
    )  # fmt: skip
    write_table(out, COLUMNS, rows)


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path.resolve(), base)).as_posix()


def _read_folder(folder: Path, unlabeled: bool) -> Iterator[Case]:
    if not folder.exists():
        raise CasesError(folder, "does not exist", "Check the path.")
    table = folder if folder.is_file() else folder / "cases.csv"
    dataset = table.resolve().parent.name
    rows = [
        row
        for row in (_rows_of_table(table) if table.is_file() else _rows_of_folders(folder))
        if unlabeled or row.name.lower() not in UNLABELED_NAMES
    ]
    if not rows:
        raise CasesError(
            folder,
            "holds no labeled scans",
            "Give a folder of class folders (yes/no, glioma/...), of train/test folders with "
            "class folders in them, or one with a cases.csv (path,label).",
        )
    return _understood(rows, folder, dataset)


def _rows_of_folders(folder: Path) -> Iterator[_Row]:
    children = sorted(child for child in folder.iterdir() if child.is_dir())
    splits = [child for child in children if child.name.lower() in SPLIT_NAMES]
    inside_splits = [
        (child, SPLIT_NAMES[split.name.lower()])
        for split in splits
        for child in sorted(split.iterdir())
    ]
    # Beside train and test, a folder of unlabeled scans may stand; any other is not looked into.
    beside = [(c, None) for c in children if not splits or c.name.lower() in UNLABELED_NAMES]
    for class_folder, split in [*inside_splits, *beside]:
        if class_folder.name.startswith(".") or not class_folder.is_dir():
            continue
        for path in find_scans([class_folder]):
            inside = path.relative_to(folder).as_posix()
            yield _Row(path=path, inside=inside, name=class_folder.name, split=split)


def _rows_of_table(table: Path) -> Iterator[_Row]:
    base = table.parent
    try:
        read = read_table(table, errors="strict")
    except (UnicodeDecodeError, csv.Error) as e:
        raise CasesError(table, f"is not CSV in UTF-8 ({e})", "Save it as CSV in UTF-8.") from e
    if not read:
        raise CasesError(table, "holds no rows", "Name one scan a row, under a head of columns.")
    records = [{name: value.strip() for name, value in row.items()} for row in read]
    missing = {"path", "label"} - set(records[0])
    if missing:
        columns = ", ".join(sorted(missing))
        raise CasesError(table, f"has no column {columns}", f"Columns: {','.join(COLUMNS)}")
    _check_records(table, records)
    for record in records:
        split = record.get("split", "").lower()
        yield _Row(
            path=base / record["path"],
            inside=record["path"],
            name=record["label"],
            modality=record.get("modality", "").lower() or None,
            split=SPLIT_NAMES.get(split),
            patient=record.get("patient") or None,
            group=record.get("group") or None,
            mask=base / record["mask"] if record.get("mask") else None,
        )


def _check_records(table: Path, records: Sequence[dict[str, str]]) -> None:
    """Refuse values that would go wrong, or go missing, later on."""
    for column, known in (("modality", labels.MODALITIES), ("split", SPLIT_NAMES)):
        odd = {record.get(column, "").lower() for record in records} - {"", *known}
        if odd:
            fact = f"has unknown values of {column}: {', '.join(sorted(odd))}"
            raise CasesError(table, fact, f"Known are {', '.join(known)}, or nothing.")
    if not all(record["path"] for record in records):
        raise CasesError(table, "has rows without a path", "Name a file in every row.")
    named = [
        record[column] for record in records for column in ("path", "mask") if column in record
    ]
    lost = [name for name in named if name and not (table.parent / name).exists()]
    if lost:
        fact = f"lists {len(lost)} files that do not exist, first {lost[0]}"
        raise CasesError(table, fact, "Paths are relative to the table's own folder.")


def _understood(rows: Sequence[_Row], folder: Path, dataset: str) -> Iterator[Case]:
    known = DATASETS.get(dataset.lower())
    set_labels = known.labels if known else {}
    named: dict[tuple[str, str | None], str] = {}
    unknown: Counter[str] = Counter()
    for row in rows:
        modality = row.modality or (known.modality if known else None)
        label = labels.canonical_label(set_labels.get(row.name, row.name), modality=modality)
        if row.name.lower() in UNLABELED_NAMES:
            label = labels.UNLABELED
        if label is None:
            unknown[row.name] += 1
        else:
            named[row.name, row.modality] = label
    if unknown:
        raise _unknown_labels(folder, unknown)
    for row in rows:
        yield Case(
            path=row.path,
            key=f"{dataset}/{row.inside}",
            label=named[row.name, row.modality],
            dataset=dataset,
            split=row.split,
            patient=row.patient,
            group=row.group,
            mask=row.mask,
        )


def _unknown_labels(folder: Path, unknown: Counter[str]) -> UnknownLabelError:
    listed = ", ".join(f"{name} ({count})" for name, count in unknown.most_common(20))
    return UnknownLabelError(
        folder,
        f"has classes that are not known: {listed}",
        "Rename them, or write a cases.csv with one of: " + ", ".join(sorted(labels.NAMES)) + ".",
    )
