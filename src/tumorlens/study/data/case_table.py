"""`cases.csv`: a table of labeled scans, read as people keep it and written for them to edit."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorlens import labels
from tumorlens.errors import CasesError
from tumorlens.files import numbered_rows, write_table
from tumorlens.images.frames import file_of
from tumorlens.images.readers import reader_of_name
from tumorlens.losses import counted
from tumorlens.records import Case

SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val",
               "validation": "val", "test": "test", "testing": "test"}  # fmt: skip
UNLABELED_NAMES = frozenset({"pred", "unlabeled", "unlabelled"})
LEVELS = "levels.csv"  # beside it: path,level
COLUMNS = ("path", "label", "modality", "split", "patient", "group", "mask", "level")
_READ = (*COLUMNS, "slices")  # the last of volumes alone, which are written as slices
VOLUME = "volume"  # of a NIfTI file with several; tables of other files may mean anything by it
Record = Mapping[str, str]  # a row by the names of its columns, those of COLUMNS in lower case


@dataclass(frozen=True)
class CaseRow:
    """A case before its label is understood."""

    path: Path
    inside: str  # path inside the set, posix
    name: str  # label as written
    modality: str | None = None
    split: str | None = None
    patient: str | None = None
    group: str | None = None
    mask: Path | None = None
    level: float | None = None  # in the stack of its patient
    slices: str | None = None  # of a volume, those that show its tumor: "12-40", "all", "unknown"
    volume_number: int | None = None  # of a NIfTI file with several volumes, from 0
    volume: str = ""  # file or folder that it is a slice of, inside the set
    class_folder: Path | None = None  # whose name is the label, where there is one

    @property
    def names_volume(self) -> bool:
        """Whether it is meant for a volume: a folder, or a file with what its slices show."""
        return self.slices is not None or self.path.is_dir()


def rows_of_table(table: Path) -> list[CaseRow]:
    """Read a table of scans; raises CasesError with the number of the row that is wrong."""
    records = _read_records(table)
    base, levels = table.parent, read_levels(table.with_name(LEVELS))
    return [
        CaseRow(
            path=base / record["path"],
            inside=record["path"],
            name=record["label"],
            modality=record.get("modality", "").lower() or None,
            split=SPLIT_NAMES.get(record.get("split", "").lower()),
            patient=record.get("patient") or None,
            group=record.get("group") or None,
            mask=base / record["mask"] if record.get("mask") else None,
            level=_level(record["level"]) if record.get("level") else levels.get(record["path"]),
            slices=record.get("slices", "").lower() or None,
            volume_number=int(volume) if (volume := _volume(record)) else None,
        )
        for _, record in records
    ]


def files_outside(table: Path, cases: Iterable[Case]) -> list[Path]:
    """Return the scans and masks that a table reaches by an absolute path or by "..".

    They are read: a table may stand beside its scans. But whoever made it has chosen them.
    """
    base, start = os.path.normpath(table.parent), str(table.parent)
    named = [path for case in cases for path in (case.path, case.mask) if path is not None]
    named = list(dict.fromkeys(map(file_of, named)))
    odd = [path for path in named if ".." in path.parts or not str(path).startswith(start)]
    return [path for path in odd if Path(base) not in Path(os.path.normpath(path)).parents]


def read_levels(table: Path) -> dict[str, float]:
    """Read where slices lie in their stacks, 0 lowest to 1 highest, by path; {} without a table.

    Raises CasesError for a value that is none.
    """
    if not table.is_file():
        return {}
    levels = {}
    for number, row in numbered_rows(table):
        try:
            levels[row["path"]] = _level(row["level"])
        except (KeyError, ValueError) as e:
            fix = "Columns: path,level; a level is 0 at the lowest slice and 1 at the highest."
            raise CasesError(table, f"row {number} states no level ({e})", fix) from e
    return levels


def _level(text: str) -> float:
    level = float(text)
    if not 0 <= level <= 1:
        raise ValueError(f"{level} is not from 0 to 1")
    return level


def kept_columns(table: Path) -> tuple[tuple[str, ...], dict[Path, Record]]:
    """Return the names of a table's other columns, and its rows by the file that each names."""
    records = _read_records(table)
    names = tuple(name for name in (records[0][1] if records else {}) if name not in _READ)
    return names, {(table.parent / record["path"]).resolve(): record for _, record in records}


