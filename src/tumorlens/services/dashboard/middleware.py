"""What is added to every answer of the server: a cookie for a new browser, careful headers."""

import hashlib
import re
import secrets
from collections.abc import MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

COOKIE = "tumorlens_reader"
DAYS = 30
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,64}")


class Door:
    """ASGI middleware; scripts cannot read the cookie, and other sites cannot send it."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Pass everything on, and add to the head of HTTP answers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        known = is_token(_sent_cookie(scope))

        async def send_more(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                added = list(HEADERS) if known else [*HEADERS, (b"set-cookie", _new(scope))]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await self._app(scope, receive, send_more)


def is_token(text: str) -> bool:
    """Tell whether a cookie is one that was given out here, as far as its shape says."""
    return bool(_TOKEN.fullmatch(text))


def reader_name(token: str) -> str:
    """Name a reader in the store by his cookie, without the cookie being there to be stolen."""
    return "browser-" + hashlib.sha256(token.encode()).hexdigest()[:20]


def _sent_cookie(scope: MutableMapping[str, Any]) -> str:
    for name, value in scope["headers"]:
        if name == b"cookie":
            try:
                jar = SimpleCookie(value.decode("latin-1"))
            except CookieError:
                continue
            if COOKIE in jar:
                return jar[COOKIE].value
    return ""


def _new(scope: MutableMapping[str, Any]) -> bytes:
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    return (
        f"{COOKIE}={secrets.token_urlsafe(32)}; Path=/; Max-Age={DAYS * 86_400}; "
        f"HttpOnly; SameSite=Strict{secure}"
    ).encode()
