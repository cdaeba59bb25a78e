"""The ASGI application that Streamlit, or any ASGI server, runs.

It gives every browser a cookie of its own, so that people find their history again after a
reload and nobody else's, and it loads the network before the first page is asked for. What
Streamlit leaves uncompressed is sent compressed: its own files, which make up the first load.
"""

import asyncio
import gzip
import secrets
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from http.cookies import CookieError, SimpleCookie
from typing import Any

import streamlit as st
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware

from tumorlens.services.dashboard import layout
from tumorlens.services.dashboard.session import COOKIE, expire, is_token, load_shared
from tumorlens.services.dashboard.viewer import ROUTES

EXPIRE_S = 600.0
COOKIE_DAYS = 30
MAX_TABS = 200  # open at once: each holds a connection and a session in memory
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
)
Scope = MutableMapping[str, Any]  # of ASGI
# Uploads above 1 MB would pass through a temporary file; the cap on uploads is below this.
MultiPartParser.spool_max_size = 80 * 2**20
COMPRESSED = (".js", ".css", ".svg", ".html", ".json", ".wasm")  # woff2 is compressed already
STATIC = "/static/"


class CookieMiddleware:
    """Adds a cookie for a new browser, and careful headers, to HTTP answers; counts open tabs.

    Scripts cannot read the cookie, and other sites cannot send it.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._tabs = 0

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass everything on, and add to the head of HTTP answers."""
        if scope["type"] == "websocket":
            await self._pass_tab(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        known = is_token(_sent_cookie(scope))

        async def send_with_headers(message: Scope) -> None:
            if message["type"] == "http.response.start":
                added = list(HEADERS) if known else [*HEADERS, (b"set-cookie", _new_cookie(scope))]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    async def _pass_tab(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass the connection of a tab on, unless there are as many as there may be."""
        if self._tabs >= MAX_TABS:
            await send({"type": "websocket.close", "code": 1013})  # try again later
            return
        self._tabs += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._tabs -= 1


def _sent_cookie(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"cookie":
            try:
                jar = SimpleCookie(value.decode("latin-1"))
            except CookieError:
                continue
            if COOKIE in jar:
                return jar[COOKIE].value
    return ""


def _new_cookie(scope: Scope) -> bytes:
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    return (
        f"{COOKIE}={secrets.token_urlsafe(32)}; Path=/; Max-Age={COOKIE_DAYS * 86_400}; "
        f"HttpOnly; SameSite=Strict{secure}"
    ).encode()


class StaticMiddleware:
    """Sends Streamlit's own files compressed, each compressed once and held: some 5 MB in all."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._held: dict[str, tuple[list[tuple[bytes, bytes]], bytes]] = {}

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer for a file of Streamlit where the browser unpacks; pass all else on."""
        path = scope.get("path", "")
        if not (
            scope["type"] == "http"
            and scope["method"] == "GET"
            and STATIC in path
            and path.endswith(COMPRESSED)
            and any(k == b"accept-encoding" and b"gzip" in v for k, v in scope["headers"])
        ):
            await self._app(scope, receive, send)
            return
        if path not in self._held:
            status, headers, body = await self._fetched(scope, receive)
            if status != 200:
                await self._app(scope, receive, send)
                return
            packed = await asyncio.to_thread(gzip.compress, body, 9)
            lost = (b"content-length", b"etag", b"accept-ranges")  # of the bytes that are not sent
            kept = [(name, value) for name, value in headers if name not in lost]
            kept += [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding"),
                     (b"content-length", str(len(packed)).encode())]  # fmt: skip
            self._held[path] = kept, packed
        headers, packed = self._held[path]
        await send({"type": "http.response.start", "status": 200, "headers": [*headers]})
        await send({"type": "http.response.body", "body": packed})

    async def _fetched(self, scope: Scope, receive: Any) -> tuple[int, list[Any], bytes]:
        """Return what the application answers, whole and as it is."""
        asked = (b"accept-encoding", b"range", b"if-none-match", b"if-modified-since")
        plain = {**scope, "headers": [row for row in scope["headers"] if row[0] not in asked]}
        start: Scope = {}
        body = bytearray()

        async def keep(message: Scope) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            body.extend(message.get("body", b""))

        await self._app(plain, receive, keep)
        return start["status"], start["headers"], bytes(body)


@asynccontextmanager
async def _warmed(_app: object) -> AsyncIterator[None]:
    """Load what all sessions share."""
    await asyncio.to_thread(load_shared)
    forgetting = asyncio.create_task(_forget())
    yield
    forgetting.cancel()


async def _forget() -> None:
    """Remove answers and worklists that are too old, at once and again and again."""
    while True:
        await asyncio.to_thread(expire, load_shared())
        await asyncio.sleep(EXPIRE_S)


app = st.App(
    layout.__file__,
    routes=ROUTES,
    middleware=[Middleware(CookieMiddleware), Middleware(StaticMiddleware)],
    lifespan=_warmed,
)
