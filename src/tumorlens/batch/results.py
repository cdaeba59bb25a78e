"""What a job has come to: how far it is, its rows as one table, and the proof that it is whole."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tumorlens.batch.index import as_text, load_arrow
from tumorlens.batch.parts import (
    PartRecord,
    done_shards,
    part_schema,
    read_part,
    read_record,
    read_series,
)
from tumorlens.batch.plan import PARTS, Options, Plan, Planned, Shard, read_shard
from tumorlens.batch.storage import Folder, is_remote, joined, local_path, named_errors, parent_of
from tumorlens.errors import BatchError
from tumorlens.files import replacing, write_table
from tumorlens.outputs import Outputs
from tumorlens.predictions.document import FIRST_COLUMNS, table_cells
from tumorlens.predictions.series_answer import (
    FIRST_TABLE_COLUMNS,
    SERIES_TABLE,
    TABLE_COLUMNS,
)
from tumorlens.progress import Progress, silent

if TYPE_CHECKING:
    import pyarrow as pa

FIRST = ("scan", "id", *FIRST_COLUMNS)  # columns of every merged table
AT_ONCE = 16  # parts that are asked for side by side
RECENT = 20  # parts whose times give the rate
_RUN_AGAIN = "Run the job again: only what is missing is done."


@dataclass(frozen=True)
class Status:
    """How far a job is."""

    shards: int
    shards_done: int
    scans: int
    scans_done: int
    decisions: Mapping[str, int]
    failures: Mapping[str, int]  # by reason
    core_rate: float | None  # scans a second of one worker
    rate: float | None  # scans a second of all workers, of late
    unfinished: int  # files that killed workers left

    @property
    def seconds_left(self) -> float | None:
        """How long it takes at the rate of late; None where none is known."""
        left = self.scans - self.scans_done
        return left / self.rate if self.rate else None


@dataclass(frozen=True)
class Merged:
    """What a merge wrote."""

    rows: int
    series: int  # answered, or not used, in series.csv
    series_table: str  # beside the table; "" where there are no series


@dataclass(frozen=True)
class Problem:
    """One thing that keeps a job from being whole."""

    part: str
    fact: str


def job_status(job: Folder, plan: Plan) -> Status:
    """Read what workers said of the shards that are done."""
    shards = _done(job, plan)
    records = _records(job, shards)
    decisions: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for record in records:
        decisions.update(record.decisions)
        failures.update(record.failures)
    seconds = sum(record.seconds for record in records)
    scans = sum(record.scans for record in records)
    left = sum(name.endswith(".partial") for name in job.names(PARTS))
    return Status(
        len(plan.shards), len(shards), plan.scans, scans, decisions, failures,
        scans / seconds if seconds else None, _recent_rate(records), left,
    )  # fmt: skip


def _done(job: Folder, plan: Plan) -> list[Shard]:
    done = done_shards(job, plan.shards)
    return [shard for shard in plan.shards if shard.id in done]


def _records(job: Folder, shards: Sequence[Shard]) -> list[PartRecord]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda shard: read_record(job, shard), shards))


def _recent_rate(records: Sequence[PartRecord]) -> float | None:
    """Return scans a second from when the last parts came; None of fewer than two."""
    ordered = sorted(records, key=lambda record: record.finished)[-RECENT:]
    if len(ordered) < 2:
        return None
    first, last = (datetime.fromisoformat(ordered[end].finished) for end in (0, -1))
    seconds = (last - first).total_seconds()
    return sum(record.scans for record in ordered[1:]) / seconds if seconds else None


def merge_parts(
    job: Folder,
    plan: Plan,
    out: str,
    *,
    partial: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Merged:
    """Write the rows of all parts as one Parquet or CSV file, and series.csv beside it.

    Each is whole or as it was. Raises BatchError where parts are missing, unless `partial`, and
    for one that is damaged; OutputError for a local file that no merge wrote, unless `overwrite`.
    """
    write = {".csv": _write_csv, ".parquet": _write_parquet}.get(PurePosixPath(out).suffix.lower())
    if write is None:
        fact = "is no kind of table that is written"
        raise BatchError(out, fact, "Name a .csv or .parquet file.")
    shards = _done(job, plan)
    if len(shards) < len(plan.shards) and not partial:
        fact = f"lacks {len(plan.shards) - len(shards):,} of {len(plan.shards):,} parts"
        raise BatchError(job.url, fact, f"{_RUN_AGAIN} Or merge what is there with --partial.")
    series = sum(record.series for record in _records(job, shards))
    beside = joined(parent_of(out), SERIES_TABLE) if series else ""
    _claim(job, out, beside, overwrite=overwrite)
    with _written(out) as file:
        write(plan, _tables(job, shards, progress), file)
    if beside:
        with _written(beside) as file:
            rows = (row for shard in shards for row in read_series(job, shard))
            write_table(file, TABLE_COLUMNS, rows)
    return Merged(sum(shard.scans for shard in shards), series, beside)


def _claim(job: Folder, out: str, series_table: str, *, overwrite: bool) -> None:
    """Refuse to write over local files that are somebody's."""
    outputs = Outputs(None if is_remote(job.url) else job.url, overwrite=overwrite)
    if is_remote(out):
        return
    path = local_path(out)
    if path.suffix.lower() == ".csv":
        outputs.claim_table(path, _columns(), FIRST)
    else:
        outputs.claim_file(path, lambda: _is_merged_parquet(path))
    if series_table:
        outputs.claim_table(local_path(series_table), TABLE_COLUMNS, FIRST_TABLE_COLUMNS)


