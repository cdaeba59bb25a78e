"""How often a test part has been measured: each time makes the next figure less of a test."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from tumorlens.files import read_table, write_table
from tumorlens.models.bundle import SHIPPED, Bundle
from tumorlens.records import Case
from tumorlens.reports.evaluation import Evaluation, TestAccesses

NAME, OLD_NAME = "test_access_log.csv", "looks.csv"


@dataclass(frozen=True)
class TestAccess:
    """One evaluation; a row of the log."""

    __test__ = False  # no class of tests

    created: str
    bundle: str
    split: str  # fingerprint of the split file, "" without
    part: str
    n: int
    scans: str  # 16 hex digits of the keys and labels that were measured


COLUMNS = tuple(TestAccess.__dataclass_fields__)


def log_evaluation(
    evaluation: Evaluation, bundle: Bundle, *, out: Path, now: datetime
) -> Evaluation:
    """Log an evaluation before anything of it is written or printed, and count it in its result."""
    result = evaluation.result
    accesses = log_access(
        evaluation.cases,
        bundle,
        split=result.split.fingerprint or "",
        part=result.part,
        out=out,
        now=now,
    )
    return replace(evaluation, result=replace(result, test_accesses=accesses))


def log_access(
    cases: Sequence[Case], bundle: Bundle, *, split: str, part: str, out: Path, now: datetime
) -> TestAccesses:
    """Add a row to the log of the bundle's run folder, or of `out`, and count.

    `out` is taken where the bundle stands in no run folder, ships with tumorlens, or cannot be
    written beside.
    """
    run = _run_folder(bundle)
    access = TestAccess(
        created=now.isoformat(timespec="seconds"),
        bundle=bundle.version,
        split=split,
        part=part,
        n=len(cases),
        scans=_hash(cases),
    )
    if run is not None:
        try:
            return _add(run, access, folder="run")
        except PermissionError:  # somebody else's run
            pass
    return _add(out, access, folder="results")


def _run_folder(bundle: Bundle) -> Path | None:
    """Return the run that made a bundle, where it stands in one."""
    folder = bundle.folder.resolve()
    if folder.is_relative_to(SHIPPED.resolve()) or folder.name != "bundle":
        return None
    return folder.parent


def _hash(cases: Sequence[Case]) -> str:
    lines = sorted(f"{case.key}\t{case.label}" for case in cases)
    text = "\n".join(lines).encode(errors="surrogateescape")
    return hashlib.sha256(text).hexdigest()[:16]


def _add(log: Path, access: TestAccess, *, folder: str) -> TestAccesses:
    new = {name: str(value) for name, value in asdict(access).items()}
    rows = [*_read(log / NAME), new]
    write_table(log / NAME, COLUMNS, rows)
    rows = [*_read(log / OLD_NAME), *rows]
    same = [row for row in rows if row.get("scans") == access.scans]
    part = [
        row for row in rows if (row.get("split"), row.get("part")) == (access.split, access.part)
    ]
    return TestAccesses(folder, len(same), len(part), len({row.get("bundle") for row in same}))


def _read(path: Path) -> list[dict[str, str]]:
    return read_table(path) if path.is_file() else []
