"""Batches that survive a restart: prepared images wait in the store until they are answered.

An answer and the removal of its waiting image are one transaction, so that no scan is lost or
answered twice, whatever is killed in between, and several services may share the work.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, delete, exists, func, insert, select, update

from tumorlens.errors import NotStoredError, TooManyJobsError, UnreadableImageError
from tumorlens.images.raster import encode_png
from tumorlens.records import PreparedScan, Unusable
from tumorlens.services.store.audit_log import (
    JOB_CANCELED,
    JOB_SUBMITTED,
    Event,
    append,
    lock_head,
    now,
    row_details,
    row_hash,
)
from tumorlens.services.store.database import (
    JobRow,
    JobScanRow,
    PredictionRow,
    Store,
    columns_of,
)
from tumorlens.services.store.history import (
    DAMAGE,
    LOST,
    NewPrediction,
    decode_prepared,
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
    canceled_at: str | None = None

    @property
    def is_canceled(self) -> bool:
        """Return whether what waited was removed."""
        return self.canceled_at is not None

    @property
    def state(self) -> Literal["running", "done", "canceled"]:
        """Return how far it is; what was answered before it was canceled stays."""
        if self.answered >= self.total:
            return "done"
        return "canceled" if self.is_canceled else "running"


@dataclass(frozen=True)
class JobScan:
    """A prepared scan that waits."""

    position: int
    scan: PreparedScan | Unusable  # unusable where it was damaged in the store
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


def check_unfinished(store: Store, owner: str, *, max_unfinished: int) -> None:
    """Raise TooManyJobsError where an owner has as many unfinished batches as one may have."""
    with store.reading() as connection:
        count = _count_unfinished(connection, owner)
    if count >= max_unfinished:
        raise _too_many(max_unfinished)


def _count_unfinished(connection: Connection, owner: str) -> int:
    has_waiting = exists().where(JobScanRow.job == JobRow.id)
    query = select(func.count()).select_from(JobRow).where(JobRow.owner == owner, has_waiting)
    return connection.execute(query).scalar_one()


def _too_many(max_unfinished: int) -> TooManyJobsError:
    fact = f"{max_unfinished} unfinished batches are taken at once"
    return TooManyJobsError("batch", fact, "Wait for one, or cancel it.")


def save_job(store: Store, new: NewJob, *, max_unfinished: int | None = None) -> None:
    """Write a batch with all its waiting images, in one transaction.

    Raises TooManyJobsError where its owner has `max_unfinished` already.
    """
    total, scans = len(new.waiting) + len(new.failed), [_row(new.id, item) for item in new.waiting]
    with store.writing() as connection:
        head, at = lock_head(connection), now()
        if (
            max_unfinished is not None
            and _count_unfinished(connection, new.owner) >= max_unfinished
        ):
            raise _too_many(max_unfinished)
        row = {"id": new.id, "created_at": at, "owner": new.owner, "total": total}
        connection.execute(insert(JobRow), [row])
        hashes = {str(scan["position"]): row_hash(JobScanRow, scan) for scan in scans}
        details = row_details(JobRow, row, total=total, scans=hashes)
        append(connection, head, [Event(new.owner, JOB_SUBMITTED, new.id, details)], at=at)
        if scans:
            connection.execute(insert(JobScanRow), scans)
        insert_predictions(connection, new.failed)


def cancel_job(store: Store, id: str, *, actor: str, owner: str | None = None) -> Job:
    """Remove what waits of a batch; its answers stay, and one that is done stays as it is.

    With `owner`, only if it is theirs. Raises NotStoredError.
    """
    get_job(store, id, owner=owner)
    with store.writing() as connection:
        head, at = lock_head(connection), now()
        waiting = connection.execute(delete(JobScanRow).where(JobScanRow.job == id)).rowcount
        if waiting:
            connection.execute(update(JobRow).where(JobRow.id == id).values(canceled_at=at))
            row = connection.execute(select(JobRow.__table__).where(JobRow.id == id)).one()
            details = row_details(JobRow, columns_of(JobRow, row), waiting=waiting)
            append(connection, head, [Event(actor, JOB_CANCELED, id, details)], at=at)
    return get_job(store, id, owner=owner)


def waiting_scans(store: Store, *, limit: int = 16) -> list[JobScan]:
    """Return scans that wait: owners take turns, of each the oldest job comes first."""
    order = (JobRow.created_at, JobScanRow.job, JobScanRow.position)
    turn = func.row_number().over(partition_by=JobRow.owner, order_by=order)
    turns = (
        select(JobScanRow.job, JobScanRow.position, JobRow.owner, turn.label("turn"))
        .join(JobRow, JobRow.id == JobScanRow.job)
        .order_by(turn, JobRow.owner)
        .limit(limit)
        .subquery()
    )
    is_same = (turns.c.job == JobScanRow.job) & (turns.c.position == JobScanRow.position)
    query = select(JobScanRow.__table__, turns.c.owner.label("owner")).join(turns, is_same)
    query = query.order_by(turns.c.turn, turns.c.owner)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return [_waiting(row) for row in rows]


def save_answers(store: Store, answers: Sequence[NewPrediction]) -> None:
    """Write answers of jobs, and remove their waiting images; one answered already is passed."""
    with store.writing() as connection:
        lock_head(connection)  # before any row, as all writers do, so that no two deadlock
        insert_predictions(connection, [item for item in answers if _taken(connection, item)])


def get_job(store: Store, id: str, *, owner: str | None = None) -> Job:
    """Return a batch; with `owner`, only if it is theirs. Raises NotStoredError."""
    query = select(JobRow.__table__).where(JobRow.id == id)
    if owner is not None:
        query = query.where(JobRow.owner == owner)
    counts = select(func.count(), func.count().filter(PredictionRow.decision == ""))
    with store.reading() as connection:
        row = connection.execute(query).one_or_none()
        answered, failed = connection.execute(counts.where(PredictionRow.job == id)).one()
    if row is None:
        raise NotStoredError("job", "is not in the store", "Submit it again.")
    return Job(row.id, row.owner, row.created_at, row.total, answered, failed, row.canceled_at)


def _taken(connection: Connection, answer: NewPrediction) -> bool:
    query = delete(JobScanRow).where(JobScanRow.job == answer.job)
    return connection.execute(query.where(JobScanRow.position == answer.position)).rowcount == 1


def _row(job: str, item: JobScan) -> dict[str, object]:
    if isinstance(item.scan, Unusable):
        raise item.scan.error
    return {
        "job": job,
        "position": item.position,
        "path": item.scan.path,
        "notes": json.dumps(item.scan.notes),
        "modality": item.scan.modality,
        "input_sha256": item.input_sha256,
        "pixels": encode_png(item.scan.pixels),
    }


def _waiting(row: Any) -> JobScan:
    """Return a waiting scan; one that is damaged is answered with that, and holds up no other."""
    scan: PreparedScan | Unusable
    try:
        scan = PreparedScan(
            row.path, decode_prepared(row.pixels), tuple(json.loads(row.notes)),
            modality=row.modality,
        )  # fmt: skip
    except DAMAGE:
        scan = Unusable(UnreadableImageError(str(row.path), *LOST))
    return JobScan(row.position, scan, row.input_sha256, row.job, row.owner)
