"""The ASGI application that Streamlit, or any ASGI server, runs.

It gives every browser a cookie of its own, so that people find their history again after a
reload and nobody else's, and it loads the network before the first page is asked for.
"""

import asyncio
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

HOUR = 3600.0  # seconds
COOKIE_DAYS = 30
MAX_TABS = 200  # open at once: each holds a connection and a session in memory
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
)
Scope = MutableMapping[str, Any]  # of ASGI
# Uploads above 1 MB would pass through a temporary file; the cap on uploads is below this.
MultiPartParser.spool_max_size = 32 * 2**20


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


@asynccontextmanager
async def _warmed(_app: object) -> AsyncIterator[None]:
    """Load what all sessions share."""
    await asyncio.to_thread(load_shared)
    forgetting = asyncio.create_task(_forget())
    yield
    forgetting.cancel()


async def _forget() -> None:
    """Remove answers that are too old, at once and every hour."""
    while True:
        await asyncio.to_thread(expire, load_shared())
        await asyncio.sleep(HOUR)


app = st.App(layout.__file__, middleware=[Middleware(CookieMiddleware)], lifespan=_warmed)
