"""The door: what stands in front of the application, and sees a request before any parser.

It gives each request an id, turns away who has no key, and takes in the body under a cap on its
bytes, its chunks and its time. Only then does the application run.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tumorlens.services.http.authenticator import Caller, Gate, check_local, secret_of
from tumorlens.services.http.log import log
from tumorlens.services.http.metrics import Metrics
from tumorlens.services.http.problems import Refusal, as_refusal, problem_response

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
MOST_HEADERS = 64
MOST_HEADER_BYTES = 16 * 1024
MOST_ADDRESS_BYTES = 4096
LEAST_CHUNK_BYTES = 64  # on average, after the first thousand chunks
LONGEST_NUMBER = 15  # digits of a length
BODIES_AT_ONCE = 2  # of the largest size, in memory together
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
class _Passage:
    """One request on its way through."""

    request_id: str
    started: float = field(default_factory=time.monotonic)
    status: int = 0
    received: int = 0
    caller: str = ""
    closes: bool = False  # the body was not taken in: the rest of it must not be read


class Door:
    """Wraps an application; `gate` is asked for with each request, once the service runs."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        gate: Callable[[], Gate],
        metrics: Metrics,
        most_bytes: int,
        seconds: float,
    ) -> None:
        self._app, self._gate, self._metrics = app, gate, metrics
        self._most_bytes, self._seconds = most_bytes, seconds
        self._held = 0  # bytes of bodies in memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        passage = _Passage(_request_id(headers))
        scope["state"]["request_id"] = passage.request_id

        async def reply(message: Message) -> None:
            if message["type"] == "http.response.start":
                passage.status = message["status"]
                message["headers"] = [*message["headers"], *_extra_headers(message, passage)]
            await send(message)

        try:
            await self._pass(scope, receive, reply, headers=headers, passage=passage)
        except Exception as error:
            if passage.status:
                raise  # half an answer is out: the server closes the connection
            passage.closes = not passage.received
            await problem_response(as_refusal(error), passage.request_id)(scope, receive, reply)
        finally:
            self._note(scope, passage)

    async def _pass(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        headers: Mapping[bytes, bytes],
        passage: _Passage,
    ) -> None:
        length = _announced(headers, self._most_bytes)
        _check_sizes(scope, headers)
        caller = await self._admit(scope, headers)
        scope["state"]["caller"] = caller
        passage.caller = caller.id
        if scope["method"] in ("GET", "HEAD", "OPTIONS") and not length:
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            await self._take_in(receive, body, length=length)
            passage.received = len(body)
            scope["state"]["body"] = body
            await self._app(scope, _replay(body, receive), send)
        finally:
            self._held -= len(body)

    async def _admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        """Say who asks; raises Refusal for who may not."""
        if scope["path"] in OPEN_PATHS:
            return Caller("", frozenset())
        gate = self._gate()
        if not gate.needs_keys:
            check_local(headers)
        secret = secret_of(headers)
        is_known, caller = gate.remembered(secret)
        if not is_known:
            caller = await asyncio.to_thread(gate.look_up, secret)
        if caller is None:
            raise Refusal("no-key", "Send it as Authorization: Bearer KEY, or X-API-Key: KEY.")
        gate.count(caller.id)
        return caller

    async def _take_in(self, receive: Receive, body: bytearray, *, length: int | None) -> None:
        """Fill `body` with the whole body of a request."""
        chunks = 0
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal("bad-request", "The connection was closed.")
                    chunk = message.get("body", b"")
                    chunks += 1
                    self._check_chunk(len(chunk), len(body), chunks)
                    body += chunk
                    self._held += len(chunk)
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            fact = f"It has {self._seconds:.0f} seconds."
            raise Refusal("too-slow", fact) from None
        if length is not None and len(body) != length:
            raise Refusal("length-conflict", "Send as much as Content-Length says.")

    def _check_chunk(self, size: int, so_far: int, chunks: int) -> None:
        if so_far + size > self._most_bytes:
            raise Refusal("too-large", f"{self._most_bytes:,} bytes are taken at once.")
        if chunks > 1000 and (so_far + size) / chunks < LEAST_CHUNK_BYTES:
            raise Refusal("too-slow", "The chunks are too small.")
        if self._held + size > BODIES_AT_ONCE * self._most_bytes:
            raise Refusal("queue-full", "Other uploads fill the memory.", retry_after=2)

    def _note(self, scope: Scope, passage: _Passage) -> None:
        """Log and count the route as the program writes it, never the address asked for."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        seconds = time.monotonic() - passage.started
        self._metrics.requested(route=route, method=method, status=passage.status, seconds=seconds)
        log(
            "request",
            request_id=passage.request_id,
            method=method,
            route=route,
            status=passage.status,
            bytes=passage.received,
            milliseconds=round(1000 * seconds, 1),
            key=passage.caller,
        )


def _replay(body: bytearray, receive: Receive) -> Receive:
    """Give the body as one message, then whatever the connection says."""
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return again


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex


def _announced(headers: Mapping[bytes, bytes], most: int) -> int | None:
    """Give the Content-Length, None without one; a length above the cap is refused unread."""
    text = headers.get(b"content-length")
    if text is None:
        return None if b"transfer-encoding" in headers else 0
    if not text.isdigit():
        raise Refusal("bad-request", "Content-Length is not a number.")
    if len(text) > LONGEST_NUMBER or int(text) > most:
        raise Refusal("too-large", f"{most:,} bytes are taken at once.")
    return int(text)


def _check_sizes(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    size = sum(len(name) + len(value) for name, value in scope["headers"])
    if len(scope["headers"]) > MOST_HEADERS or size > MOST_HEADER_BYTES:
        raise Refusal("large-headers", f"{MOST_HEADERS} headers of {MOST_HEADER_BYTES} bytes.")
    if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > MOST_ADDRESS_BYTES:
        raise Refusal("long-address", f"{MOST_ADDRESS_BYTES} bytes are taken.")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refusal("wrong-media-type", "Send the body without a content encoding.")


def _extra_headers(message: MutableMapping[str, Any], passage: _Passage) -> list[Any]:
    given = {name for name, _ in message["headers"]}
    extra = [row for row in SECURITY_HEADERS if row[0] not in given]
    if passage.closes or passage.status >= 500:
        extra.append((b"connection", b"close"))
    return [(b"x-request-id", passage.request_id.encode()), *extra]
