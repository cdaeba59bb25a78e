"""The tables; `migrations/` brings a database to them, and a test says that they agree.

Times are text in ISO 8601, UTC: they sort as they are, mean the same in SQLite and PostgreSQL,
and are part of what the audit trail hashes.
"""

from sqlalchemy import Float, ForeignKey, Index, LargeBinary, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(DeclarativeBase):
    """What all tables share: how constraints are named."""

    metadata = MetaData(naming_convention=NAMES)


class PredictionRow(Table):
    """One answer. `document` is the Prediction as JSON, byte for byte as the trail hashed it."""

    __tablename__ = "predictions"
    __table_args__ = (
        Index("ix_predictions_reader_number", "owner", "number"),
        {"sqlite_autoincrement": True},  # a number is never given twice
    )

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)  # order of arrival
    id: Mapped[str] = mapped_column(String(32), unique=True)
    created_at: Mapped[str] = mapped_column(String(32), index=True)
    # Whose history: a key's id, a session. The column keeps its first name.
    owner: Mapped[str] = mapped_column("reader", String(64), key="owner")
    source: Mapped[str] = mapped_column(String(16))  # the door it came through
    job: Mapped[str | None] = mapped_column(String(32), index=True)
    position: Mapped[int | None]  # in the job
    input_sha256: Mapped[str] = mapped_column(String(64), index=True)
    bundle: Mapped[str] = mapped_column(String(200))
    bundle_sha256: Mapped[str] = mapped_column(String(64))
    modality: Mapped[str] = mapped_column(String(8))
    decision: Mapped[str] = mapped_column(String(16))
    tumor_type: Mapped[str] = mapped_column(String(16))
    tumor_probability: Mapped[float | None] = mapped_column(Float(53))
    document: Mapped[str] = mapped_column(Text)
    timings: Mapped[str] = mapped_column(Text)  # JSON, milliseconds by step
    evidence: Mapped[bytes | None] = mapped_column(LargeBinary)  # .npy, no scan in it
    prepared: Mapped[bytes | None] = mapped_column(LargeBinary)  # PNG, only where told to keep


class ReviewRow(Table):
    """What a reader said of one answer; a later review does not replace an earlier one."""

    __tablename__ = "reviews"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(32), unique=True)
    prediction_id: Mapped[str] = mapped_column(
        ForeignKey("predictions.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[str] = mapped_column(String(32))
    reader: Mapped[str] = mapped_column(String(64))
    verdict: Mapped[str] = mapped_column(String(8))  # agree | correct
    decision: Mapped[str] = mapped_column(String(16))  # the reader's own
    tumor_type: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text)


class TrailRow(Table):
    """One event. The database itself refuses to change or remove a row."""

    __tablename__ = "audit_trail"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 1, 2, 3, ...
    created_at: Mapped[str] = mapped_column(String(32))
    actor: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(64), index=True)
    details: Mapped[str] = mapped_column(Text)  # JSON
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class TrailHead(Table):
    """The last link of the chain, in one row: writers lock it, and a cut-off tail shows."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]
    hash: Mapped[str] = mapped_column(String(64))


class KeyRow(Table):
    """An API key: only its hash is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(String(100))  # space between
    created_at: Mapped[str] = mapped_column(String(32))
    expires_at: Mapped[str | None] = mapped_column(String(32))
    revoked_at: Mapped[str | None] = mapped_column(String(32))


class JobRow(Table):
    """A batch. What is answered is read off `predictions`, what waits off `job_scans`."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created_at: Mapped[str] = mapped_column(String(32), index=True)
    owner: Mapped[str] = mapped_column("reader", String(64), key="owner")
    total: Mapped[int]


class JobScanRow(Table):
    """A prepared image that waits for its answer; the row goes in the answer's transaction."""

    __tablename__ = "job_scans"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(String(255))
    notes: Mapped[str] = mapped_column(Text)  # JSON
    input_sha256: Mapped[str] = mapped_column(String(64))
    pixels: Mapped[bytes] = mapped_column(LargeBinary)  # PNG
