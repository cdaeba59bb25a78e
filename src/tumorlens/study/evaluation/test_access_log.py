"""How often a test part has been looked at: each look makes the next figure less of a test."""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from tumorlens.files import write_table
from tumorlens.models.bundle import SHIPPED, Bundle
from tumorlens.records import Case, Evaluation

NAME = "looks.csv"


@dataclass(frozen=True)
class Look:
    """One evaluation; a row of looks.csv."""

    created: str
    bundle: str
    split: str  # fingerprint of the split file, "" without
    part: str
    n: int
    scans: str  # 16 hex digits of the keys and labels looked at


COLUMNS = tuple(Look.__dataclass_fields__)


@dataclass(frozen=True)
class Looks:
    """A look that has been counted."""

    folder: str  # whose looks are counted: "run" or "results"
    same_scans: int  # looks at exactly these scans, this one among them
    same_part: int  # looks at this part of this split, this one among them
    bundles: int  # different bundles that looked at these scans


def counted(evaluation: Evaluation, bundle: Bundle, *, out: Path, now: datetime) -> Evaluation:
    """Count a look before anything of it is written or printed, and write the count into it."""
    figures = evaluation.figures
    looks = count_look(
        evaluation.cases,
        bundle,
        split=figures["split"]["fingerprint"] or "",
        part=figures["part"],
        out=out,
        now=now,
    )
    return replace(evaluation, figures={**figures, "looks": asdict(looks)})


def count_look(
    cases: Sequence[Case], bundle: Bundle, *, split: str, part: str, out: Path, now: datetime
) -> Looks:
    """Add a row to looks.csv of the bundle's run folder, or of `out`, and count.

    `out` is taken where the bundle stands in no run folder, ships with tumorlens, or cannot be
    written beside.
    """
    run = _run_folder(bundle)
    look = Look(
        created=now.isoformat(timespec="seconds"),
        bundle=bundle.version,
        split=split,
        part=part,
        n=len(cases),
        scans=_hash(cases),
    )
    if run is not None:
        try:
            return _add(run / NAME, look, folder="run")
        except PermissionError:  # somebody else's run
            pass
    return _add(out / NAME, look, folder="results")


def _run_folder(bundle: Bundle) -> Path | None:
    """Give the run that made a bundle, where it stands in one."""
    folder = bundle.folder.resolve()
    if folder.is_relative_to(SHIPPED.resolve()) or folder.name != "bundle":
        return None
    return folder.parent


def _hash(cases: Sequence[Case]) -> str:
    lines = sorted(f"{case.key}\t{case.label}" for case in cases)
    text = "\n".join(lines).encode(errors="surrogateescape")
    return hashlib.sha256(text).hexdigest()[:16]


def _add(path: Path, look: Look, *, folder: str) -> Looks:
    rows = [*_read(path), {name: str(value) for name, value in asdict(look).items()}]
    write_table(path, COLUMNS, rows)
    same = [row for row in rows if row["scans"] == look.scans]
    part = [row for row in rows if (row["split"], row["part"]) == (look.split, look.part)]
    return Looks(folder, len(same), len(part), len({row["bundle"] for row in same}))


def _read(path: Path) -> list[dict[str, str]]:
    """Read earlier looks; rows that lack a column are left as they are, with it empty."""
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return [{name: row.get(name) or "" for name in COLUMNS} for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []
