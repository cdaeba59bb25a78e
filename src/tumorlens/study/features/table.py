"""features.csv: one row per scan, also for one that could not be read."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import CasesError
from tumorlens.files import read_table, write_table
from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec
from tumorlens.progress import Progress, silent
from tumorlens.records import NOT_PLAIN, Case
from tumorlens.study.features.texture import FEATURES, head_of, measure_many

COLUMNS = ("path", "label", *FEATURES, "notes", "error")
FIRST_COLUMNS = ("path", "label", *FEATURES, "error")  # ever
UNDEFINED = "not defined here: "  # how the note begins that names features without a number
BLOCK = 2048  # scans held in memory at a time
# The published table of the 3,762 MRI slices of one public set, under its own names.
PUBLISHED = {"path": "Image", "label": "Class", "asm": "ASM"}
PUBLISHED_LABELS = {"0": "mri_healthy", "1": "mri_tumor"}


@dataclass(frozen=True)
class FeatureTable:
    """The features of n scans."""

    paths: tuple[str, ...]
    labels: tuple[str, ...]  # canonical, "" where none is known
    values: NDArray[np.float64]  # [n, 13] in the order of FEATURES; NaN where there is none
    errors: tuple[str, ...]  # "" where a scan was measured
    notes: tuple[str, ...]  # what else is to be known of a scan

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which rows hold features, [n]."""
        return np.array([not error for error in self.errors], bool)

    def rows(self, chosen: NDArray[np.bool_]) -> "FeatureTable":
        """Keep some rows, by flags [n]."""
        kept = np.flatnonzero(chosen).tolist()
        return FeatureTable(
            tuple(self.paths[i] for i in kept),
            tuple(self.labels[i] for i in kept),
            self.values[kept],
            tuple(self.errors[i] for i in kept),
            tuple(self.notes[i] for i in kept),
        )


def measure_files(
    cases: Sequence[Case | Path],
    spec: InputSpec,
    *,
    cache: Path,
    head_only: bool = False,
    progress: Progress = silent,
) -> FeatureTable:
    """Measure scans as they are prepared by `spec`; one that cannot be is a row with its error.

    The prepared square (128 pixels by default) holds the head on a background of 0.
    `head_only` measures the pixels of the head alone, so that the shape of the head, which is
    the area of background, does not count.
    """
    paths = [case.path if isinstance(case, Case) else Path(case) for case in cases]
    values = np.full((len(paths), len(FEATURES)), np.nan)
    errors, notes = [""] * len(paths), [""] * len(paths)
    for start in range(0, len(paths), BLOCK):
        block = paths[start : start + BLOCK]
        prepared = prepare_files(block, spec, cache=cache)
        good = np.flatnonzero(prepared.usable)
        if len(good):
            pixels = prepared.pixels[good]
            masks = np.stack([head_of(image) for image in pixels]) if head_only else None
            values[start + good] = measure_many(pixels, masks=masks)
        for position, error in prepared.errors.items():
            errors[start + position] = f"{error.fact}. {error.fix}"
        for position, why in prepared.not_plain.items():
            notes[start + position] = f"{NOT_PLAIN}{why}"
        progress(start + len(block), len(paths))
    return FeatureTable(
        tuple(str(path) for path in paths),
        tuple(case.label if isinstance(case, Case) else "" for case in cases),
        values,
        tuple(errors),
        tuple(notes),
    )


def write_features(table: FeatureTable, out: Path) -> None:
    """Write features.csv whole, or leave what stood there; numbers read back as they were.

    What has no number is empty, and `notes` names it where there is no error.
    """
    measured = zip(table.paths, table.labels, table.values.tolist(), strict=True)
    remarks = zip(table.notes, table.errors, strict=True)
    rows = (
        [path, label, *("" if math.isnan(v) else repr(v) for v in values),
         note if error else _with_undefined(note, values), error]
        for (path, label, values), (note, error) in zip(measured, remarks, strict=True)
    )  # fmt: skip
    write_table(out, COLUMNS, rows)


def _with_undefined(note: str, values: Sequence[float]) -> str:
    missing = [name for name, value in zip(FEATURES, values, strict=True) if math.isnan(value)]
    return "; ".join(filter(None, (f"{UNDEFINED}{', '.join(missing)}" if missing else "", note)))


def _undefined(notes: str) -> tuple[list[str], str]:
    """Return the features that notes name as undefined, and the other notes."""
    first, _, rest = notes.partition("; ")
    if not first.startswith(UNDEFINED):
        return [], notes
    return first.removeprefix(UNDEFINED).split(", "), rest


def read_features(path: Path) -> FeatureTable:
    """Read features.csv, or the published table (`Image,Class,Mean,...`) as it is.

    The published table names no files, only images; its classes 0 and 1 become mri_healthy
    and mri_tumor. Its Entropy is another quantity than ours: see `measure`. Raises CasesError
    for a missing file, missing columns or what is not a number.
    """
    fix = "Make it with `tumorlens features DIR --out FILE`."
    try:
        records = read_table(path)
    except (OSError, csv.Error) as e:
        raise CasesError(path, f"cannot be read as a table of features ({e})", fix) from e
    if not records:
        raise CasesError(path, "holds no rows", fix)
    names = _column_names(path, tuple(records[0]))
    errors = tuple(record.get("error", "") for record in records)
    remarks = [_undefined(record.get("notes", "")) for record in records]
    values = [
        [
            math.nan if error or name in missing else _number(path, line, record[names[name]])
            for name in FEATURES
        ]
        for line, (record, error, (missing, _)) in enumerate(
            zip(records, errors, remarks, strict=True), start=2
        )
    ]
    labels = [record[names["label"]] for record in records]
    if names["label"] == PUBLISHED["label"]:
        labels = [PUBLISHED_LABELS.get(label, label) for label in labels]
    paths = tuple(record[names["path"]] for record in records)
    notes = tuple(note for _, note in remarks)
    return FeatureTable(paths, tuple(labels), np.array(values, np.float64), errors, notes)


def _column_names(path: Path, header: Sequence[str]) -> dict[str, str]:
    """Find each column under our name, or under the published one."""
    names = {}
    for name in ("path", "label", *FEATURES):
        published = PUBLISHED.get(name, name.replace("_", " ").title())
        found = [column for column in (name, published) if column in header]
        if not found:
            fact = f"has no column {name} (nor {published})"
            raise CasesError(path, fact, f"Columns: {', '.join(COLUMNS)}.")
        names[name] = found[0]
    return names


def _number(path: Path, line: int, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        fact = f"holds {text!r} in line {line} where a number is needed"
        raise CasesError(path, fact, "Write a number, or nan, or an error in its column.") from None
