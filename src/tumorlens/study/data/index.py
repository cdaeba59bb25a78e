"""A folder of labeled scans, in any of three layouts, becomes a list of Cases.

A set of slices from the net often comes from another one that knows its patients. Who finds the
slices there again knows whose they are, and whether "healthy" is a patient with a stroke: a table
of `PATIENT_COLUMNS` adds that.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tumorlens import labels
from tumorlens.errors import CasesError, UnknownLabelError
from tumorlens.files import numbered_rows
from tumorlens.images.readers import find_files, is_system_file, reader_of_name
from tumorlens.losses import counted, listed
from tumorlens.records import Case
from tumorlens.study.data.case_table import (
    SPLIT_NAMES,
    UNLABELED_NAMES,
    CaseRow,
    files_outside,
    rows_of_table,
)
from tumorlens.study.data.registry import DATASETS, DatasetRow
from tumorlens.study.data.volumes import slices_of_rows

LABEL = (
    "Put NAME_mask.nii.gz beside NAME.nii.gz, or name the mask or the slices that show the tumor "
    "in cases.csv (path,label,mask,slices)."
)
MAX_DEPTH = 3  # at which class folders are looked for where a folder has none itself
PATIENT_COLUMNS = ("path", "patient", "patient_finding")
NORMAL, TUMOR = "normal", "tumor"  # findings that agree with one label each; all else with none


@dataclass(frozen=True)
class LabeledSet:
    """What labeled folders hold."""

    cases: tuple[Case, ...]
    passed_over: Mapping[str, int]  # how many files of each kind are no cases
    outside: tuple[Path, ...] = ()  # scans and masks that a table names outside of its own folder
    left_out: Mapping[str, int] = field(default_factory=dict)  # slices of volumes, by reason


def read_cases(
    folders: str | Path | Sequence[str | Path], *, unlabeled: bool = False
) -> list[Case]:
    """List the labeled scans of folders, as `read_set` does."""
    return list(read_set(folders, unlabeled=unlabeled).cases)


def read_set(folders: str | Path | Sequence[str | Path], *, unlabeled: bool = False) -> LabeledSet:
    """Find the labeled scans of one folder or several; with `unlabeled` the others too.

    A folder is one of: class folders; split/class folders; a folder with `cases.csv` (or that
    file itself). Between the folder and its classes may stand one for each modality. Raises
    CasesError (no such folder, nothing in it, a table without the needed columns, listed files
    missing) and UnknownLabelError, which names every unknown class.
    """
    folders = [folders] if isinstance(folders, str | Path) else list(folders)
    passed: Counter[str] = Counter()
    left: Counter[str] = Counter()
    held = [list(_read_folder(Path(folder), unlabeled, passed, left)) for folder in folders]
    cases = [case for found in held for case in found]
    doubled = [key for key, count in Counter(case.key for case in cases).items() if count > 1]
    if doubled:
        named = ", ".join(map(str, folders))
        same = "are" if len(doubled) > 1 else "is"
        fact = f"{counted(len(doubled), 'case')} {same} named twice, first {doubled[0]}"
        raise CasesError(named, fact, "Give each folder once, and give folders different names.")
    outside: list[Path] = []
    for folder, found in zip(map(Path, folders), held, strict=True):
        if (table := _table_of(folder)).is_file():
            outside += files_outside(table, found)
    return LabeledSet(tuple(cases), dict(sorted(passed.items())), tuple(outside), dict(left))


def describe_left_out(left_out: Mapping[str, int]) -> str:
    """Return in words which slices of volumes are left out, "" for none."""
    n = sum(left_out.values())
    return f"{counted(n, 'slice')} left out: {listed(left_out, limit=20)}" if n else ""


def _table_of(folder: Path) -> Path:
    return folder if folder.is_file() else folder / "cases.csv"


def _read_folder(
    folder: Path, unlabeled: bool, passed: Counter[str], left_out: Counter[str]
) -> list[Case]:
    if not folder.exists():
        raise CasesError(folder, "does not exist", "Check the path.")
    table = _table_of(folder)
    if not folder.is_dir() and not folder.is_file():
        raise CasesError(folder, "is neither a folder nor a file", "Name a folder of scans.")
    dataset = table.resolve().parent.name
    is_table = table.is_file()
    found = rows_of_table(table) if is_table else list(_rows_of_folders(folder, passed))
    rows = [row for row in found if unlabeled or row.name.lower() not in UNLABELED_NAMES]
    if len(rows) < len(found):
        passed["unlabeled scan"] += len(found) - len(rows)
    if not rows:
        raise CasesError(
            folder,
            "holds no labeled scans",
            "Give a folder of class folders (yes/no, glioma/...), of train/test folders with "
            "class folders in them, or one with a cases.csv (path,label).",
        )
    label_of = _labels_of(rows, folder, dataset)
    left: Counter[str] = Counter()
    slices = slices_of_rows(rows, label_of=label_of, left_out=left, is_table=is_table)
    if not slices:
        raise CasesError(folder, f"holds no slice with a label: {describe_left_out(left)}", LABEL)
    left_out.update(left)
    return [_case(row, label_of(row), dataset) for row in slices]


def _rows_of_folders(folder: Path, passed: Counter[str]) -> Iterator[CaseRow]:
    for class_folder, split in _class_folders(folder, None, passed):
        found = find_files([class_folder])
        passed.update(found.passed_over)
        for path in found.scans:
            yield CaseRow(
                path=path, inside=path.relative_to(folder).as_posix(), name=class_folder.name,
                split=split, mask=found.masks.get(path) or found.masks.get(path.parent),
                class_folder=class_folder,
            )  # fmt: skip


def _class_folders(
    folder: Path, split: str | None, passed: Counter[str]
) -> Iterator[tuple[Path, str | None]]:
    """Yield each class folder with its part; count the scans that lie beside them."""
    folders = []
    for child in sorted(folder.iterdir()):
        if child.name.startswith(".") or is_system_file(child.name):
            continue
        if child.is_dir():
            folders.append(child)
        elif reader_of_name(child):
            passed["file outside of class folders"] += 1
    has_parts = split is None and any(child.name.lower() in SPLIT_NAMES for child in folders)
    for child in folders:
        part = SPLIT_NAMES.get(child.name.lower()) if has_parts else None
        if part or _is_of_modality(child):
            yield from _class_folders(child, part or split, passed)
        elif has_parts and child.name.lower() not in UNLABELED_NAMES:
            # Beside train and test, a folder of unlabeled scans may stand; no other is read.
            passed[f"file beside the parts, in {child.name}"] += len(find_files([child]).scans)
        else:
            yield child, split


def _is_of_modality(folder: Path) -> bool:
    """Tell whether a folder is named after a modality alone, and holds class folders."""
    is_class = labels.canonical_label(folder.name) is not None
    return not is_class and bool(labels.modalities_named(folder.name)) and _holds_classes(folder)


def _holds_classes(folder: Path) -> bool:
    """Tell whether a folder holds class folders, or parts that may hold them."""
    return any(
        child.is_dir() and (child.name.lower() in SPLIT_NAMES or labels.canonical_label(child.name))
        for child in folder.iterdir()
    )


def _labels_of(
    rows: Sequence[CaseRow], folder: Path, dataset: str
) -> Callable[[CaseRow], str | None]:
    """Return what gives a row its label; raises UnknownLabelError where one of these has none."""
    known = DATASETS.get(dataset.lower())

    @cache
    def named(name: str, modality: str | None) -> str | None:
        return _label(name, known, modality)

    def label_of(row: CaseRow) -> str | None:
        return named(row.name, _modality(row, known, dataset))

    unknown = Counter(row.name for row in rows if label_of(row) is None)
    if unknown:
        raise _unknown_labels(folder, unknown, rows)
    return label_of


def _case(row: CaseRow, label: str | None, dataset: str) -> Case:
    return Case(
        path=row.path,
        key=f"{dataset}/{row.inside}",
        label=label or labels.UNLABELED,
        dataset=dataset,
        split=row.split,
        patient=row.patient,
        group=row.group,
        mask=row.mask,
        volume=row.volume,
        level=row.level,
    )


def _label(name: str, known: DatasetRow | None, modality: str | None) -> str | None:
    if name.lower() in UNLABELED_NAMES:
        return labels.UNLABELED
    return labels.canonical_label(
        (known.labels if known else {}).get(name, name), modality=modality
    )


def _modality(row: CaseRow, known: DatasetRow | None, dataset: str) -> str | None:
    """Return what a table says, else the nearest folder that names one, else the data set's own."""
    if row.modality:
        return row.modality
    folders = (*reversed(PurePosixPath(row.inside).parts[:-1]), dataset)
    found = next(filter(None, map(labels.modalities_named, folders)), ())
    if len(found) == 1:
        return found[0]
    return known.modality if known else None


