"""A study of a table of features alone: ours, or the published one of 3,762 MRI slices."""

import csv
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens import __version__
from tumorlens.errors import CasesError
from tumorlens.files import read_table, replacing
from tumorlens.progress import Steps, silent_steps
from tumorlens.reports.page import render_page
from tumorlens.study.explore.charts import feature_charts, plotly_script
from tumorlens.study.explore.page import main_contrasts
from tumorlens.study.explore.record import finite
from tumorlens.study.explore.tabular import modality_rows, study_table
from tumorlens.study.features.table import FeatureTable, read_features

SCHEMA = 1
RECORD, PAGE = "tabular.json", "tabular.html"


def study_features(
    path: Path, *, groups: Path | None, now: datetime, steps: Steps = silent_steps
) -> dict[str, Any]:
    """Study a features.csv or the published table, one modality at a time; `now` dates it.

    `groups` is the groups.csv of an audit of the same scans. Without it every row counts as
    independent, which flatters: the figures say so. Raises CasesError where either cannot be
    read, or where the audit did not see the scans.
    """
    table = read_features(path)
    numbers = np.arange(len(table.paths)) if groups is None else _groups(table, groups)
    studies = {}
    for modality, rows in modality_rows(table).items():
        if (rows & table.usable).any():
            with steps(f"models of features, {modality}") as report:
                studies[modality] = study_table(table.rows(rows), numbers[rows], progress=report)
    return finite({
        "schema": SCHEMA,
        "tumorlens": __version__,
        "created": now.isoformat(timespec="seconds"),
        "table": path.name,
        "n": len(table.paths),
        "grouped": groups is not None,
        "features": studies,
    })  # fmt: skip


def _groups(table: FeatureTable, path: Path) -> NDArray[np.int64]:
    """Give the group of each row as a number: found by path, or by name without its end."""
    try:
        rows = [(row["path"], row["group"]) for row in read_table(path)]
    except (OSError, KeyError, csv.Error) as e:
        fix = "Give the groups.csv that `tumorlens audit` wrote."
        raise CasesError(path, f"cannot be read as groups ({type(e).__name__}: {e})", fix) from e
    named = dict(rows)
    stems: dict[str, set[str]] = {}
    for name, group in rows:
        stems.setdefault(Path(name).stem, set()).add(group)
    # The published table names pictures, not files; a name that several groups bear says nothing.
    alone = {stem: next(iter(found)) for stem, found in stems.items() if len(found) == 1}
    found = [named.get(name) or alone.get(Path(name).stem) for name in table.paths]
    lost = [name for name, group in zip(table.paths, found, strict=True) if group is None]
    if lost:
        fact = f"do not name {len(lost)} of {len(found)} scans of the table, first {lost[0]}"
        raise CasesError(path, fact, "Audit the folder that the table was made from, alone.")
    return np.unique(np.array(found, str), return_inverse=True)[1].astype(np.int64)


def write_table_study(figures: Mapping[str, Any], out: Path) -> None:
    """Write tabular.json and the page tabular.html into a folder."""
    page = render_page(
        "tabular.html",
        figures=figures,
        charts={"features": feature_charts(figures)},
        contrasts=main_contrasts(figures),
        script=plotly_script(),
    )
    text = json.dumps(figures, indent=1, allow_nan=False) + "\n"
    for name, content in ((RECORD, text), (PAGE, page)):
        with replacing(out / name) as partial:
            partial.write_text(content, encoding="utf-8")
