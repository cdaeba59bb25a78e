"""What stands in front of the application, and sees a request before any parser.

It gives each request an id, turns away who has no key, and takes in the body under a cap on its
bytes, its chunks and its time. Only then does the application run.
"""

import asyncio
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tumorlens.services.http.authenticator import Authenticator, Caller, check_local, secret_of
from tumorlens.services.http.problems import Refusal, as_refusal, problem_response
from tumorlens.services.telemetry import Metrics, log

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 * 1024
MAX_ADDRESS_BYTES = 4096
MIN_CHUNK_BYTES = 64  # on average, after the first thousand chunks
MAX_LENGTH_DIGITS = 15
BODIES_AT_ONCE = 3  # of the largest size, in memory together
BODIES_OF_ONE = 2  # of them, from one key: one is left for the others
STALL_SECONDS = 5.0  # that a body may stand still
MIN_BYTES_PER_SECOND = 32 * 1024  # of a body, on average, once these are over
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
     b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
)  # fmt: skip
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


@dataclass
class _Exchange:
    """One request and its response, as far as they are known."""

    request_id: str
    started: float = field(default_factory=time.monotonic)
    status: int = 0
    received: int = 0
    caller: str = ""
    closes: bool = False  # the body was not taken in: the rest of it must not be read


class Middleware:
    """Wraps an application; `authenticator` is asked for with each request: it starts later."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Callable[[], Authenticator],
        metrics: Metrics,
        max_bytes: int,
        receive_seconds: float,
    ) -> None:
        self._app, self._authenticator, self._metrics = app, authenticator, metrics
        self._max_bytes, self._receive_seconds = max_bytes, receive_seconds
        self._held: Counter[str] = Counter()  # bytes of bodies in memory, by caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(_request_id(dict(scope["headers"])))
        scope["state"]["request_id"] = exchange.request_id

        async def reply(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message["headers"], *_extra_headers(message, exchange)]
            await send(message)

        try:
            await self._handle(scope, receive, reply, exchange=exchange)
        except Exception as error:
            if exchange.status:
                raise  # half an answer is out: the server closes the connection
            exchange.closes = not exchange.received
            await problem_response(as_refusal(error), exchange.request_id)(scope, receive, reply)
        finally:
            self._note(scope, exchange)

    async def _handle(
        self, scope: Scope, receive: Receive, send: Send, *, exchange: _Exchange
    ) -> None:
        headers = dict(scope["headers"])
        length = _announced(headers, self._max_bytes)
        _check_sizes(scope, headers)
        caller = await self._authenticate(scope, headers)
        scope["state"]["caller"] = caller
        exchange.caller = caller.id
        if scope["method"] in ("GET", "HEAD", "OPTIONS") and not length:
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            await self._receive_body(receive, body, length=length, caller=caller.id)
            exchange.received = len(body)
            scope["state"]["body"] = body
            await self._app(scope, _replay(body, receive), send)
        finally:
            self._held -= Counter({caller.id: exchange.received or len(body)})

    async def _authenticate(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        """Return who asks; raises Refusal for who may not."""
        if scope["path"] in OPEN_PATHS:
            return Caller("", frozenset())
        authenticator = self._authenticator()
        if not authenticator.needs_keys:
            check_local(headers, http_version=scope.get("http_version", "1.1"))
        secret = secret_of(headers)
        is_known, caller = authenticator.remembered(secret)
        if not is_known:
            caller = await asyncio.to_thread(authenticator.look_up, secret)
        if caller is None:
            raise Refusal("no-key", "Send it as Authorization: Bearer KEY, or X-API-Key: KEY.")
        authenticator.count(caller.id)
        return caller

    async def _receive_body(
        self, receive: Receive, body: bytearray, *, length: int | None, caller: str
    ) -> None:
        """Fill `body` with the whole body of a request, which has to keep coming."""
        chunks, clock = 0, asyncio.get_running_loop().time
        end, deadline = clock() + self._receive_seconds, clock() + STALL_SECONDS
        try:
            async with asyncio.timeout_at(min(end, deadline)) as limit:
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal("bad-request", "The connection was closed.")
                    chunk = message.get("body", b"")
                    chunks += 1
                    self._check_chunk(len(chunk), len(body), chunks, caller)
                    body += chunk
                    self._held[caller] += len(chunk)
                    if not message.get("more_body"):
                        break
                    # What comes buys time at the least rate, and never more than a stall ahead.
                    earned = deadline + len(chunk) / MIN_BYTES_PER_SECOND
                    deadline = min(earned, clock() + STALL_SECONDS)
                    limit.reschedule(min(end, deadline))
        except TimeoutError:
            fact = f"It has {self._receive_seconds:.0f} seconds, and has to keep coming."
            raise Refusal("too-slow", fact) from None
        if length is not None and len(body) != length:
            raise Refusal("length-conflict", "Send as much as Content-Length says.")

    def _check_chunk(self, size: int, so_far: int, chunks: int, caller: str) -> None:
        if so_far + size > self._max_bytes:
            raise Refusal("too-large", f"{self._max_bytes:,} bytes are taken at once.")
        if chunks > 1000 and (so_far + size) / chunks < MIN_CHUNK_BYTES:
            raise Refusal("too-slow", "The chunks are too small.")
        if self._held[caller] + size > BODIES_OF_ONE * self._max_bytes:
            raise Refusal(
                "queue-full", "Other uploads of this key are on their way.", retry_after=2
            )
        if self._held.total() + size > BODIES_AT_ONCE * self._max_bytes:
            raise Refusal("queue-full", "Other uploads fill the memory.", retry_after=2)

    def _note(self, scope: Scope, exchange: _Exchange) -> None:
        """Log and count the route as the program writes it, never the address asked for."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        seconds = time.monotonic() - exchange.started
        status = exchange.status
        self._metrics.count_request(route=route, method=method, status=status, seconds=seconds)
        log(
            "request", request_id=exchange.request_id, method=method, route=route,
            status=status, bytes=exchange.received, milliseconds=round(1000 * seconds, 1),
            key=exchange.caller,
        )  # fmt: skip


def _replay(body: bytearray, receive: Receive) -> Receive:
    """Return the body as one message, then whatever the connection says."""
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}  # not copied

    return again


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex


def _announced(headers: Mapping[bytes, bytes], max_bytes: int) -> int | None:
    """Return the Content-Length, None without one; a length above the cap is refused unread."""
    text = headers.get(b"content-length")
    if text is None:
        return None if b"transfer-encoding" in headers else 0
    if not text.isdigit():
        raise Refusal("bad-request", "Content-Length is not a number.")
    if len(text) > MAX_LENGTH_DIGITS or int(text) > max_bytes:
        raise Refusal("too-large", f"{max_bytes:,} bytes are taken at once.")
    return int(text)


def _check_sizes(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    if len(scope["headers"]) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        raise Refusal("large-headers", f"{MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes.")
    if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > MAX_ADDRESS_BYTES:
        raise Refusal("long-address", f"{MAX_ADDRESS_BYTES} bytes are taken.")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refusal("wrong-media-type", "Send the body without a content encoding.")


def _extra_headers(message: MutableMapping[str, Any], exchange: _Exchange) -> list[Any]:
    given = {name for name, _ in message["headers"]}
    extra = [row for row in SECURITY_HEADERS if row[0] not in given]
    if exchange.closes or exchange.status >= 500:
        extra.append((b"connection", b"close"))
    return [(b"x-request-id", exchange.request_id.encode()), *extra]