def write_cases(
    cases: Iterable[Case],
    out: Path,
    *,
    kept: tuple[Sequence[str], Mapping[Path, Record]] = ((), {}),
) -> None:
    """Write `cases.csv`, with paths relative to its own folder.

    `kept` are further columns and their rows, as `kept_columns` found them.
    """
    base = out.resolve().parent
    base.mkdir(parents=True, exist_ok=True)
    names, records = kept
    write_table(out, (*COLUMNS, *names), (
        [_relative(case.path, base), case.label, labels.modality_of(case.label) or "",
         case.split or "", case.patient or "", case.group or "",
         _relative(case.mask, base) if case.mask else "",
         "" if case.level is None else f"{case.level:g}",
         *(records.get(case.path.resolve(), {}).get(name, "") for name in names)]
        for case in cases
    ))  # fmt: skip


def _relative(path: Path, base: Path) -> str:
    return Path(os.path.relpath(path.resolve(), base)).as_posix()


def _read_records(table: Path) -> list[tuple[int, Record]]:
    try:
        read = [(row, record) for row, record in numbered_rows(table) if any(record.values())]
    except (OSError, UnicodeError, csv.Error) as e:
        raise CasesError(table, f"is not CSV in UTF-8 ({e})", "Save it as CSV in UTF-8.") from e
    if not read:
        raise CasesError(table, "holds no rows", "Name one scan a row, under a head of columns.")
    records = [(number, _tidied(record, table.parent)) for number, record in read]
    missing = {"path", "label"} - set(records[0][1])
    if missing:
        fact = f"has no column {', '.join(sorted(missing))}; it has {', '.join(records[0][1])}"
        raise CasesError(table, fact, f"Columns: {','.join(COLUMNS)}")
    _check_records(table, records)
    return records


def _tidied(record: Record, base: Path) -> Record:
    """Return a row without blanks around its cells, its columns and paths as they are here."""
    known = {name: name.lower() if name.lower() in _READ else name for name in record}
    tidy = {known[name]: value.strip() for name, value in record.items()}
    for column in ("path", "mask"):
        name = tidy.get(column, "")
        if "\\" in name and not os.path.lexists(file_of(base / name)):  # written on Windows
            tidy[column] = name.replace("\\", "/")
    return tidy


def _check_records(table: Path, records: Sequence[tuple[int, Record]]) -> None:
    """Refuse values that would go wrong, or go missing, later on."""
    for column, known in (("modality", labels.MODALITIES), ("split", SPLIT_NAMES)):
        odd = {record.get(column, "").lower(): row for row, record in reversed(records)}
        odd = {value: row for value, row in odd.items() if value not in ("", *known)}
        if odd:
            named = ", ".join(f"{value} (row {odd[value]})" for value in sorted(odd))
            fact = f"has unknown values of {column}: {named}"
            raise CasesError(table, fact, f"Known are {', '.join(known)}, or nothing.")
    for row, record in records:
        try:
            _level(record.get("level") or "0")
        except ValueError as e:
            fix = (
                "A level is 0 at the lowest slice and 1 at the highest; name other columns so not."
            )
            raise CasesError(table, f"states no level in row {row} ({e})", fix) from e
    for column, fix in (("path", "Name a file in every row."), ("label", "Write one in each row.")):
        empty = [row for row, record in records if not record[column]]
        if empty:
            raise CasesError(table, f"has no {column} in {_in_rows(empty)}", fix)
    rows: dict[tuple[str, str], list[int]] = {}
    for row, record in records:
        volume = _volume(record)
        if volume and not volume.isdecimal():
            fix = "Number the volumes of a file from 0; name other columns otherwise."
            raise CasesError(table, f"states no volume in row {row} ({volume})", fix)
        rows.setdefault((os.path.normpath(record["path"]), volume), []).append(row)
    for (name, _), found in rows.items():
        if len(found) > 1:
            fact = f"has {name}, which is named twice, in {_in_rows(found)}"
            raise CasesError(table, fact, "Leave one of the rows.")
    _check_files(table, records)


def _volume(record: Record) -> str:
    """Return which volume of a NIfTI file a row names, "" for none."""
    reader = reader_of_name(record["path"])
    return record.get(VOLUME, "") if reader is not None and reader.name == "NIfTI" else ""


def _check_files(table: Path, records: Sequence[tuple[int, Record]]) -> None:
    named = [(record.get(column), row) for row, record in records for column in ("path", "mask")]
    lost = [
        (name, row) for name, row in named if name and not file_of(table.parent / name).exists()
    ]
    if lost:
        name, row = lost[0]
        exist = "that does not exist" if len(lost) == 1 else "that do not exist"
        fact = f"lists {counted(len(lost), 'file')} {exist}, first {name} in row {row}"
        raise CasesError(table, fact, "Paths are relative to the table's own folder.")


def _in_rows(rows: Sequence[int]) -> str:
    named = ", ".join(map(str, rows[:5]))
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"row{'s' if len(rows) > 1 else ''} {named}{more}"
