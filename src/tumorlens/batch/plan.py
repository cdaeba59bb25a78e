"""A plan: which scans there are, in which shards. It is made once and never changes.

A job is a folder: `plan.json` (the shards and what they are made with), `plan-<hash>.parquet` (a
row a scan, a row group a shard), `bundle/` (a copy of the bundle) and `parts/` (a file a shard,
once it is done). The id of a shard is the sha256 of its rows, the bundle and what is asked for.
"""

import hashlib
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tumorlens import __version__
from tumorlens.batch.index import Index, IndexRow, as_text, load_arrow
from tumorlens.batch.staging import stage
from tumorlens.batch.storage import Folder
from tumorlens.errors import BatchError
from tumorlens.files import table_text
from tumorlens.images.readers import attempt, reader_of_name, slice_headers
from tumorlens.images.series import group_slices
from tumorlens.images.slices import SliceHeader
from tumorlens.json_records import from_json, to_json
from tumorlens.models.bundle import CARD, GRAPH, SETTINGS, Bundle
from tumorlens.progress import Progress, silent
from tumorlens.records import Unusable
from tumorlens.settings import ReadLimits

SCHEMA = 1
PLAN, PARTS, BUNDLE, LEFT_OUT = "plan.json", "parts", "bundle", "left-out.csv"
SHARD_SIZE = 10_000
OPENED_AT_ONCE = 256  # files
BUNDLE_FILES = (SETTINGS, CARD, GRAPH)


@dataclass(frozen=True)
class Options:
    """What is asked of every scan of a job."""

    heatmaps: bool = False  # a column with the evidence
    embeddings: bool = False
    all_series: bool = False  # also localizers, projections and maps
    shard_size: int = SHARD_SIZE  # scans; a series, a volume and an archive are never cut
    limits: ReadLimits = ReadLimits()


@dataclass(frozen=True)
class Shard:
    """Rows of a plan that one worker answers at a time."""

    id: str  # 64 hex digits
    first: int  # number of its first scan in the plan
    scans: int

    @property
    def part(self) -> str:
        """The file that holds its answers, in the folder of the job."""
        return f"{PARTS}/part-{self.id}.parquet"


@dataclass(frozen=True)
class Plan:
    """A job as it was planned."""

    bundle: str  # name and hash, as in `Prediction.bundle`
    bundle_sha256: str
    options: Options
    shards: tuple[Shard, ...]
    left_out: int = 0  # files that are copies of slices of others: see left-out.csv
    schema: int = SCHEMA
    version: str = __version__  # of tumorlens

    @property
    def scans(self) -> int:
        """How many rows come out."""
        return sum(shard.scans for shard in self.shards)

    @property
    def digest(self) -> str:
        """A hash of all it plans."""
        return hashlib.sha256("".join(shard.id for shard in self.shards).encode()).hexdigest()

    @property
    def table(self) -> str:
        """The file that lists its scans."""
        return f"plan-{self.digest[:16]}.parquet"


@dataclass(frozen=True)
class Planned:
    """One scan to come: a row of the plan."""

    scan: int  # its number, from 0
    unit: int  # scans of one unit are never parted
    id: str
    file: str  # that holds it
    path: str  # as its row names it: of an archive, ARCHIVE/MEMBER
    frame: int | None


def make_plan(
    index: Index, job: Folder, bundle: Bundle, options: Options, *, progress: Progress = silent
) -> tuple[Plan, bool]:
    """Write the plan of a job; returns it, and whether it is new.

    Only files that may hold several slices are opened. Raises BatchError where the folder holds
    another plan.
    """
    arrow = load_arrow()
    opened = _open_files(index, options.limits, progress)
    with tempfile.TemporaryDirectory(prefix="tumorlens-") as folder:
        table = Path(folder, "plan.parquet")
        shards: list[Shard] = []
        with arrow.parquet.ParquetWriter(table, _schema(), compression="zstd") as writer:
            for rows in _shards(_units(index, opened), options.shard_size):
                first = shards[-1].first + shards[-1].scans if shards else 0
                shards.append(Shard(_shard_id(rows, bundle, options), first, len(rows)))
                writer.write_table(_table(rows, first), row_group_size=len(rows))
                progress(first + len(rows), max(first + len(rows), index.count))
        plan = Plan(bundle.version, bundle.sha256, options, tuple(shards), len(opened.copies))
        return plan, _keep(job, plan, table, bundle, opened.copies)


