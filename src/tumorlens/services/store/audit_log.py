"""The audit trail: append-only, each entry hashed with the one before it.

Whoever changes, removes or inserts an entry breaks every hash after it. Each row that is stored
(answer, review, key, batch) is hashed whole into its entry, so that a change of the row shows as
well. Whoever may write to the database can compute all of that anew; so the head is signed with a
key that lies elsewhere, and can be kept elsewhere itself. `verification` compares all of it. The
trail holds no scan, no name of a file and no address.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update

from tumorlens.errors import StoreError
from tumorlens.services.store.database import Row, Store, Table, TrailHead, TrailRow, audit_key_of

START = "0" * 64  # what the first entry follows
PREDICTED, REVIEWED, EXPIRED = "predicted", "reviewed", "expired"
SERIES_ANSWERED, RESULTS_SENT, SERIES_DEAD = "series answered", "results sent", "series dead"
KEY_CREATED, KEY_REVOKED = "key created", "key revoked"
JOB_SUBMITTED, JOB_CANCELED = "job submitted", "job canceled"
SIGNING_STARTED, HEAD_NOT_SIGNED = "signing started", "head not signed"
ROW = "row_sha256"  # the detail that holds the hash of the row
OPERATOR = "cli"  # who does what only the command line can


@dataclass(frozen=True)
class Event:
    """Who did what to what."""

    actor: str  # a key's id, a session, "cli", "service"
    action: str  # predicted | reviewed | expired | key created | ...
    subject: str  # the id of a prediction, review, key or job
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """An event with its place in the chain."""

    number: int
    created_at: str
    event: Event  # without details where they are no JSON any more
    details: str  # as they are stored
    previous: str
    hash: str


@dataclass(frozen=True)
class Head:
    """The end of the chain. Kept elsewhere, `str(head)` pins the whole history."""

    number: int
    hash: str
    latest_at: str  # the latest time of all entries: the clock may have been set back since
    signature: str  # "": not signed

    def __str__(self) -> str:
        """Return it as `audit-trail verify --expect` takes it."""
        return f"{self.number}:{self.hash}"

    def is_signed_with(self, key: bytes) -> bool:
        """Return whether its signature was made with a key."""
        return hmac.compare_digest(str(self.signature).encode(), _sign(self, key).encode())


def now() -> str:
    """Return the time as it is stored: ISO 8601, UTC, microseconds."""
    return days_ago(0)


def days_ago(days: float) -> str:
    """Return a time in the past, or with negative days to come, as it is stored."""
    at = datetime.now(UTC) - timedelta(days=days)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def lock_head(connection: Connection) -> Head:
    """Return the end of the chain; other writers wait until the caller's transaction ends."""
    return _head(connection.execute(select(TrailHead.__table__).with_for_update()).one())


def append(connection: Connection, head: Head, events: Iterable[Event], *, at: str) -> None:
    """Add events behind the head that the caller's transaction locked.

    With a key the new head is signed; a head that was not, though it should be, is an event of its
    own, so that nobody can have a chain signed that they made. Raises StoreError where the chain
    is signed and no key was given.
    """
    key, events = audit_key_of(connection), list(events)
    if not events:
        return
    if head.signature and not key:
        fact = "has a signed audit trail, which takes no entry without the key"
        raise StoreError("store", fact, "Set TUMORLENS_AUDIT_KEY as the service has it.")
    is_adopted = any(event.action == SIGNING_STARTED for event in events)
    if key and head.number and not is_adopted and not head.is_signed_with(key):
        events.insert(0, Event("service", HEAD_NOT_SIGNED, "audit trail", {"head": str(head)}))
    rows, previous = [], head.hash
    for number, event in enumerate(events, start=head.number + 1):
        rows.append(_row(number, at, event, previous))
        previous = rows[-1]["hash"]
    new = Head(head.number + len(rows), previous, max(head.latest_at, at), "")
    signature = _sign(new, key) if key else ""
    connection.execute(insert(TrailRow), rows)
    connection.execute(update(TrailHead).values(**vars(new) | {"signature": signature}))


def get_head(store: Store) -> Head:
    """Return the end of the chain."""
    with store.reading() as connection:
        return read_head(connection)


def read_head(connection: Connection) -> Head:
    """Return the end of the chain as a connection sees it."""
    return _head(connection.execute(select(TrailHead.__table__)).one())


