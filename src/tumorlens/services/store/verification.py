"""Whether the store is still what was written: each row against the trail, and the trail itself.

Rows are compared both ways: every entry has its row, unless retention removed it, and every row has
its entry. All of it is read in one moment of the database, while services go on writing.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, exists, func, select

from tumorlens.errors import StoreError, TumorlensError
from tumorlens.predictions.document import from_json
from tumorlens.progress import Progress, silent
from tumorlens.services.store.audit_log import (
    EXPIRED,
    HEAD_NOT_SIGNED,
    JOB_CANCELED,
    JOB_SUBMITTED,
    KEY_CREATED,
    KEY_REVOKED,
    PREDICTED,
    REVIEWED,
    ROW,
    SERIES_ANSWERED,
    SIGNING_STARTED,
    START,
    Entry,
    Head,
    as_entry,
    entry_hash,
    now,
    read_entries,
    read_head,
    row_hash,
)
from tumorlens.services.store.database import (
    JobRow,
    JobScanRow,
    KeyRow,
    PredictionRow,
    ReviewRow,
    Row,
    SeriesRow,
    Store,
    TrailRow,
    audit_key_of,
    columns_of,
)

CLOCK_SECONDS = 1.0  # by which clocks of several machines may differ
PAGE = 500
_HEAD = re.compile(r"\b(\d{1,15}):([0-9a-f]{64})\b")


@dataclass(frozen=True)
class Verdict:
    """What a verification found; `problems` is empty where everything holds."""

    entries: int
    head: Head
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()  # what a person should know, and what proves no change


@dataclass(frozen=True)
class _Kind:
    """The rows of one table, each with the entry it came with."""

    name: str
    table: type[Any]
    action: str
    amended: str  # the action after which a row is another; "": none
    is_unchanged: Callable[[Row, Entry, Entry | None], bool]  # by the rule before rows were hashed


@dataclass
class _Findings:
    """What is known so far of one moment of a store."""

    connection: Connection
    key: bytes
    expired: str  # before this time retention removed answers and batches
    amendments: Mapping[tuple[str, str], Entry]  # the last, by action and subject
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(
    store: Store, *, expected: Iterable[tuple[int, str]] = (), progress: Progress = silent
) -> Verdict:
    """Recompute every hash of the trail, and compare every row with it, both ways.

    `expected` are number and hash of entries that were kept elsewhere: see `read_heads`. With the
    audit key the signature of the head is checked too.
    """
    with store.reading(snapshot=True) as connection:
        return verify_connection(connection, expected=expected, progress=progress)


def verify_connection(
    connection: Connection,
    *,
    expected: Iterable[tuple[int, str]] = (),
    progress: Progress = silent,
) -> Verdict:
    """Verify what a connection sees, as `verify` does."""
    head, key = read_head(connection), audit_key_of(connection)
    found = _Findings(connection, key, _expired_before(connection), _amendments(connection))
    pins, count, previous = dict(expected), 0, None
    while page := read_entries(connection, after=previous.number if previous else -1, limit=PAGE):
        for entry in page:
            count += 1
            found.problems += _check_link(entry, previous, place=count)
            found.notes += _check_time(entry, previous)
            if pins.pop(entry.number, entry.hash) != entry.hash:
                fact = "is not the one that was kept elsewhere"
                found.problems.append(f"entry {entry.number} {fact}")
            previous = entry
        for kind in _KINDS:
            _check_rows(found, kind, page)
        _check_waiting(found, page)
        progress(count, max(count, head.number))
    found.problems += [f"entry {n}, kept elsewhere, is not there" for n in sorted(pins) if n]
    for kind in _KINDS:
        _check_origin(found, kind)
    _check_head(found, head, count, previous)
    _check_signing(found, head)
    return Verdict(count, head, tuple(found.problems), tuple(found.notes))


def read_heads(text: str) -> list[tuple[int, str]]:
    """Return number and hash of every NUMBER:HASH in a text, such as an exported file of heads."""
    return [(int(number), hash) for number, hash in _HEAD.findall(text)]


def read_heads_file(file: Path) -> list[tuple[int, str]]:
    """Return what a file of exported heads holds; raises StoreError where it holds none."""
    try:
        found = read_heads(file.read_text(encoding="utf-8", errors="replace"))
    except OSError as e:
        raise StoreError(file, f"cannot be read ({e.strerror})", "Check the path.") from e
    if not found:
        raise StoreError(file, "holds no NUMBER:HASH", "See `tumorlens audit-trail head`.")
    return found


def _expired_before(connection: Connection) -> str:
    rows = connection.execute(select(TrailRow.__table__).where(TrailRow.action == EXPIRED)).all()
    return max((str(as_entry(row).event.details.get("before", "")) for row in rows), default="")


def _amendments(connection: Connection) -> dict[tuple[str, str], Entry]:
    actions = [kind.amended for kind in _KINDS if kind.amended]
    query = select(TrailRow.__table__).where(TrailRow.action.in_(actions))
    rows = connection.execute(query.order_by(TrailRow.number)).all()
    return {(row.action, row.subject): as_entry(row) for row in rows}


def _check_link(entry: Entry, previous: Entry | None, *, place: int) -> list[str]:
    before = previous.number if previous else 0
    if entry.number != before + 1:
        return [f"an entry before number {entry.number} is missing"]
    if entry.previous != (previous.hash if previous else START):
        return [f"entry {place} does not follow the one before it"]
    return [] if entry.hash == entry_hash(entry) else [f"entry {place} was altered"]


def _check_time(entry: Entry, previous: Entry | None) -> list[str]:
    seconds = _seconds(entry.created_at, previous.created_at) if previous else 0.0
    if seconds <= CLOCK_SECONDS:
        return []
    return [f"entry {entry.number} is {seconds:,.0f} s earlier than the one before it"]


def _seconds(earlier: str, later: str) -> float:
    try:
        return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
    except (ValueError, TypeError):
        return 0.0  # such an entry was altered


def _check_rows(found: _Findings, kind: _Kind, page: Sequence[Entry]) -> None:
    """Compare the rows that the entries of a page tell of."""
    entries = [entry for entry in page if entry.event.action == kind.action]
    stored = _rows_by_id(found.connection, kind.table, [e.event.subject for e in entries])
    gone = []
    for entry in entries:
        row = stored.get(entry.event.subject)
        if row is None:
            gone.append(entry)
            continue
        amendment = found.amendments.get((kind.amended, entry.event.subject))
        expected = (amendment or entry).event.details.get(ROW)
        is_same = (
            row_hash(kind.table, row) == expected
            if expected
            else kind.is_unchanged(row, entry, amendment)
        )
        if not is_same:
            found.problems.append(f"{kind.name} {entry.event.subject} was altered")
    _check_gone(found, kind, gone)


def _check_gone(found: _Findings, kind: _Kind, entries: Sequence[Entry]) -> None:
    """Report rows that are gone, unless retention took them."""
    reviewed = [str(entry.event.details.get("prediction_id")) for entry in entries]
    kept = _rows_by_id(found.connection, PredictionRow, reviewed) if kind is _REVIEW else {}
    for entry in entries:
        details = entry.event.details
        if kind is _REVIEW:  # it goes with its answer, which is looked at on its own
            is_lawful = details.get("prediction_id") not in kept
        elif kind is _JOB and ROW not in details:  # of before its end was an entry
            is_lawful = True
        else:
            is_lawful = kind is not _KEY and entry.created_at < found.expired
        if not is_lawful:
            fact = "is gone" if kind is _KEY else "is gone, and retention did not remove it"
            found.problems.append(f"{kind.name} {entry.event.subject} {fact}")


def _check_waiting(found: _Findings, page: Sequence[Entry]) -> None:
    """Compare the scans of batches that wait, and look for some that left without an answer."""
    for entry in page:
        scans, job = entry.event.details.get("scans"), entry.event.subject
        if entry.event.action != JOB_SUBMITTED or not isinstance(scans, dict):
            continue
        if not _rows_by_id(found.connection, JobRow, [job]):
            continue
        rows = _rows(found.connection, JobScanRow, JobScanRow.job == job)
        waiting = {str(row["position"]): row_hash(JobScanRow, row) for row in rows}
        query = select(PredictionRow.position).where(PredictionRow.job == job)
        left = set(scans) - set(waiting) - set(map(str, found.connection.scalars(query)))
        if left and (JOB_CANCELED, job) not in found.amendments:
            found.problems.append(f"batch {job} lost {len(left)} scans without an answer")
        if any(scans.get(position) != hash for position, hash in waiting.items()):
            found.problems.append(f"a waiting scan of batch {job} was altered or added")


def _check_origin(found: _Findings, kind: _Kind) -> None:
    """Report rows that no entry tells of."""
    known = exists().where(TrailRow.subject == kind.table.id, TrailRow.action == kind.action)
    for id in found.connection.scalars(select(kind.table.id).where(~known).limit(PAGE)):
        found.problems.append(f"{kind.name} {id} has no entry: it was added to the database")


def _check_head(found: _Findings, head: Head, count: int, last: Entry | None) -> None:
    if (head.number, head.hash) != (count, last.hash if last else START):
        found.problems.append(
            f"the chain should end with entry {head.number}, and ends with {count}"
        )
    latest = found.connection.scalar(select(func.max(TrailRow.created_at))) or ""
    if latest != head.latest_at:
        found.problems.append("the latest time of the trail was altered")
    if (ahead := _seconds(now(), head.latest_at)) > CLOCK_SECONDS:
        found.notes.append(f"the trail is {ahead:,.0f} s ahead of the clock of this machine")


def _check_signing(found: _Findings, head: Head) -> None:
    """Check the signature, and that no chain was signed that somebody else may have made."""
    actions = (SIGNING_STARTED, HEAD_NOT_SIGNED)
    query = select(TrailRow.__table__).where(TrailRow.action.in_(actions)).order_by(TrailRow.number)
    events = [as_entry(row) for row in found.connection.execute(query)]
    starts = [entry for entry in events if entry.event.action == SIGNING_STARTED]
    for entry in starts:
        found.notes.append(
            f"signed since entry {entry.number} ({entry.created_at}, by {entry.event.actor})"
        )
    acknowledged = starts[-1].number if starts else 0
    found.problems += [
        f"the head before entry {entry.number} was not signed: what is before may be made up"
        for entry in events
        if entry.event.action == HEAD_NOT_SIGNED and entry.number > acknowledged
    ]
    if found.key and head.number and not head.is_signed_with(found.key):
        found.problems.append("the head is not signed with this key")
    elif not found.key:
        fact = "its signature was not checked: no key" if head.signature else "it is not signed"
        found.notes.append(f"the head: {fact} (TUMORLENS_AUDIT_KEY)")


def _rows_by_id(connection: Connection, table: type[Any], ids: Sequence[str]) -> dict[str, Row]:
    if not ids:
        return {}
    return {row["id"]: row for row in _rows(connection, table, table.id.in_(ids))}


def _rows(connection: Connection, table: type[Any], condition: Any) -> list[Row]:
    found = connection.execute(select(table.__table__).where(condition))
    return [columns_of(table, row) for row in found]


# --- rows from before they were hashed whole: what the entry says of them -----------------------


def _same_prediction(row: Row, entry: Entry, _: Entry | None) -> bool:
    details, recorded = entry.event.details, ("input_sha256", "bundle_sha256", "source")
    document = str(row["document"])
    if details.get("document_sha256") != hashlib.sha256(document.encode()).hexdigest():
        return False
    try:
        answer = from_json(document)
    except TumorlensError:
        return False
    columns = (answer.bundle, answer.modality, answer.decision, answer.type)
    return (
        all(row[name] == details.get(name) for name in recorded)
        and (row["owner"], row["created_at"]) == (entry.event.actor, entry.created_at)
        and (row["bundle"], row["modality"], row["decision"], row["tumor_type"]) == columns
        and row["tumor_probability"] == answer.tumor_probability
    )


def _same_review(row: Row, entry: Entry, _: Entry | None) -> bool:
    recorded = ("prediction_id", "verdict", "decision", "tumor_type")
    is_recorded = all(row[name] == entry.event.details.get(name) for name in recorded)
    return is_recorded and (row["reader"], row["created_at"]) == (
        entry.event.actor,
        entry.created_at,
    )


def _same_key(row: Row, entry: Entry, revoked: Entry | None) -> bool:
    recorded = ("name", "scopes", "expires_at")
    is_recorded = all(row[name] == entry.event.details.get(name) for name in recorded)
    is_ended = (row["revoked_at"] is not None) == (revoked is not None)
    return is_recorded and is_ended and row["created_at"] == entry.created_at


def _same_job(row: Row, entry: Entry, _: Entry | None) -> bool:
    recorded = (entry.event.actor, entry.created_at, entry.event.details.get("total"))
    return (row["owner"], row["created_at"], row["total"]) == recorded


_PREDICTION = _Kind("prediction", PredictionRow, PREDICTED, "", _same_prediction)
_REVIEW = _Kind("review", ReviewRow, REVIEWED, "", _same_review)
_KEY = _Kind("key", KeyRow, KEY_CREATED, KEY_REVOKED, _same_key)
_JOB = _Kind("batch", JobRow, JOB_SUBMITTED, JOB_CANCELED, _same_job)
_SERIES = _Kind("series", SeriesRow, SERIES_ANSWERED, "", lambda *_: False)  # hashed from the first
_KINDS = (_PREDICTION, _REVIEW, _KEY, _JOB, _SERIES)
