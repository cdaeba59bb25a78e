"""The audit trail: append-only, each entry hashed with the one before it.

Whoever changes, removes or inserts an entry breaks every hash after it; the last hash, kept
outside, pins the whole history. Predictions are hashed into their entries, so that an altered
answer shows as well. The trail holds no scan, no name of a file and no address.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any

from sqlalchemy import Connection, insert, select, update

from tumorlens.services.store.database import PredictionRow, Store, TrailHead, TrailRow

START = "0" * 64  # what the first entry follows
PREDICTED, REVIEWED, EXPIRED = "predicted", "reviewed", "expired"


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
    event: Event
    previous: str
    hash: str


@dataclass(frozen=True)
class Verdict:
    """What a verification found; `problems` is empty where the chain holds."""

    entries: int
    head: str  # the last hash: keep it elsewhere to pin the history
    problems: tuple[str, ...]


def now() -> str:
    """Return the time as it is stored: ISO 8601, UTC, microseconds."""
    return days_ago(0)


def days_ago(days: float) -> str:
    """Return a time in the past, or with negative days to come, as it is stored."""
    at = datetime.now(UTC) - timedelta(days=days)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def append(connection: Connection, events: Iterable[Event], *, at: str) -> None:
    """Add events inside the caller's transaction, which waits for other writers of the chain."""
    head = select(TrailHead.number, TrailHead.hash).with_for_update()
    number, previous = connection.execute(head).one()
    rows = []
    for event in events:
        number += 1
        row = _row(number, at, event, previous)
        rows.append(row)
        previous = row["hash"]
    if rows:
        connection.execute(insert(TrailRow), rows)
        connection.execute(update(TrailHead).values(number=number, hash=previous))


def length(store: Store) -> int:
    """Count the entries."""
    with store.reading() as connection:
        return connection.scalars(select(TrailHead.number)).one()


def entries(store: Store, *, after: int = 0) -> Iterator[Entry]:
    """Return the trail in order, one page in memory at a time."""
    while True:
        query = select(TrailRow.__table__).where(TrailRow.number > after)
        with store.reading() as connection:
            page = connection.execute(query.order_by(TrailRow.number).limit(1000)).all()
        if not page:
            return
        for row in page:
            event = Event(row.actor, row.action, row.subject, json.loads(row.details))
            yield Entry(row.number, row.created_at, event, row.previous, row.hash)
        after = page[-1].number


def verify(store: Store) -> Verdict:
    """Recompute every hash, and compare stored predictions with what was hashed of them."""
    with store.reading() as connection:
        # Read first: entries that are added meanwhile come after it.
        number, head = connection.execute(select(TrailHead.number, TrailHead.hash)).one()
    problems: list[str] = []
    missing: list[Entry] = []  # predictions that are gone, by retention or otherwise
    count, previous, expired = 0, START, ""
    known = takewhile(lambda entry: entry.number <= number, entries(store))
    while page := list(islice(known, 500)):
        for entry in page:
            count += 1
            problems += _check_link(entry, count, previous)
            previous = entry.hash
            if entry.event.action == EXPIRED:
                expired = max(expired, str(entry.event.details.get("before", "")))
        altered, gone = _check_answers(store, page)
        problems += altered
        missing += gone
    problems += [
        f"prediction {entry.event.subject} is gone, and retention did not remove it"
        for entry in missing
        if entry.created_at >= expired
    ]
    if (count, previous) != (number, head):
        problems.append(f"the chain should end with entry {number}, and ends with {count}")
    return Verdict(count, head, tuple(problems))


def _check_link(entry: Entry, place: int, previous: str) -> list[str]:
    if entry.number != place:
        return [f"an entry before number {entry.number} is missing"]
    if entry.previous != previous:
        return [f"entry {place} does not follow the one before it"]
    expected = _row(entry.number, entry.created_at, entry.event, entry.previous)["hash"]
    return [] if entry.hash == expected else [f"entry {place} was altered"]


def _check_answers(store: Store, page: Sequence[Entry]) -> tuple[list[str], list[Entry]]:
    """Return what was altered, and the entries whose prediction is gone."""
    made = [entry for entry in page if entry.event.action == PREDICTED]
    ids = [entry.event.subject for entry in made]
    query = select(PredictionRow.id, PredictionRow.document).where(PredictionRow.id.in_(ids))
    with store.reading() as connection:
        stored = {row.id: document_hash(row.document) for row in connection.execute(query)}
    altered = [
        f"prediction {entry.event.subject} was altered"
        for entry in made
        if stored.get(entry.event.subject) not in (None, entry.event.details["document_sha256"])
    ]
    return altered, [entry for entry in made if entry.event.subject not in stored]


def document_hash(document: str) -> str:
    """Hash a stored document."""
    return hashlib.sha256(document.encode()).hexdigest()


def _row(number: int, at: str, event: Event, previous: str) -> dict[str, Any]:
    details = json.dumps(dict(event.details), sort_keys=True, separators=(",", ":"))
    hashed = (number, at, event.actor, event.action, event.subject, details, previous)
    digest = hashlib.sha256(json.dumps(hashed, separators=(",", ":")).encode()).hexdigest()
    names = ("number", "created_at", "actor", "action", "subject", "details", "previous", "hash")
    return dict(zip(names, (*hashed, digest), strict=True))
