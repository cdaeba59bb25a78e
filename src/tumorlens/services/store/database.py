"""The database: its tables, and how it is opened.

SQLite in WAL mode by default, PostgreSQL by URL; `migrations/` brings a database to the tables
below. Times are text in ISO 8601, UTC: they sort as they are, mean the same in both databases, and
are part of what the audit trail hashes. A write is one transaction; SQLite's takes the write lock
at its start, so that two processes (a service and a dashboard) wait for one another instead of
failing halfway.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tumorlens.errors import MissingExtraError, StoreError, StoreFullError

MIGRATIONS = Path(__file__).with_name("migrations")
LOCK_SECONDS = 15  # that a write waits for another process
PROBE_BYTES = 2**16  # that have to find room in the folder of the store
MIGRATION_LOCK = 0x7475_6D6F  # of PostgreSQL's advisory locks
_HEX_KEY = re.compile(r"(?:[0-9a-fA-F]{2}){32,}")
_NEW_KEY = "Make one with `openssl rand -hex 32`, and keep it outside the database."
_FULL = ("database or disk is full", "No space left on device", "DiskFull", "disk I/O error")

NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Table(DeclarativeBase):
    """What all tables share: how constraints are named."""

    metadata = sa.MetaData(naming_convention=NAMES)


Row = Mapping[str, Any]  # of a table, by the names that its class has


def columns_of(table: type[Table], row: sa.Row[Any]) -> Row:
    """Return a row that was selected from one table by the names that its class has."""
    return {column.key: row._mapping[column] for column in table.__table__.columns}


class PredictionRow(Table):
    """One answer. `document` is the Prediction as JSON, byte for byte as the trail hashed it."""

    __tablename__ = "predictions"
    __table_args__ = (
        sa.Index("ix_predictions_reader_number", "owner", "number"),
        {"sqlite_autoincrement": True},  # a number is never given twice
    )

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)  # order of arrival
    id: Mapped[str] = mapped_column(sa.String(32), unique=True)
    created_at: Mapped[str] = mapped_column(sa.String(32), index=True)
    # Whose history: a key's id, a session. The column keeps its first name.
    owner: Mapped[str] = mapped_column("reader", sa.String(64), key="owner")
    source: Mapped[str] = mapped_column(sa.String(16))  # http, v2, batch, dashboard
    job: Mapped[str | None] = mapped_column(sa.String(32), index=True)
    position: Mapped[int | None]  # in the job
    input_sha256: Mapped[str] = mapped_column(sa.String(64), index=True)
    bundle: Mapped[str] = mapped_column(sa.String(200))
    bundle_sha256: Mapped[str] = mapped_column(sa.String(64))
    modality: Mapped[str] = mapped_column(sa.String(8))
    decision: Mapped[str] = mapped_column(sa.String(16))
    tumor_type: Mapped[str] = mapped_column(sa.String(16))
    tumor_probability: Mapped[float | None] = mapped_column(sa.Float(53))
    document: Mapped[str] = mapped_column(sa.Text)
    timings: Mapped[str] = mapped_column(sa.Text)  # JSON, milliseconds by step
    evidence: Mapped[bytes | None] = mapped_column(sa.LargeBinary)  # .npy, no scan in it
    prepared: Mapped[bytes | None] = mapped_column(sa.LargeBinary)  # PNG, only where told to keep


class SeriesRow(Table):
    """The one answer for a series; its slices are rows of `predictions` with the same `series`."""

    __tablename__ = "series"
    __table_args__ = (
        sa.Index("ix_series_owner_number", "owner", "number"),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)  # order of arrival
    id: Mapped[str] = mapped_column(sa.String(32), unique=True)
    created_at: Mapped[str] = mapped_column(sa.String(32), index=True)
    owner: Mapped[str] = mapped_column(sa.String(64))
    source: Mapped[str] = mapped_column(sa.String(16))
    series: Mapped[str] = mapped_column(sa.String(64))  # a name that names nobody
    modality: Mapped[str] = mapped_column(sa.String(8))
    decision: Mapped[str] = mapped_column(sa.String(16))
    bundle: Mapped[str] = mapped_column(sa.String(200))
    bundle_sha256: Mapped[str] = mapped_column(sa.String(64))
    description: Mapped[str] = mapped_column(sa.Text)  # of the series, as its header has it
    document: Mapped[str] = mapped_column(sa.Text)  # the SeriesPrediction as JSON


class ReviewRow(Table):
    """What a reader said of one answer; a later review does not replace an earlier one."""

    __tablename__ = "reviews"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(sa.String(32), unique=True)
    prediction_id: Mapped[str] = mapped_column(
        sa.ForeignKey("predictions.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[str] = mapped_column(sa.String(32))
    reader: Mapped[str] = mapped_column(sa.String(64))
    verdict: Mapped[str] = mapped_column(sa.String(8))  # agree | correct
    decision: Mapped[str] = mapped_column(sa.String(16))  # the reader's own
    tumor_type: Mapped[str] = mapped_column(sa.String(16))
    reason: Mapped[str] = mapped_column(sa.Text)


class TrailRow(Table):
    """One event. The database itself refuses to change or remove a row."""

    __tablename__ = "audit_trail"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 1, 2, 3, ...
    created_at: Mapped[str] = mapped_column(sa.String(32))
    actor: Mapped[str] = mapped_column(sa.String(64))
    action: Mapped[str] = mapped_column(sa.String(32))
    subject: Mapped[str] = mapped_column(sa.String(64), index=True)
    details: Mapped[str] = mapped_column(sa.Text)  # JSON
    previous: Mapped[str] = mapped_column(sa.String(64))
    hash: Mapped[str] = mapped_column(sa.String(64))


class TrailHead(Table):
    """The last link of the chain, in one row: writers lock it, and a cut-off tail shows."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]
    hash: Mapped[str] = mapped_column(sa.String(64))
    latest_at: Mapped[str] = mapped_column(sa.String(32), server_default="")  # of all entries
    signature: Mapped[str] = mapped_column(sa.String(64), server_default="")  # "": not signed