def check_signed(store: Store) -> None:
    """Raise StoreError where the store was opened with a key that did not sign its trail."""
    with store.reading() as connection:
        key, head = audit_key_of(connection), read_head(connection)
    if key and head.number and not head.is_signed_with(key):
        fact = "has an audit trail that is not signed with this key"
        fix = "Run `tumorlens audit-trail verify`, and if all is well `tumorlens audit-trail sign`."
        raise StoreError(store.name, fact, fix)


def start_signing(store: Store) -> Head:
    """Sign a chain that was not signed, or with another key; an entry says since when."""
    with store.writing() as connection:
        if not audit_key_of(connection):
            fix = "Set TUMORLENS_AUDIT_KEY: `openssl rand -hex 32` makes one."
            raise StoreError("audit key", "is not set", fix)
        head = lock_head(connection)
        event = Event(OPERATOR, SIGNING_STARTED, "audit trail", {"head": str(head)})
        append(connection, head, [event], at=now())
        return read_head(connection)


def record(store: Store, event: Event) -> None:
    """Add an event that goes with no row."""
    with store.writing() as connection:
        append(connection, lock_head(connection), [event], at=now())


def export_head(store: Store, file: Path) -> Head:
    """Add the end of the chain as a line to a file, which should lie on another machine."""
    head = get_head(store)
    with file.open("a", encoding="ascii") as opened:
        opened.write(f"{now()} {head} {head.signature}".rstrip() + "\n")
    return head


def entries(store: Store, *, after: int = 0) -> Iterator[Entry]:
    """Return the trail in order, one page in memory at a time."""
    while True:
        with store.reading() as connection:
            page = read_entries(connection, after=after)
        if not page:
            return
        yield from page
        after = page[-1].number


def read_entries(connection: Connection, *, after: int, limit: int = 1000) -> list[Entry]:
    """Return the next entries of the trail."""
    query = select(TrailRow.__table__).where(TrailRow.number > after).order_by(TrailRow.number)
    return [as_entry(row) for row in connection.execute(query.limit(limit))]


def as_entry(row: Any) -> Entry:
    """Return a row of the trail as a record."""
    try:
        details = json.loads(row.details)
    except (ValueError, TypeError, RecursionError):
        details = {}
    event = Event(row.actor, row.action, row.subject, details if isinstance(details, dict) else {})
    return Entry(row.number, row.created_at, event, row.details, row.previous, row.hash)


def entry_hash(entry: Entry) -> str:
    """Return the hash that an entry has to have."""
    event = entry.event
    return _chain_hash(
        (entry.number, entry.created_at, event.actor, event.action, event.subject, entry.details,
         entry.previous)
    )  # fmt: skip


def row_details(table: type[Table], row: Row, **details: object) -> dict[str, object]:
    """Return the details of an event that goes with a row: the hash of the row, and others."""
    return {ROW: row_hash(table, row), **details}


def row_hash(table: type[Table], row: Row) -> str:
    """Hash every column of a row; bytes go in by their own hash."""
    values = {key: row.get(key) for key in _column_keys(table)}
    return hashlib.sha256(_compact(values).encode()).hexdigest()


@cache
def _column_keys(table: type[Table]) -> tuple[str, ...]:
    return tuple(sorted(column.key for column in table.__table__.columns))


def _hash_of_bytes(value: Any) -> list[str]:
    data = value if isinstance(value, bytes) else repr(value).encode()
    return [type(value).__name__, hashlib.sha256(data).hexdigest()]


_compact = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_hash_of_bytes).encode


def _sign(head: Head, key: bytes) -> str:
    text = f"tumorlens audit head {head.number}:{head.hash}:{head.latest_at}"
    return hmac.new(key, text.encode(errors="replace"), "sha256").hexdigest()


def _head(row: Any) -> Head:
    return Head(row.number, row.hash, row.latest_at, row.signature)


def _row(number: int, at: str, event: Event, previous: str) -> Row:
    details = _compact(dict(event.details))
    hashed = (number, at, event.actor, event.action, event.subject, details, previous)
    names = ("number", "created_at", "actor", "action", "subject", "details", "previous", "hash")
    return dict(zip(names, (*hashed, _chain_hash(hashed)), strict=True))


def _chain_hash(hashed: tuple[object, ...]) -> str:
    return hashlib.sha256(_compact(hashed).encode()).hexdigest()