def _keep(job: Folder, plan: Plan, table: Path, bundle: Bundle, copies: Sequence[str]) -> bool:
    """Write what a job is made of, the plan last; returns whether it was not there before."""
    if PLAN not in job.names(""):
        job.upload(plan.table, table)
        for name in BUNDLE_FILES:
            job.write(f"{BUNDLE}/{name}", (bundle.folder / name).read_bytes())
        if copies:
            rows = ((as_text(path), "is a copy of a slice of its series") for path in copies)
            job.write(LEFT_OUT, table_text(("path", "reason"), rows).encode())
        if job.create(PLAN, (json.dumps(to_json(plan), indent=1) + "\n").encode()):
            return True
    kept = load_plan(job)
    if kept.digest != plan.digest:
        fact = (f"holds another plan, of {kept.scans:,} scans with {kept.bundle}: "
                "other files, another bundle or other options")  # fmt: skip
        raise BatchError(job.url, fact, "A plan never changes: name another folder.")
    return False


def load_plan(job: Folder) -> Plan:
    """Read the plan of a job; raises BatchError where there is none that this version knows."""
    try:
        stored = json.loads(job.read(PLAN))
        plan = from_json(Plan, stored)
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise BatchError(job.path(PLAN), f"is no plan ({e})", "Plan again elsewhere.") from e
    if plan.schema != SCHEMA:
        fact = f"is a plan of schema {plan.schema}, this tumorlens reads {SCHEMA}"
        raise BatchError(job.path(PLAN), fact, "Use a matching tumorlens version.")
    return plan


def read_shard(job: Folder, plan: Plan, number: int) -> list[Planned]:
    """Return the scans of one shard, in order."""
    arrow, shard = load_arrow(), plan.shards[number]
    with job.opened(plan.table) as file:
        table = arrow.parquet.ParquetFile(file).read_row_group(number, use_threads=False)
    columns = [table.column(name).to_pylist() for name in _COLUMNS]
    return [
        Planned(scan, unit, name, os.fsdecode(path), os.fsdecode(shown), frame)
        for scan, (unit, name, path, shown, frame) in enumerate(
            zip(*columns, strict=True), start=shard.first
        )
    ]


@dataclass(frozen=True)
class _Slice:
    """A row of the plan without its number."""

    id: str
    file: str
    path: str
    frame: int | None


@dataclass(frozen=True)
class _Opened:
    """What files hold that had to be opened."""

    slices: dict[str, list[tuple[str, int | None]]]  # path and frame of each, by file
    unit_of: dict[str, str]  # the first file of its unit, by file
    copies: tuple[str, ...]  # files all of whose slices stand in others
    names_series: bool = False  # whether the index says of some files which belong together


def _is_plain(path: str) -> bool:
    """Tell whether a name promises one image alone, so that the file need not be opened."""
    reader = reader_of_name(path)
    return reader is not None and reader.headers is None


def _open_files(index: Index, limits: ReadLimits, progress: Progress) -> _Opened:
    """Read the headers of files that neither the index nor their name says enough of."""
    unknown: dict[str, None] = {}
    names_series = False
    for row in index.rows():
        names_series |= bool(row.series)
        if not (row.slices or row.series or _is_plain(row.path)):
            unknown[row.path] = None
    files = list(unknown)
    headers: list[SliceHeader] = []
    slices: dict[str, list[tuple[str, int | None]]] = {}
    file_of: dict[str, str] = {}
    left = iter(files)
    while batch := list(islice(left, OPENED_AT_ONCE)):
        with stage(batch) as staged:
            for path in map(str, staged.files):
                name = staged.name_of(path)
                file = _file_of(name, batch)
                file_of[name] = file
                found = attempt(slice_headers, path, limits=limits)
                if isinstance(found, Unusable) or not found:
                    slices.setdefault(file, []).append((name, None))
                else:
                    headers += [replace(header, path=name) for header in found]
        slices |= {path: [(path, None)] for path in staged.unusable}
        progress(len(file_of) + len(staged.unusable), max(len(files), len(file_of)))
    return replace(_grouped(files, headers, slices, file_of), names_series=names_series)


