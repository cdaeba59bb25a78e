"""API keys: 256 random bits each, of which only a hash is kept.

A plain SHA-256 is enough for secrets that nobody chose: there is no dictionary of them to try.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, true, update

from tumorlens.errors import ApiKeyError
from tumorlens.services.store.audit_log import (
    KEY_CREATED,
    KEY_REVOKED,
    OPERATOR,
    Event,
    append,
    days_ago,
    get_head,
    lock_head,
    now,
    row_details,
)
from tumorlens.services.store.database import KeyRow, Store, TrailHead, columns_of

SCOPES = {
    "predict": "send scans, and see one's own answers and the model",
    "read": "see and review every answer, the model and the metrics",
    "admin": "everything",
}
PREFIX = "tlk"


@dataclass(frozen=True)
class Key:
    """What may be known of a key."""

    id: str
    name: str
    scopes: frozenset[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None

    def is_valid(self, at: str) -> bool:
        """Return whether it opens anything at a time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


def create_key(
    store: Store,
    name: str,
    *,
    scopes: frozenset[str] = frozenset({"predict"}),
    days: int | None = None,
) -> tuple[Key, str]:
    """Return a new key with its secret text, which cannot be had again."""
    unknown = scopes - set(SCOPES)
    if unknown or not scopes:
        fact = f"has unknown scopes ({', '.join(sorted(unknown))})" if unknown else "has no scope"
        raise ApiKeyError(name or "key", fact, f"Choose from {', '.join(SCOPES)}.")
    id = secrets.token_hex(6)
    secret = f"{PREFIX}_{id}_{secrets.token_urlsafe(32)}"
    row = {
        "id": id,
        "name": name[:100],
        "sha256": _digest(secret),
        "scopes": " ".join(sorted(scopes)),
        "expires_at": None if days is None else days_ago(-days),
        "revoked_at": None,
    }
    with store.writing() as connection:
        head = lock_head(connection)
        row["created_at"] = at = now()
        connection.execute(insert(KeyRow), [row])
        details = {name: row[name] for name in ("name", "scopes", "expires_at")}
        details = row_details(KeyRow, row, **details)
        append(connection, head, [Event(OPERATOR, KEY_CREATED, id, details)], at=at)
    return _key(row), secret


def revoke_key(store: Store, id: str) -> None:
    """End a key; a service notices within seconds. Raises ApiKeyError for one that is not there."""
    with store.writing() as connection:
        head, at = lock_head(connection), now()
        query = update(KeyRow).where(KeyRow.id == id, KeyRow.revoked_at.is_(None))
        if not connection.execute(query.values(revoked_at=at)).rowcount:
            raise ApiKeyError(id, "is no key that is in use", "See `tumorlens keys list`.")
        row = connection.execute(select(KeyRow.__table__).where(KeyRow.id == id)).one()
        details = row_details(KeyRow, columns_of(KeyRow, row))
        append(connection, head, [Event(OPERATOR, KEY_REVOKED, id, details)], at=at)


def has_valid_key(store: Store) -> bool:
    """Return whether some key opens something."""
    at = key_time(store)
    return any(key.is_valid(at) for key in list_keys(store))


def list_keys(store: Store) -> list[Key]:
    """Return every key there was, oldest first."""
    with store.reading() as connection:
        rows = connection.execute(select(KeyRow.__table__).order_by(KeyRow.created_at)).mappings()
        return [_key(row) for row in rows]


def find_key(store: Store, secret: str) -> Key | None:
    """Return the valid key that a secret belongs to.

    It is late once the trail was written later: a clock that is set back revives no expired key.
    """
    parts = secret.split("_", 2)
    if len(parts) != 3 or parts[0] != PREFIX or len(secret) > 200:
        return None
    with store.reading() as connection:
        query = select(KeyRow.__table__, TrailHead.latest_at).where(KeyRow.id == parts[1])
        row = connection.execute(query.join(TrailHead, true())).mappings().one_or_none()
    if row is None or not hmac.compare_digest(row["sha256"].encode(), _digest(secret).encode()):
        return None
    key = _key(row)
    return key if key.is_valid(max(now(), row["latest_at"])) else None


def key_time(store: Store) -> str:
    """Return the time by which keys expire: now, or the latest that the trail has seen."""
    return max(now(), get_head(store).latest_at)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _key(row: Any) -> Key:
    scopes = frozenset(row["scopes"].split())
    times = (row["created_at"], row["expires_at"], row["revoked_at"])
    return Key(row["id"], row["name"], scopes, *times)
