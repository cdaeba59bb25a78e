"""Batches that survive a restart: prepared images wait in the store until they are answered.

An answer and the removal of its waiting image are one transaction, so that no scan is lost or
answered twice, whatever is killed in between, and several services may share the work.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from tumorlens.errors import NotStoredError
from tumorlens.records import PreparedScan
from tumorlens.services.store.audit_log import Event, append, now
from tumorlens.services.store.database import JobRow, JobScanRow, PredictionRow, Store
from tumorlens.services.store.history import (
    NewPrediction,
    decode_prepared,
    encode_prepared,
    insert_predictions,
)


@dataclass(frozen=True)
class Job:
    """A batch and how far it is."""

    id: str
    owner: str
    created_at: str
    total: int
    answered: int  # with those that could not be read
    failed: int

    @property
    def state(self) -> str:
        """Return "running" or "done"."""
        return "done" if self.answered >= self.total else "running"


@dataclass(frozen=True)
class JobScan:
    """A prepared scan that waits."""

    position: int
    scan: PreparedScan
    input_sha256: str
    job: str = ""
    owner: str = ""


@dataclass(frozen=True)
class NewJob:
    """A batch on its way into the store."""

    owner: str
    waiting: Sequence[JobScan]
    failed: Sequence[NewPrediction]  # those that could not be read
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


def save_job(store: Store, new: NewJob) -> None:
    """Write a batch with all its waiting images, in one transaction."""
    at, total = now(), len(new.waiting) + len(new.failed)
    with store.writing() as connection:
        row = {"id": new.id, "created_at": at, "owner": new.owner, "total": total}
        connection.execute(insert(JobRow), [row])
        append(connection, [Event(new.owner, "job submitted", new.id, {"total": total})], at=at)
        if new.waiting:
            connection.execute(insert(JobScanRow), [_row(new.id, item) for item in new.waiting])
        insert_predictions(connection, new.failed)


def waiting_scans(store: Store, *, limit: int = 16) -> list[JobScan]:
    """Return scans that wait, those of the oldest job first."""
    query = (
        select(JobScanRow.__table__, JobRow.owner.label("owner"))
        .join(JobRow, JobRow.id == JobScanRow.job)
        .order_by(JobRow.created_at, JobScanRow.job, JobScanRow.position)
        .limit(limit)
    )
    with store.reading() as connection:
        return [_waiting(row) for row in connection.execute(query)]


def save_answers(store: Store, answers: Sequence[NewPrediction]) -> None:
    """Write answers of jobs, and remove their waiting images; one answered already is passed."""
    with store.writing() as connection:
        insert_predictions(connection, [item for item in answers if _taken(connection, item)])


def get_job(store: Store, id: str, *, owner: str | None = None) -> Job:
    """Return a batch; with `owner`, only if it is theirs. Raises NotStoredError."""
    query = select(JobRow.__table__).where(JobRow.id == id)
    if owner is not None:
        query = query.where(JobRow.owner == owner)
    with store.reading() as connection:
        row = connection.execute(query).one_or_none()
        if row is None:
            raise NotStoredError("job", "is not in the store", "Submit it again.")
        counts = select(func.count(), func.count().filter(PredictionRow.decision == ""))
        answered, failed = connection.execute(counts.where(PredictionRow.job == id)).one()
    return Job(row.id, row.owner, row.created_at, row.total, answered, failed)


def _taken(connection: Connection, answer: NewPrediction) -> bool:
    query = delete(JobScanRow).where(JobScanRow.job == answer.job)
    return connection.execute(query.where(JobScanRow.position == answer.position)).rowcount == 1


def _row(job: str, item: JobScan) -> dict[str, object]:
    return {
        "job": job,
        "position": item.position,
        "path": item.scan.path,
        "notes": json.dumps(item.scan.notes),
        "input_sha256": item.input_sha256,
        "pixels": encode_prepared(item.scan.pixels),
    }


def _waiting(row: Any) -> JobScan:
    scan = PreparedScan(row.path, decode_prepared(row.pixels), tuple(json.loads(row.notes)))
    return JobScan(row.position, scan, row.input_sha256, row.job, row.owner)
