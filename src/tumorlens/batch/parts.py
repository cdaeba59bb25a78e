"""Parts: one Parquet file a shard, with a row a scan, a record of the work and a hash of itself."""

import base64
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tumorlens.batch.index import as_text, load_arrow
from tumorlens.batch.plan import PARTS, Options, Planned, Shard
from tumorlens.batch.storage import Folder
from tumorlens.errors import BatchError
from tumorlens.json_records import from_json, to_json
from tumorlens.labels import TYPES
from tumorlens.predictions.document import COLUMNS, table_values
from tumorlens.records import Prediction

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
SeriesRow = Mapping[str, object]  # of series.csv
KEY = b"tumorlens"  # of the record in the metadata of a part
_NUMBERS = frozenset(
    {"modality_probability", "tumor_probability", "threshold", *(f"p_{name}" for name in TYPES)}
)
_NO_HASH = b"sha256:" + b"0" * 64  # stands for the hash while it is computed
_DAMAGED = "Remove the file and run the job again: only this shard is done."


@dataclass(frozen=True)
class PartRecord:
    """What a worker says of a shard that it did."""

    shard: str
    scans: int
    bundle: str
    seconds: float
    cpu_seconds: float  # of its process, which is what a core-hour costs on a busy machine too
    finished: str  # ISO 8601, UTC
    worker: str  # machine and process
    decisions: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)  # by reason
    series: int = 0  # rows of series.csv

    @property
    def failed(self) -> int:
        """How many scans have an error."""
        return sum(self.failures.values())


def part_schema(options: Options) -> Any:
    """Return the columns of a part: what `predict` writes, after the scan's number and id."""
    arrow = load_arrow()
    kinds = {"slice": arrow.int32(), **dict.fromkeys(_NUMBERS, arrow.float64())}
    fields = [("scan", arrow.int64()), ("id", arrow.string()), ("frame", arrow.int32())]
    fields += [(name, kinds.get(name, arrow.string())) for name in COLUMNS]
    if options.heatmaps:
        fields += [("heatmap", arrow.list_(arrow.list_(arrow.float32()))),
                   ("heatmap_matrix", arrow.list_(arrow.float64()))]  # fmt: skip
    if options.embeddings:
        fields.append(("embedding", arrow.list_(arrow.float32())))
    return arrow.schema(fields)


def part_row(scan: Planned, answer: Prediction, options: Options) -> dict[str, Any]:
    """Return the row of one scan."""
    row: dict[str, Any] = {"scan": scan.scan, "id": scan.id, "frame": scan.frame}
    values = table_values(answer)
    row |= {key: as_text(v) if isinstance(v, str) else v for key, v in values.items()}
    heatmap = answer.heatmap
    if options.heatmaps:
        row["heatmap"] = None if heatmap is None else heatmap.evidence.tolist()
        matrix = None if heatmap is None else heatmap.matrix
        row["heatmap_matrix"] = None if matrix is None else matrix.ravel().tolist()
    if options.embeddings:
        vector = answer.embedding
        row["embedding"] = None if vector is None else np.asarray(vector, np.float32)
    return row


def write_part(
    job: Folder,
    shard: Shard,
    batches: Sequence["pa.RecordBatch"],
    record: PartRecord,
    series: Sequence[SeriesRow] = (),
) -> None:
    """Write a part whole, by another name and a rename, or by one PUT."""
    arrow, out = load_arrow(), io.BytesIO()
    table = arrow.Table.from_batches(batches)
    held = {KEY: json.dumps(to_json(record)).encode(), KEY + b"-hash": _NO_HASH}
    if series:
        held[KEY + b"-series"] = base64.b64encode(zlib.compress(json.dumps(series).encode()))
    with arrow.parquet.ParquetWriter(out, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(held)
    data = out.getvalue()
    start = data.rfind(_NO_HASH)
    digest = b"sha256:" + hashlib.sha256(data).hexdigest().encode()
    job.write(shard.part, data[:start] + digest + data[start + len(digest) :])


def read_part(job: Folder, shard: Shard) -> tuple["pa.Table", PartRecord]:
    """Read a part; raises BatchError where it is not what its worker wrote."""
    arrow, data, path = load_arrow(), job.read(shard.part), job.path(shard.part)
    try:
        file = arrow.parquet.ParquetFile(arrow.BufferReader(data))
        record, kept = _record(file.metadata)
        start = data.rfind(kept)
        zeroed = data[:start] + _NO_HASH + data[start + len(_NO_HASH) :]
        found = b"sha256:" + hashlib.sha256(zeroed).hexdigest().encode()
        if found != kept:
            raise BatchError(path, "does not match its hash: it was altered or damaged", _DAMAGED)
        return file.read(use_threads=False), record
    except (arrow.ArrowException, OSError, KeyError, ValueError, TypeError) as e:
        raise BatchError(path, f"is no part ({e})", _DAMAGED) from e


def read_record(job: Folder, shard: Shard) -> PartRecord:
    """Read what a worker says of its shard, without the rows; raises BatchError."""
    return _read_metadata(job, shard, lambda metadata: _record(metadata)[0])


def read_series(job: Folder, shard: Shard) -> list[SeriesRow]:
    """Read the answers for the series of a shard, as rows of series.csv; raises BatchError."""

    def rows_in(metadata: Any) -> list[SeriesRow]:
        packed = metadata.metadata.get(KEY + b"-series")
        return json.loads(zlib.decompress(base64.b64decode(packed))) if packed else []

    return _read_metadata(job, shard, rows_in)


def _read_metadata(job: Folder, shard: Shard, read: Callable[[Any], T]) -> T:
    arrow = load_arrow()
    try:
        with job.opened(shard.part) as file:
            return read(arrow.parquet.ParquetFile(file).metadata)
    except (arrow.ArrowException, KeyError, ValueError, TypeError, zlib.error) as e:
        raise BatchError(job.path(shard.part), f"is no part ({e})", _DAMAGED) from e


def done_shards(job: Folder, shards: Sequence[Shard]) -> set[str]:
    """Return the ids of the shards whose parts are there."""
    names = set(job.names(PARTS))
    return {shard.id for shard in shards if shard.part.rpartition("/")[2] in names}


def _record(metadata: Any) -> tuple[PartRecord, bytes]:
    held = metadata.metadata or {}
    return from_json(PartRecord, json.loads(held[KEY])), held[KEY + b"-hash"]
