"""Answers for whole series: one row each, beside the answers for their slices."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

from sqlalchemy import insert, select

from tumorlens.predictions.series_answer import SeriesPrediction
from tumorlens.records import Decision
from tumorlens.services.store.audit_log import (
    SERIES_ANSWERED,
    Event,
    append,
    lock_head,
    now,
    row_details,
)
from tumorlens.services.store.database import Row, SeriesRow, Store
from tumorlens.services.store.history import (
    DAMAGE,
    LOST,
    NewPrediction,
    insert_predictions,
)

_FIELDS = tuple(field.name for field in fields(SeriesPrediction))
_LISTS = ("curve", "reasons")


@dataclass(frozen=True)
class NewSeries:
    """An answer for a series on its way into the store."""

    answer: SeriesPrediction  # its `series` is a name that names nobody
    owner: str
    source: str
    bundle_sha256: str
    id: str  # the same for the same slices, owner and bundle: then it is kept once
    description: str = ""  # of the series, as its header has it


@dataclass(frozen=True)
class StoredSeries:
    """An answer for a series as the store gives it back."""

    number: int  # order of arrival
    id: str
    created_at: str
    owner: str
    source: str
    series: str  # also the `series` of the predictions of its slices
    modality: str
    description: str
    bundle_sha256: str
    answer: SeriesPrediction  # with a reason that says so where it is damaged in the store


def save_series(
    store: Store, series: Sequence[NewSeries], slices: Sequence[NewPrediction] = ()
) -> None:
    """Write answers for series and for their slices in one transaction; what is there is passed."""
    with store.writing() as connection:
        insert_predictions(connection, slices)
        head, at = lock_head(connection), now()
        ids = [item.id for item in series]
        there = set(connection.scalars(select(SeriesRow.id).where(SeriesRow.id.in_(ids))))
        rows = [_row(item, at) for item in series if item.id not in there]
        if not rows:
            return
        columns = SeriesRow.id, SeriesRow.number
        numbers = dict(connection.execute(insert(SeriesRow).returning(*columns), rows).all())
        events = [
            Event(row["owner"], SERIES_ANSWERED, row["id"],
                  row_details(SeriesRow, {**row, "number": numbers[row["id"]]}))
            for row in rows
        ]  # fmt: skip
        append(connection, head, events, at=at)


def find_series(
    store: Store,
    *,
    owner: str | None = None,
    source: str | None = None,
    limit: int = 100,
    before: int | None = None,
) -> list[StoredSeries]:
    """List answers for series, newest first; the next page is `before=` the last row's number."""
    query = select(SeriesRow.__table__).order_by(SeriesRow.number.desc()).limit(limit)
    if owner is not None:
        query = query.where(SeriesRow.owner == owner)
    if source is not None:
        query = query.where(SeriesRow.source == source)
    if before is not None:
        query = query.where(SeriesRow.number < before)
    with store.reading() as connection:
        return [_stored(row) for row in connection.execute(query)]


def get_series(store: Store, id: str) -> StoredSeries | None:
    """Return the answer for one series; None where there is none of this id."""
    query = select(SeriesRow.__table__).where(SeriesRow.id == id)
    with store.reading() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _stored(row)


def read_series_prediction(document: Any) -> SeriesPrediction:
    """Return an answer from plain data as `to_document` gives it; raises a ValueError for other."""
    try:
        values = {name: document[name] for name in _FIELDS}
        values |= {name: tuple(values[name]) for name in _LISTS}
        found = SeriesPrediction(**values)
        numbers = (found.threshold, found.out_of_scope, found.score, found.probability,
                   found.maximum, found.longest_run_mm, *found.curve)  # fmt: skip
        is_sound = found.decision in get_args(Decision) and all(
            number is None or math.isfinite(number) for number in numbers
        )
    except (LookupError, TypeError, ValueError, AttributeError) as e:
        raise ValueError("is no answer for a series") from e
    if not is_sound:
        raise ValueError("is no answer for a series")
    return found


def _row(new: NewSeries, at: str) -> Row:
    answer = new.answer
    return {
        "id": new.id,
        "created_at": at,
        "owner": new.owner,
        "source": new.source,
        "series": answer.series,
        "modality": answer.modality,
        "decision": answer.decision,
        "bundle": answer.bundle,
        "bundle_sha256": new.bundle_sha256,
        "description": new.description,
        "document": json.dumps(answer.to_document(), allow_nan=False),
    }


def _stored(row: Any) -> StoredSeries:
    same = ("number", "id", "created_at", "owner", "source", "series", "modality", "description",
            "bundle_sha256")  # fmt: skip
    try:
        answer = read_series_prediction(json.loads(row.document))
    except DAMAGE:
        answer = SeriesPrediction(
            series=str(row.series), modality="", plane=None, slices=0, judged=0, out_of_scope=0.0,
            curve=(), longest_run_slices=0, longest_run_mm=None, threshold=0.0,
            bundle=str(row.bundle), reasons=(LOST[0],),
        )  # fmt: skip
    return StoredSeries(**{name: getattr(row, name) for name in same}, answer=answer)
