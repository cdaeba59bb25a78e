"""Who asks, and how often they may: API keys, and a limit of requests for each."""

import hashlib
import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from tumorlens.services.http.problems import Refusal
from tumorlens.services.store.database import Store
from tumorlens.services.store.keys import SCOPES, find_key

REMEMBER_SECONDS = 5.0  # that a key is not looked up again: a revoked one lives so long
MAX_REMEMBERED = 4096
MAX_SECRET_BYTES = 200  # a key of ours is far shorter
# What proxies add. Behind one, every visitor would seem to come from this machine.
FORWARDING = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto",
              "x-real-ip")  # fmt: skip
LOCAL = "local"  # who asks where no key is needed


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    id: str
    scopes: frozenset[str]

    @property
    def sees(self) -> str | None:
        """The owner whose predictions may be seen: oneself, or None for all."""
        return None if self.scopes & {"read", "admin"} else self.id

    def may(self, scope: str) -> bool:
        """Return whether a scope is open to them."""
        return bool(self.scopes & {scope, "admin"})


class Authenticator:
    """Turns keys into callers, and limits their requests; for several threads."""

    def __init__(self, store: Store, requests_per_minute: int, *, needs_keys: bool) -> None:
        self.needs_keys = needs_keys
        self._store = store
        # By the digest: what is sent as a key can be long, and is nobody's to keep.
        self._known: OrderedDict[bytes, tuple[Caller | None, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._limit = RateLimitItemPerMinute(requests_per_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def remembered(self, secret: str) -> tuple[bool, Caller | None]:
        """Return whether a key was looked up lately, and whose it is; never waits."""
        if not self.needs_keys:
            return True, Caller(LOCAL, frozenset(SCOPES))
        if len(secret) > MAX_SECRET_BYTES:
            return True, None
        with self._lock:
            caller, until = self._known.get(_digest(secret), (None, 0.0))
            return time.monotonic() < until, caller

    def look_up(self, secret: str) -> Caller | None:
        """Ask the store for a key, and remember the answer for a while."""
        key = find_key(self._store, secret)
        caller = None if key is None else Caller(key.id, key.scopes)
        with self._lock:
            self._known[_digest(secret)] = (caller, time.monotonic() + REMEMBER_SECONDS)
            if len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return caller

    def count(self, caller_id: str) -> None:
        """Count one request; raises Refusal beyond the limit of the last minute."""
        if self._limiter.hit(self._limit, caller_id):
            return
        reset_at = self._limiter.get_window_stats(self._limit, caller_id).reset_time
        fact = f"{self._limit.amount} requests a minute are allowed."
        wait = max(1, math.ceil(reset_at - time.time()))
        raise Refusal("too-many-requests", fact, retry_after=wait)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def secret_of(headers: Mapping[bytes, bytes]) -> str:
    """Return the key of a request, from `Authorization: Bearer` or `X-API-Key`."""
    given = headers.get(b"authorization", b"").decode("latin-1")
    scheme, _, secret = given.partition(" ")
    if scheme.lower() == "bearer":
        return secret.strip()
    return headers.get(b"x-api-key", b"").decode("latin-1").strip()


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_local(headers: Mapping[bytes, bytes], *, http_version: str = "1.1") -> None:
    """Refuse what does not come from this machine, or from a web page; where no key is needed.

    Raises Refusal for a Host that is not this machine (DNS rebinding), for an Origin that is not
    the service itself, and for what a proxy has passed on: it says so in a header, or speaks
    HTTP/1.0, as nginx does without being told otherwise.
    """
    forwarding = next((name for name in FORWARDING if name.encode() in headers), None)
    if forwarding or http_version == "1.0":
        sign = f"header {forwarding}" if forwarding else "HTTP/1.0"
        raise Refusal("forwarded", f"A proxy has passed it on ({sign}). Start with --keys.")
    host = headers.get(b"host", b"").decode("latin-1")
    if not is_loopback(_without_port(host)):
        raise Refusal("wrong-host", "Without keys the service answers to localhost alone.")
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") not in (f"http://{host}", f"https://{host}"):
        raise Refusal("wrong-origin", "Use keys to call the service from web pages.")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] if ":" in host else host
