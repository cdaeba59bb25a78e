"""Patients that others have found out for a set without them, and what these patients have.

A set of slices from the net often comes from another one that knows its patients. Who finds the
slices there again knows whose they are, and whether "healthy" is a patient with a stroke.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tumorlens import labels
from tumorlens.errors import CasesError
from tumorlens.files import numbered_rows
from tumorlens.records import Case

COLUMNS = ("path", "patient", "patient_finding")
NORMAL, TUMOR = "normal", "tumor"  # findings that agree with one label each; all else with none


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
                table, "has no column path or patient", f"Columns: {','.join(COLUMNS)}"
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
