"""What somebody may do who can write to the database, and a store to do it to."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, select, text, update

from tumorlens.records import Heatmap, Prediction, PreparedScan
from tumorlens.services.store import NewPrediction, Review, Store, save_predictions, save_review
from tumorlens.services.store.audit_log import (
    JOB_CANCELED,
    KEY_REVOKED,
    ROW,
    START,
    Event,
    Head,
    append,
    row_hash,
)
from tumorlens.services.store.database import (
    JobRow,
    JobScanRow,
    KeyRow,
    PredictionRow,
    ReviewRow,
    TrailHead,
    TrailRow,
    columns_of,
)
from tumorlens.services.store.jobs import JobScan, NewJob, save_answers, save_job
from tumorlens.services.store.keys import create_key, revoke_key

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)
HASH, FAR = "f" * 64, "2031-01-01T00:00:00.000000Z"
ONE, TWO, FOUR = "1" * 32, "2" * 32, "4" * 32  # answers; the fourth is one of the batch
REVIEW, JOB = "a" * 32, "b" * 32

_BY_COLUMN: Mapping[str, Mapping[str, str]] = {
    f"predictions WHERE id = '{ONE}'": {
        "number": "77", "id": f"'{'9' * 32}'", "created_at": f"'{FAR}'", "reader": "'bob'",
        "source": "'v2'", "job": "'x'", "position": "5", "input_sha256": f"'{HASH}'",
        "bundle": "'other@0'", "bundle_sha256": f"'{HASH}'", "modality": "'ct'",
        "decision": "'no tumor'", "tumor_type": "''", "tumor_probability": "0.01",
        "document": "replace(document, '0.9', '0.1')", "timings": "'{}'",
        "evidence": ":blob", "prepared": ":blob",
    },
    f"reviews WHERE id = '{REVIEW}'": {
        "number": "77", "id": f"'{'9' * 32}'", "prediction_id": f"'{ONE}'",
        "created_at": f"'{FAR}'", "reader": "'bob'", "verdict": "'agree'",
        "decision": "'tumor'", "tumor_type": "'glioma'", "reason": "'another'",
    },
    "api_keys WHERE name = 'ward'": {
        "id": "'other'", "sha256": f"'{HASH}'", "scopes": "'admin'", "created_at": f"'{FAR}'",
        "expires_at": f"'{FAR}'", "revoked_at": f"'{FAR}'", "name": "'another'",
    },
    "api_keys WHERE name = 'gone'": {"revoked_at": "NULL"},
    f"jobs WHERE id = '{JOB}'": {
        "created_at": f"'{FAR}'", "reader": "'bob'", "total": "9", "canceled_at": f"'{FAR}'",
    },
    "job_scans WHERE position = 1": {
        "path": "'other'", "notes": "'[]'", "input_sha256": f"'{HASH}'", "pixels": ":blob",
    },
    "audit_trail WHERE number = 3": {
        "created_at": f"'{FAR}'", "actor": "'bob'", "action": "'deleted'", "subject": "'x'",
        "details": "'no JSON'", "previous": f"'{HASH}'", "hash": f"'{HASH}'",
    },
    "audit_head": {"number": "4", "hash": f"'{HASH}'", "latest_at": "'2001'"},
}  # fmt: skip
_COPIED = "created_at, reader, source, job, position, input_sha256, bundle, bundle_sha256, "
_COPIED += "modality, decision, tumor_type, tumor_probability, document, timings"
OF_ROWS: Mapping[str, tuple[str, ...]] = {
    "an answer is deleted": (f"DELETE FROM predictions WHERE id = '{TWO}'",),
    "an answer is added": (
        f"INSERT INTO predictions (id, {_COPIED}) SELECT '{HASH[:32]}', {_COPIED} "
        f"FROM predictions WHERE id = '{ONE}'",
    ),
    "two answers are swapped": (
        f"UPDATE predictions SET id = 'x' WHERE id = '{FOUR}'",
        f"UPDATE predictions SET id = '{FOUR}' WHERE id = '{ONE}'",
        f"UPDATE predictions SET id = '{ONE}' WHERE id = 'x'",
    ),
    "a review is deleted": (f"DELETE FROM reviews WHERE id = '{REVIEW}'",),
    "a review is added": (
        "INSERT INTO reviews (id, prediction_id, created_at, reader, verdict, decision, "
        f"tumor_type, reason) VALUES ('x', '{ONE}', '{FAR}', 'ann', 'agree', 'tumor', '', '')",
    ),
    "a key is deleted": ("DELETE FROM api_keys WHERE name = 'ward'",),
    "a key is added": (
        "INSERT INTO api_keys (id, name, sha256, scopes, created_at) "
        f"VALUES ('x', 'evil', '{HASH}', 'admin', '{FAR}')",
    ),
    "a batch is deleted": (f"DELETE FROM jobs WHERE id = '{JOB}'",),
    "a batch is added": (
        f"INSERT INTO jobs (id, created_at, reader, total) VALUES ('x', '{FAR}', 'ann', 1)",
    ),
    "a waiting scan is deleted": ("DELETE FROM job_scans WHERE position = 1",),
    "a waiting scan is added": (
        "INSERT INTO job_scans (job, position, path, notes, input_sha256, pixels) "
        f"VALUES ('{JOB}', 7, 'x', '[]', '{HASH}', :blob)",
    ),
}
_OF_THE_TRAIL: Mapping[str, tuple[str, ...]] = {
    "an entry is removed": ("DELETE FROM audit_trail WHERE number = 3",),
    "the last entry is removed": (
        "DELETE FROM audit_trail WHERE number = (SELECT number FROM audit_head)",
    ),
    "an entry is added behind": (
        "INSERT INTO audit_trail (number, created_at, actor, action, subject, details, previous, "
        "hash) SELECT number + 1, latest_at, 'ann', 'viewed', 'x', '{}', hash, hash "
        "FROM audit_head",
    ),
    "the tail is cut off with its head": (
        "DELETE FROM audit_trail WHERE number > 5",
        "UPDATE audit_head SET number = 5, hash = (SELECT hash FROM audit_trail WHERE number = 5), "
        "latest_at = (SELECT max(created_at) FROM audit_trail)",
    ),
    "everything is emptied but the answers": (
        "DELETE FROM audit_trail",
        f"UPDATE audit_head SET number = 0, hash = '{START}', latest_at = ''",
    ),
}


def _updates() -> Iterator[tuple[str, tuple[str, ...]]]:
    for target, columns in _BY_COLUMN.items():
        table, _, where = target.partition(" ")
        for column, value in columns.items():
            name = f"{table}.{column} {where.partition('=')[2]}".strip()
            yield name, (f"UPDATE {table} SET {column} = {value} {where}",)


TAMPERINGS = dict(_updates()) | OF_ROWS | _OF_THE_TRAIL  # name: what is run, in both databases


def fill(store: Store) -> None:
    """Put a row of every kind into a store; the trail gets 10 entries."""
    create_key(store, "ward", days=30)
    gone, _ = create_key(store, "gone")
    revoke_key(store, gone.id)
    heatmap = Heatmap(np.eye(3, dtype=np.float32), PIXELS)
    answer = Prediction(
        "slice", modality="mri", tumor_probability=0.9, decision="tumor", type="glioma",
        bundle="small@012345678901", heatmap=heatmap,
    )  # fmt: skip

    def new(id: str, **more: Any) -> NewPrediction:
        hashes = {"input_sha256": "c" * 64, "bundle_sha256": "d" * 64}
        return NewPrediction(
            answer, **hashes, owner="ann", source="http", timings={"predict": 2.5}, keep=True,
            id=id, **more,
        )  # fmt: skip

    save_predictions(store, [new(ONE)])
    save_predictions(store, [new(TWO), new("3" * 32)])
    save_review(store, Review(TWO, "ann", "correct", "no tumor", reason="artifact", id=REVIEW))
    save_review(store, Review(TWO, "ann", "agree"))
    scans = [PreparedScan(f"scan {i}", PIXELS + i, ("a note",)) for i in range(3)]
    waiting = [JobScan(i, scan, "e" * 64) for i, scan in enumerate(scans)]
    save_job(store, NewJob("ann", waiting, [], id=JOB))
    save_answers(store, [new(FOUR, job=JOB, position=0)])


@contextmanager
def tampered(store: Store, name: str) -> Iterator[Connection]:
    """Yield a connection that sees the store tampered with; all is undone at the end."""
    with store.engine.connect() as connection, connection.begin() as transaction:
        _disarm(connection)
        for statement in TAMPERINGS[name]:
            given = {"blob": b"another"} if ":blob" in statement else {}
            connection.execute(text(statement), given)
        yield connection
        transaction.rollback()


def _disarm(connection: Connection) -> None:
    """Take away what keeps the trail append-only."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("ALTER TABLE audit_trail DISABLE TRIGGER ALL"))
    else:
        for verb in ("update", "delete"):
            connection.execute(text(f"DROP TRIGGER audit_trail_no_{verb}"))


