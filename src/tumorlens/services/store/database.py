"""Opening a store: SQLite in WAL mode by default, PostgreSQL by URL, migrated on the way.

A write is one transaction; SQLite's takes the write lock at its start, so that two processes
(a service and a dashboard, say) wait for one another instead of failing halfway.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError

from tumorlens.errors import MissingExtraError, StoreError, StoreFullError

MIGRATIONS = Path(__file__).with_name("migrations")
LOCK_SECONDS = 15  # that a write waits for another process
MIGRATION_LOCK = 0x7475_6D6F  # of PostgreSQL's advisory locks
_FULL = ("database or disk is full", "No space left on device", "DiskFull", "disk I/O error")


class Store:
    """An open database; safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def name(self) -> str:
        """The URL without its password, for messages."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one moment of the database."""
        with self._named_errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection whose changes are on the disk when the block ends well."""
        with self._named_errors(), self.engine.connect() as connection:
            connection.execution_options(tumorlens_writes=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as e:
            raise named_error(e, self.name) from e


def open_store(url: str = "") -> Store:
    """Open and migrate a store; without a URL, a file in the user's data folder.

    `url` is a file, `sqlite:///FILE`, or `postgresql://USER:PASSWORD@HOST/NAME`. Raises StoreError
    for a URL that cannot be read, a server that does not answer and a store of a newer version,
    StoreFullError where no space is left.
    """
    parsed = _parse(url or str(default_file()))
    store = Store(_sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _server(parsed))
    migrate(store)
    return store


def default_file() -> Path:
    """Give the file that is used where no URL is given."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "tumorlens" / "store.sqlite"


def migrate(store: Store) -> None:
    """Bring a database to the tables of this version; nothing happens where it has them."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    with store.writing() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": MIGRATION_LOCK})
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as e:
            fact = f"is not a store this version knows ({e})"
            raise StoreError(store.name, fact, "Update tumorlens, or name another store.") from e


def is_writable(store: Store) -> bool:
    """Tell whether a write succeeds now, by one that changes nothing but reaches the disk."""
    try:
        with store.writing() as connection:
            connection.execute(text("UPDATE audit_head SET number = number"))
    except StoreError:
        return False
    return True


def named_error(error: DBAPIError, name: str) -> StoreError:
    """Say what a driver's error means; its own text may hold rows and is left out."""
    cause = error.orig
    said = f"{type(cause).__name__} {cause}"
    if any(sign in said for sign in _FULL):
        return StoreFullError(name, "has no space left to write", "Free space; nothing was lost.")
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None)
    fact = f"failed ({type(cause).__name__}{f' {code}' if code else ''})"
    return StoreError(name, fact, "Check that it runs, is reachable and may be written to.")


def is_passing(error: BaseException | None) -> bool:
    """Tell whether an error goes away by itself: a server that restarts, a lock held long."""
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None) or ""
    locked = "database is locked" in str(error.orig)
    return error.connection_invalidated or locked or state[:2] in ("08", "57") or _no_server(error)


def _no_server(error: DBAPIError) -> bool:
    """Tell whether connecting failed: such an error has no state."""
    name = type(error.orig).__name__
    return name == "OperationalError" and getattr(error.orig, "sqlstate", "") is None


def _parse(url: str) -> URL:
    if "://" not in url:
        return URL.create("sqlite", database=url)
    try:
        parsed = make_url(url)
    except ArgumentError as e:
        fix = "Give a file, sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME."
        raise StoreError("store", "is not a URL of a database", fix) from e
    backend = parsed.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise StoreError(backend, "is no database that is used here", "Use SQLite or PostgreSQL.")
    return parsed


def _sqlite(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        file = Path(url.database)
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.touch(mode=0o600)
    engine = create_engine(url, connect_args={"timeout": LOCK_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where this module says
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
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("tumorlens_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _server(url: URL) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True, pool_size=4, max_overflow=4)
    except ModuleNotFoundError as e:
        fix = 'Install it: pip install "tumorlens[postgres]".'
        raise MissingExtraError(e.name or "psycopg", "is not installed", fix) from e