def _unknown_labels(
    folder: Path, unknown: Counter[str], rows: Sequence[CaseRow]
) -> UnknownLabelError:
    candidates = {row.class_folder for row in rows if row.name in unknown and row.class_folder}
    nested = next(filter(None, (_nested(path, MAX_DEPTH) for path in sorted(candidates))), None)
    if nested:
        fact = f"holds {nested.name}, which holds class folders itself"
        return UnknownLabelError(folder, fact, f"Give {nested}, or move it elsewhere.")
    listed = ", ".join(f"{name} ({count})" for name, count in unknown.most_common(20))
    return UnknownLabelError(
        folder,
        f"has classes that are not known: {listed}",
        "Rename them, or write a cases.csv with one of: " + ", ".join(sorted(labels.NAMES)) + ".",
    )


def _nested(folder: Path, depth: int) -> Path | None:
    """Return the nearest folder in or below this one that holds class folders."""
    if _holds_classes(folder):
        return folder
    inner = sorted(child for child in folder.iterdir() if child.is_dir()) if depth else []
    return next(filter(None, (_nested(child, depth - 1) for child in inner)), None)


class Known(NamedTuple):
    """Cases with the patients of a table."""

    cases: list[Case]
    contradicted: list[Case]  # whose patient has something else; left out of `cases`