def recompute(connection: Connection) -> None:
    """Make a new trail that fits the rows, with all that the program knows but the key."""
    events = _fitting(connection)
    connection.execute(delete(TrailRow))
    empty = Head(0, START, "", "")
    connection.execute(update(TrailHead).values(**vars(empty)))
    key = connection.get_execution_options().get("tumorlens_audit_key")
    connection.execution_options(tumorlens_audit_key=b"")
    append(connection, empty, events, at=FAR)
    connection.execution_options(tumorlens_audit_key=key)


def _fitting(connection: Connection) -> list[Event]:
    """Return an event of each row, as the program would have written it for what is there now."""
    events = []
    for table, action, amended in (
        (KeyRow, "key created", (KEY_REVOKED, "revoked_at")),
        (JobRow, "job submitted", (JOB_CANCELED, "canceled_at")),
        (PredictionRow, "predicted", None),
        (ReviewRow, "reviewed", None),
    ):
        for row in _rows(connection, table):
            details: dict[str, object] = {ROW: row_hash(table, row)}
            if table is JobRow:
                scans = [scan for scan in _rows(connection, JobScanRow) if scan["job"] == row["id"]]
                details["scans"] = {
                    str(scan["position"]): row_hash(JobScanRow, scan) for scan in scans
                }
            events.append(Event("ann", action, row["id"], details))
            if amended and row[amended[1]]:
                events.append(Event("ann", amended[0], row["id"], {ROW: details[ROW]}))
    return events


def _rows(connection: Connection, table: Any) -> list[dict[str, Any]]:
    return [columns_of(table, row) for row in connection.execute(select(table.__table__))]