def _columns() -> list[str]:
    """List the columns that a merged table may have."""
    return part_schema(Options(heatmaps=True, embeddings=True)).names


def _is_merged_parquet(path: Path) -> bool:
    arrow = load_arrow()
    with suppress(arrow.ArrowException, OSError):
        return set(FIRST) <= set(arrow.parquet.read_schema(path).names) <= set(_columns())
    return False


@contextmanager
def _written(out: str) -> Iterator[Path]:
    """Yield where a table is to be written on this machine, and upload it where that is asked."""
    if not is_remote(out):
        with named_errors(out):
            yield local_path(out)
        return
    with tempfile.TemporaryDirectory(prefix="tumorlens-") as folder:
        yield (copy := Path(folder, "table"))
        Folder(parent_of(out)).upload(PurePosixPath(out).name, copy)


def _write_csv(plan: Plan, tables: Iterable["pa.Table"], out: Path) -> None:
    """Write all columns but arrays."""
    is_list = load_arrow().types.is_list
    held = [field.name for field in part_schema(plan.options) if not is_list(field.type)]
    rows = (table_cells(row) for table in tables for row in table.select(held).to_pylist())
    write_table(out, held, rows)


def _write_parquet(plan: Plan, tables: Iterable["pa.Table"], out: Path) -> None:
    arrow, schema = load_arrow(), part_schema(plan.options)
    with (
        replacing(out) as partial,
        arrow.parquet.ParquetWriter(partial, schema, compression="zstd") as writer,
    ):
        for table in tables:
            writer.write_table(table)


def _tables(job: Folder, shards: Sequence[Shard], progress: Progress) -> Iterator["pa.Table"]:
    for number, shard in enumerate(shards, start=1):
        yield read_part(job, shard)[0]
        progress(number, len(shards))


def verify_job(job: Folder, plan: Plan, *, progress: Progress = silent) -> list[Problem]:
    """Prove that every planned scan has exactly one row, and every part its hash.

    Returns what is wrong; nothing where the job is whole.
    """
    done = done_shards(job, plan.shards)
    problems: list[Problem] = []
    for number, shard in enumerate(plan.shards):
        fact = _problem(job, plan, number) if shard.id in done else "is missing"
        if fact:
            problems.append(Problem(job.path(shard.part), fact))
        progress(number + 1, len(plan.shards))
    return problems


def _problem(job: Folder, plan: Plan, number: int) -> str:
    shard = plan.shards[number]
    try:
        table, record = read_part(job, shard)
    except BatchError as error:
        return error.fact
    if (record.shard, record.bundle) != (shard.id, plan.bundle):
        return f"is of another shard or bundle ({record.bundle})"
    planned = [_key(scan) for scan in read_shard(job, plan, number)]
    columns = [table.column(name).to_pylist() for name in ("scan", "id", "path", "frame")]
    rows = list(zip(*columns, strict=True))
    if rows == planned:
        return ""
    counts = Counter(rows)
    lost, doubled = len(set(planned) - set(rows)), sum(counts.values()) - len(counts)
    foreign = len(set(rows) - set(planned))
    return f"lacks {lost} planned scans, holds {doubled} twice and {foreign} that were not planned"


def _key(scan: Planned) -> tuple[Any, ...]:
    return scan.scan, scan.id, as_text(scan.path), scan.frame
