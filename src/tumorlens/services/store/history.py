"""Predictions in and out of a store.

A row holds what was answered, never the scan: its hash, and the evidence map, which is too coarse
to show anything but where. The prepared image is kept only where `NewPrediction.keep` says so.
"""

import io
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, delete, insert, select

from tumorlens.errors import NotStoredError, TumorlensError
from tumorlens.images.raster import encode_png
from tumorlens.images.readers import readable_suffixes
from tumorlens.predictions.document import from_json, to_json
from tumorlens.records import Heatmap, Prediction
from tumorlens.services.store.audit_log import (
    EXPIRED,
    PREDICTED,
    Event,
    append,
    lock_head,
    now,
    row_details,
)
from tumorlens.services.store.database import JobRow, PredictionRow, Row, SeriesRow, Store

T = TypeVar("T")
DAMAGE = (TumorlensError, ValueError, TypeError, AttributeError, EOFError, RecursionError)
LOST = ("is damaged in the store", "Send the scan again.")


@dataclass(frozen=True)
class NewPrediction:
    """An answer on its way into the store."""

    prediction: Prediction
    input_sha256: str  # of the bytes that were given
    bundle_sha256: str
    owner: str  # whose history it belongs to: a key's id, a dashboard session
    source: str  # what asked: http, v2, batch, dashboard, ...
    timings: Mapping[str, float] = field(default_factory=dict)  # milliseconds by step
    keep: bool = False  # the prepared image too
    job: str | None = None
    position: int | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class StoredPrediction:
    """An answer as the store gives it back; `prediction.heatmap` is None: see `heatmap_of`."""

    number: int  # order of arrival; the page after a row starts behind its number
    id: str
    created_at: str
    owner: str
    source: str
    job: str | None
    position: int | None
    input_sha256: str
    bundle_sha256: str
    timings: Mapping[str, float]
    prediction: Prediction  # its `error` is set where the stored document is damaged
    evidence: NDArray[np.float32] | None  # [h, w], where a heatmap was computed
    prepared: NDArray[np.uint8] | None  # [side, side], where it was kept
    damaged: tuple[str, ...] = ()  # columns of the row that could not be read


@dataclass(frozen=True)
class Selection:
    """Which predictions are meant; None is no condition."""

    owner: str | None = None
    decision: str | None = None
    modality: str | None = None
    bundle: str | None = None
    source: str | None = None
    job: str | None = None
    input_sha256: str | None = None
    since: str | None = None  # ISO 8601, UTC; inclusive
    until: str | None = None  # exclusive


def save_predictions(store: Store, new: Sequence[NewPrediction]) -> list[str]:
    """Write answers and their trail entries in one transaction; returns their ids, in order."""
    with store.writing() as connection:
        insert_predictions(connection, new)
    return [item.id for item in new]


def insert_predictions(connection: Connection, new: Sequence[NewPrediction]) -> None:
    """Write answers inside the caller's transaction; those that are there already are passed.

    So a transaction whose end was lost with the connection can be tried again.
    """
    head = lock_head(connection)  # so that numbers and times come in the order of commits
    ids, at = [item.id for item in new], now()
    there = set(connection.scalars(select(PredictionRow.id).where(PredictionRow.id.in_(ids))))
    rows = [_row(item, at) for item in new if item.id not in there]
    if rows:
        columns = PredictionRow.id, PredictionRow.number
        numbers = dict(connection.execute(insert(PredictionRow).returning(*columns), rows).all())
        events = [_event({**row, "number": numbers[row["id"]]}) for row in rows]
        append(connection, head, events, at=at)


def get_prediction(store: Store, id: str, *, owner: str | None = None) -> StoredPrediction:
    """Return one answer; with `owner`, only if it is theirs. Raises NotStoredError."""
    query = select(PredictionRow.__table__).where(PredictionRow.id == id)
    if owner is not None:
        query = query.where(PredictionRow.owner == owner)
    with store.reading() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise NotStoredError("prediction", "is not in the store", "List what is there.")
    return _stored(row)


def predictions_by_id(store: Store, ids: Sequence[str]) -> dict[str, StoredPrediction]:
    """Return those of some answers that are there, by id."""
    query = select(PredictionRow.__table__).where(PredictionRow.id.in_(ids))
    with store.reading() as connection:
        return {row.id: _stored(row) for row in connection.execute(query)}


def find_predictions(
    store: Store, selection: Selection = Selection(), *, limit: int = 100, before: int | None = None
) -> list[StoredPrediction]:
    """List answers, newest first; the next page is `before=` the last row's number."""
    query = _selected(selection).order_by(PredictionRow.number.desc()).limit(limit)
    if before is not None:
        query = query.where(PredictionRow.number < before)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return [_stored(row) for row in rows]


def iter_predictions(
    store: Store, selection: Selection = Selection()
) -> Iterator[StoredPrediction]:
    """Return every answer meant, newest first, a page in memory at a time."""
    before = None
    while page := find_predictions(store, selection, limit=500, before=before):
        yield from page
        before = page[-1].number


def iter_job(store: Store, job: str) -> Iterator[StoredPrediction]:
    """Return the answers of a batch in the order of its files."""
    after = -1
    while True:
        query = _selected(Selection(job=job)).where(PredictionRow.position > after)
        with store.reading() as connection:
            page = connection.execute(query.order_by(PredictionRow.position).limit(500)).all()
        if not page:
            return
        yield from map(_stored, page)
        after = page[-1].position