def add_patients(cases: Sequence[Case], table: Path) -> Known:
    """Return the cases with their patients, and apart those whose label a finding contradicts.

    The table has the columns path (inside the set) and patient, and may have patient_finding:
    "normal" contradicts a tumor, "tumor" a healthy scan, any other disease both, since nobody
    says on which slices it shows. Cases that are not named stay as they are. Raises CasesError
    where a column is missing or no case is named.
    """
    rows = {}
    for number, row in numbered_rows(table):
        if not {"path", "patient"} <= set(row):
            raise CasesError(
                table, "has no column path or patient", f"Columns: {','.join(PATIENT_COLUMNS)}"
            )
        if not row["path"] or not row["patient"]:
            raise CasesError(table, f"names no path or patient in row {number}", "Fill it in.")
        rows[row["path"]] = row
    kept, contradicted = [], []
    for case in cases:
        row = rows.get(_inside(case))
        if row is None:
            kept.append(case)
            continue
        finding = row.get("patient_finding", "").strip().lower()
        agrees = not finding or finding == (TUMOR if labels.is_tumor(case.label) else NORMAL)
        (kept if agrees else contradicted).append(replace(case, patient=row["patient"]))
    if not any(_inside(case) in rows for case in cases):
        fact = f"names none of the {len(cases)} scans"
        raise CasesError(table, fact, "Paths are those inside the set, as in its cases.csv.")
    return Known(kept, contradicted)


def _inside(case: Case) -> str:
    """Return the path of a case inside its set."""
    return case.key.split("/", 1)[1]