class KeyRow(Table):
    """An API key: only its hash is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(100))
    sha256: Mapped[str] = mapped_column(sa.String(64), unique=True)
    scopes: Mapped[str] = mapped_column(sa.String(100))  # space between
    created_at: Mapped[str] = mapped_column(sa.String(32))
    expires_at: Mapped[str | None] = mapped_column(sa.String(32))
    revoked_at: Mapped[str | None] = mapped_column(sa.String(32))


class JobRow(Table):
    """A batch. What is answered is read off `predictions`, what waits off `job_scans`."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    created_at: Mapped[str] = mapped_column(sa.String(32), index=True)
    owner: Mapped[str] = mapped_column("reader", sa.String(64), key="owner")
    total: Mapped[int]
    canceled_at: Mapped[str | None] = mapped_column(sa.String(32))


class JobScanRow(Table):
    """A prepared image that waits for its answer; the row goes in the answer's transaction."""

    __tablename__ = "job_scans"

    job: Mapped[str] = mapped_column(sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(sa.String(255))
    notes: Mapped[str] = mapped_column(sa.Text)  # JSON
    modality: Mapped[str | None] = mapped_column(sa.String(8))  # where the file says so
    input_sha256: Mapped[str] = mapped_column(sa.String(64))
    pixels: Mapped[bytes] = mapped_column(sa.LargeBinary)  # PNG


class Store:
    """An open database; safe to use from several threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        database = engine.url.database if engine.dialect.name == "sqlite" else None
        self.file = Path(database) if database and database != ":memory:" else None
        self._file_id = _file_id(self.file)

    @property
    def name(self) -> str:
        """The URL without its password, for messages."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self, *, snapshot: bool = False) -> Iterator[sa.Connection]:
        """Yield a connection to read from; with `snapshot`, all queries see one moment."""
        with self._connection() as connection:
            if snapshot and connection.dialect.name == "postgresql":  # SQLite always does
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection whose changes are on the disk when the block ends well.

        Raises StoreError where the file of the store was removed or replaced: what is written to
        an unlinked file is lost.
        """
        if _file_id(self.file) != self._file_id:
            fact = "was removed or replaced while it was open"
            raise StoreError(self.name, fact, "Put it back if you can, and start again.")
        with self._connection() as connection:
            connection.execution_options(tumorlens_writes=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        """Yield a connection; one that saw an exception is closed and not used again.

        A cursor that is still open would keep its snapshot, and later reads would be stale.
        """
        try:
            with self.engine.connect() as connection:
                try:
                    yield connection
                except BaseException:
                    connection.invalidate()
                    raise
        except DBAPIError as e:
            raise named_error(e, self.name) from e


def open_store(url: str = "", *, audit_key: str = "") -> Store:
    """Open and migrate a store; without a URL, a file in the user's data folder.

    `url` is a file, `sqlite:///FILE`, or `postgresql://USER:PASSWORD@HOST/NAME`. `audit_key` signs
    the audit trail: 64 or more hex digits, or a file that holds them. Raises StoreError for a URL
    or key that cannot be read, a server that does not answer and a store of a newer version,
    StoreFullError where no space is left.
    """
    parsed, key = _parse(url or str(default_file())), read_audit_key(audit_key)
    engine = _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _server(parsed)
    store = Store(engine.execution_options(tumorlens_audit_key=key))
    migrate(store)
    return store


def read_audit_key(text: str) -> bytes:
    """Return the key that signs the audit trail, from hex digits or a file of them; "" is none."""
    found = text.strip()
    if found and not _HEX_KEY.fullmatch(found):
        try:
            found = Path(found).read_text(encoding="ascii").strip()
        except (OSError, ValueError) as e:
            fact = "is neither a key of 64 hex digits nor a file that can be read"
            raise StoreError("audit key", fact, _NEW_KEY) from e
        if not _HEX_KEY.fullmatch(found):
            raise StoreError(text, "holds no key of 64 hex digits", _NEW_KEY)
    return bytes.fromhex(found)


def audit_key_of(connection: sa.Connection) -> bytes:
    """Return the key that the store of a connection was opened with; b"" is none."""
    return connection.get_execution_options().get("tumorlens_audit_key", b"")


def default_file() -> Path:
    """Return the file that is used where no URL is given."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "tumorlens" / "store.sqlite"


def migrate(store: Store) -> None:
    """Bring a database to the tables of this version; nothing happens where it has them."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.script.revision import RevisionError

    script = ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS)])
    with store.writing() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:n)"), {"n": MIGRATION_LOCK})
        context = MigrationContext.configure(connection)
        try:
            missing = list(script.iterate_revisions("head", context.get_current_revision()))
        except RevisionError as e:
            fact = f"is not a store this version knows ({e})"
            raise StoreError(store.name, fact, "Update tumorlens, or name another store.") from e
        with Operations.context(context):
            for revision in reversed(missing):
                revision.module.upgrade()
        if missing:
            context.stamp(script, "head")


def is_writable(store: Store) -> bool:
    """Return whether a write succeeds now, by one that changes nothing but reaches the disk."""
    try:
        with store.writing() as connection:
            connection.execute(sa.text("UPDATE audit_head SET number = number"))
        if store.file:
            _probe_space(store.file.parent)
    except (StoreError, OSError):
        return False
    return True


def _probe_space(folder: Path) -> None:
    """Write as much as some answers need; raises OSError where there is no room."""
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(bytes(PROBE_BYTES))
        probe.flush()
        os.fsync(probe.fileno())


def _file_id(file: Path | None) -> tuple[int, int] | None:
    try:
        found = os.stat(file) if file else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


def named_error(error: DBAPIError, name: str) -> StoreError:
    """Return what a driver's error means; its own text may hold rows and is left out."""
    cause = error.orig
    said = f"{type(cause).__name__} {cause}"
    if any(sign in said for sign in _FULL):
        return StoreFullError(name, "has no space left to write", "Free space; nothing was lost.")
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    fact = f"failed ({type(cause).__name__}{f' {code}' if code else ''})"
    return StoreError(name, fact, "Check that it runs, is reachable and may be written to.")


def is_transient(error: BaseException | None) -> bool:
    """Return whether an error goes away by itself: a server that restarts, a lock held long."""
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", "")
    is_unreachable = type(error.orig).__name__ == "OperationalError" and state is None
    is_locked = "database is locked" in str(error.orig)
    is_restarting = error.connection_invalidated or (state or "")[:2] in ("08", "57")
    return is_unreachable or is_locked or is_restarting


def _parse(url: str) -> URL:
    if "://" not in url:
        return URL.create("sqlite", database=url)
    try:
        parsed = sa.make_url(url)
    except ArgumentError as e:
        fix = "Give a file, sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME."
        raise StoreError("store", "is not a URL of a database", fix) from e
    backend = parsed.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise StoreError(backend, "is no database that is used here", "Use SQLite or PostgreSQL.")
    return parsed


def _sqlite(url: URL) -> sa.Engine:
    if url.database and url.database != ":memory:":
        file = Path(url.database)
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.touch(mode=0o600)
    engine = sa.create_engine(url, connect_args={"timeout": LOCK_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where this module says
        # Text that is damaged is found when it is read, and takes no other row with it.
        connection.text_factory = lambda data: data.decode(errors="replace")
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # acknowledged means on the disk, also when the power goes
            "foreign_keys=ON",
            "secure_delete=ON",  # what retention removes is overwritten
            "wal_autocheckpoint=2000",
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("tumorlens_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _server(url: URL) -> sa.Engine:
    try:
        return sa.create_engine(url, pool_pre_ping=True, pool_size=4, max_overflow=4)
    except ModuleNotFoundError as e:
        fix = 'Install it: pip install "tumorlens[postgres]".'
        raise MissingExtraError(e.name or "psycopg", "is not installed", fix) from e