def expire_predictions(store: Store, *, before: str, actor: str = "service") -> int:
    """Remove answers and batches older than a time (ISO 8601, UTC); returns how many of slices.

    Reviews go with their answers. The trail keeps its entries, which hold hashes and no image,
    and gets one about this.
    """
    with store.writing() as connection:
        head = lock_head(connection)
        gone = connection.execute(delete(PredictionRow).where(PredictionRow.created_at < before))
        jobs = connection.execute(delete(JobRow).where(JobRow.created_at < before))
        series = connection.execute(delete(SeriesRow).where(SeriesRow.created_at < before))
        if gone.rowcount or jobs.rowcount or series.rowcount:
            details = {"before": before, "count": gone.rowcount, "jobs": jobs.rowcount,
                       "series": series.rowcount}  # fmt: skip
            append(connection, head, [Event(actor, EXPIRED, "predictions", details)], at=now())
    return gone.rowcount


def heatmap_of(stored: StoredPrediction) -> Heatmap | None:
    """Return the heatmap to draw; on black where the prepared image was not kept.

    Raises NotStoredError where it is damaged.
    """
    if {"evidence", "prepared"} & set(stored.damaged):
        raise NotStoredError("heatmap", *LOST)
    if stored.evidence is None:
        return None
    side = 256 if stored.prepared is None else stored.prepared.shape[0]
    empty = np.zeros((side, side), np.uint8)
    return Heatmap(stored.evidence, empty if stored.prepared is None else stored.prepared)


def anonymous_name(sha256: str, name: str) -> str:
    """Return a name made of a scan's hash: the sender can find it, and it names nobody.

    >>> anonymous_name("0123456789abcdef" * 4, "Doe_Jane.PNG")
    'scan-0123456789ab.png'
    """
    suffix = PurePosixPath(name).suffix.lower()
    return f"scan-{sha256[:12]}{suffix if suffix in readable_suffixes() else ''}"


def _selected(selection: Selection) -> Select[Any]:
    row = PredictionRow
    query = select(row.__table__)
    for name in ("owner", "decision", "modality", "bundle", "source", "job", "input_sha256"):
        wanted = getattr(selection, name)
        if wanted is not None:
            query = query.where(getattr(row, name) == wanted)
    if selection.since is not None:
        query = query.where(row.created_at >= selection.since)
    if selection.until is not None:
        query = query.where(row.created_at < selection.until)
    return query


def _row(new: NewPrediction, at: str) -> Row:
    answer, heatmap = new.prediction, new.prediction.heatmap
    p = answer.tumor_probability
    same = ("id", "owner", "source", "job", "position", "input_sha256", "bundle_sha256")
    return {name: getattr(new, name) for name in same} | {
        "created_at": at,
        "bundle": answer.bundle,
        "modality": answer.modality,
        "decision": answer.decision,
        "tumor_type": answer.type,
        "tumor_probability": None if p is None else float(p),
        "document": to_json(replace(answer, heatmap=None)),
        "timings": json.dumps({name: round(ms, 3) for name, ms in new.timings.items()}),
        "evidence": None if heatmap is None else _packed(heatmap.evidence),
        "prepared": encode_png(heatmap.prepared) if heatmap and new.keep else None,
    }


def _event(row: Row) -> Event:
    names = ("input_sha256", "bundle_sha256", "source")  # what outlives the row
    details = row_details(PredictionRow, row, **{name: row[name] for name in names})
    return Event(row["owner"], PREDICTED, row["id"], details)


def _stored(row: Any) -> StoredPrediction:
    """Return a row as a record; what is damaged of it is named, and takes no other row with it."""
    damaged: list[str] = []

    def read(name: str, reader: Callable[[Any], T], otherwise: T) -> T:
        value = getattr(row, name)
        try:
            return otherwise if value is None else reader(value)
        except DAMAGE:
            damaged.append(name)
            return otherwise

    def text(name: str) -> Any:
        value = getattr(row, name)
        return read(name, _plain, None if value is None else str(value))

    name = f"scan-{str(row.input_sha256)[:12]}"
    lost = Prediction(name, bundle=str(row.bundle), error=". ".join(LOST))
    same = ("number", "id", "created_at", "owner", "source", "job", "position")
    return StoredPrediction(
        **{name: text(name) for name in (*same, "input_sha256", "bundle_sha256")},
        timings=read("timings", _timings, {}),
        prediction=read("document", from_json, lost),
        evidence=read("evidence", _unpacked, None),
        prepared=read("prepared", decode_prepared, None),
        damaged=tuple(damaged),
    )


def _plain(value: object) -> str | int:
    if not isinstance(value, str | int):
        raise TypeError("is of another type than its column")
    return value


def _timings(stored: str) -> dict[str, float]:
    found = {str(name): float(ms) for name, ms in json.loads(stored).items()}
    if not np.isfinite(list(found.values())).all():
        raise ValueError("a time is not finite")
    return found


def _packed(evidence: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(evidence, np.float32), allow_pickle=False)
    return file.getvalue()


def _unpacked(data: bytes) -> NDArray[np.float32]:
    """Read what `_packed` wrote; a header that claims more than there is allocates nothing."""
    file = io.BytesIO(data)
    np.lib.format.read_magic(file)
    shape, _, kind = np.lib.format.read_array_header_1_0(file)
    evidence = np.frombuffer(file.read(), kind).reshape(shape)
    if kind != np.float32 or evidence.ndim != 2 or not np.isfinite(evidence).all():
        raise ValueError("is no evidence map")
    return evidence


def decode_prepared(data: bytes) -> NDArray[np.uint8]:
    """Read a prepared image as it is stored, a PNG."""
    image = np.frombuffer(data, np.uint8)
    pixels = cv2.imdecode(image, cv2.IMREAD_GRAYSCALE) if image.size else None
    if pixels is None:
        raise NotStoredError("prepared image", *LOST)
    return np.asarray(pixels, np.uint8)