def _file_of(name: str, batch: Sequence[str]) -> str:
    """Return the file that holds a scan: itself, or the archive it is a member of."""
    known = set(batch)
    while name not in known:
        name = name.rpartition("/")[0]
    return name


def _grouped(
    files: Sequence[str],
    headers: Sequence[SliceHeader],
    slices: dict[str, list[tuple[str, int | None]]],
    file_of: dict[str, str],
) -> _Opened:
    """Join files that hold slices of one series to units."""
    above: dict[str, str] = {}

    def root(file: str) -> str:
        while (next_one := above.get(file, file)) != file:
            file = next_one
        return file

    for series in group_slices(headers):
        first = root(file_of[series.slices[0].path])
        for header in series.slices:
            file = file_of[header.path]
            slices.setdefault(file, []).append((header.path, header.frame))
            above[root(file)] = first
    units: dict[str, str] = {}
    names: dict[str, str] = {}  # of a unit: its first file in the order given
    for file in files:
        if file in slices:
            units[file] = names.setdefault(root(file), file)
    return _Opened(slices, units, tuple(file for file in files if file not in slices))


def _units(index: Index, opened: _Opened) -> Iterator[list[_Slice]]:
    """Yield what must stay together, in the order of the first file of each."""
    members: dict[str, list[IndexRow]] = defaultdict(list)
    for row in index.rows() if opened.names_series or opened.unit_of else ():
        if key := _unit_key(row, opened):
            members[key].append(row)
    copies = set(opened.copies)
    for row in index.rows():
        key = _unit_key(row, opened)
        if key is None:
            if row.path not in copies:
                yield _slices_of(row, opened)
        elif key in members:
            yield [s for member in members.pop(key) for s in _slices_of(member, opened)]


def _unit_key(row: IndexRow, opened: _Opened) -> str | None:
    if row.series:
        return f"series {row.series}"
    return f"file {opened.unit_of[row.path]}" if row.path in opened.unit_of else None


def _slices_of(row: IndexRow, opened: _Opened) -> list[_Slice]:
    if row.slices and row.slices > 1:
        return [_Slice(row.id, row.path, row.path, frame) for frame in range(row.slices)]
    found = opened.slices.get(row.path, [(row.path, None)])
    return [_Slice(row.id, row.path, path, frame) for path, frame in found]


def _shards(units: Iterable[list[_Slice]], size: int) -> Iterator[list[tuple[int, _Slice]]]:
    """Yield the slices of each shard with the number of their unit in it."""
    rows: list[tuple[int, _Slice]] = []
    number = 0
    for unit in units:
        if rows and len(rows) + len(unit) > size:
            yield rows
            rows, number = [], 0
        rows += [(number, item) for item in unit]
        number += 1
    if rows:
        yield rows


def _shard_id(rows: Sequence[tuple[int, _Slice]], bundle: Bundle, options: Options) -> str:
    asked = replace(options, shard_size=0)  # it does not change a row
    digest = hashlib.sha256(json.dumps([bundle.sha256, to_json(asked)]).encode())
    for _, item in rows:
        name = json.dumps([item.id, item.path, item.frame])  # escapes what is no text
        digest.update(name.encode() + b"\n")
    return digest.hexdigest()


_COLUMNS = ("unit", "id", "file", "path", "frame")


def _schema() -> Any:
    arrow = load_arrow()
    return arrow.schema([
        ("scan", arrow.int64()), ("unit", arrow.int32()), ("id", arrow.string()),
        ("file", arrow.binary()), ("path", arrow.binary()), ("frame", arrow.int32()),
    ])  # fmt: skip


def _table(rows: Sequence[tuple[int, _Slice]], first: int) -> Any:
    arrow = load_arrow()
    columns = [
        range(first, first + len(rows)),
        [unit for unit, _ in rows],
        [item.id for _, item in rows],
        [os.fsencode(item.file) for _, item in rows],
        [os.fsencode(item.path) for _, item in rows],
        [item.frame for _, item in rows],
    ]
    fields = _schema()
    return arrow.table(
        [arrow.array(column, field.type) for column, field in zip(columns, fields, strict=True)],
        schema=fields,
    )
