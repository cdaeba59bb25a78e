"""The cookie that keeps histories apart, and the headers beside it."""

import asyncio

import pytest

from tumorlens.services.dashboard.server import MAX_TABS, CookieMiddleware
from tumorlens.services.dashboard.session import COOKIE, is_token, owner_name

TOKEN = "a" * 43


async def bare(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def answer(cookie: str = "", scheme: str = "http") -> dict[str, str]:
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"cookie", cookie.encode("latin-1"))] if cookie else []
    scope = {"type": "http", "headers": headers, "scheme": scheme}
    asyncio.run(CookieMiddleware(bare)(scope, None, send))
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def test_a_new_browser_gets_a_cookie_that_scripts_and_other_sites_cannot_use():
    cookie = answer()["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert is_token(cookie.split("=", 1)[1].split(";")[0])
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_two_browsers_get_two_cookies():
    assert answer()["set-cookie"] != answer()["set-cookie"]


def test_a_known_browser_keeps_its_cookie():
    assert "set-cookie" not in answer(f"other=1; {COOKIE}={TOKEN}")


@pytest.mark.parametrize("cookie", [f"{COOKIE}=short", f"{COOKIE}={'x' * 500}", "\xff;;=", "a=b"])
def test_a_cookie_of_another_shape_is_replaced(cookie):
    assert "set-cookie" in answer(cookie)


def test_the_cookie_stays_on_encrypted_lines_where_there_are_any():
    assert "Secure" in answer(scheme="https")["set-cookie"]
    assert "Secure" not in answer()["set-cookie"]


def test_every_answer_has_careful_headers():
    found = answer()
    assert found["x-content-type-options"] == "nosniff"
    assert found["x-frame-options"] == "SAMEORIGIN"


def test_the_name_of_an_owner_does_not_hold_the_cookie():
    assert TOKEN not in owner_name(TOKEN)
    assert owner_name(TOKEN) == owner_name(TOKEN) != owner_name(TOKEN + "b")


def test_a_flood_of_tabs_is_turned_away_and_others_pass_again_afterwards():
    sent = []

    async def send(message):
        sent.append(message["type"])

    async def flood():
        close = asyncio.Event()

        async def tab(_scope, _receive, send):
            await send({"type": "websocket.accept"})
            await close.wait()

        guarded = CookieMiddleware(tab)
        tabs = [
            asyncio.ensure_future(guarded({"type": "websocket"}, None, send))
            for _ in range(MAX_TABS + 3)
        ]
        await asyncio.sleep(0)
        close.set()
        await asyncio.gather(*tabs)
        await guarded({"type": "websocket"}, None, send)

    asyncio.run(flood())
    assert sent.count("websocket.close") == 3
    assert sent.count("websocket.accept") == MAX_TABS + 1


def test_what_is_not_http_passes_untouched():
    seen = []

    async def inner(scope, _receive, _send):
        seen.append(scope["type"])

    asyncio.run(CookieMiddleware(inner)({"type": "websocket"}, None, None))
    assert seen == ["websocket"]
