"""The middleware: who comes in, and what has to stay outside."""

import asyncio
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from support.serving import PROBLEM, SCAN, Locked, files, serving

from tumorlens.models.bundle import Bundle
from tumorlens.services.http import middleware
from tumorlens.services.http.authenticator import FORWARDING, Authenticator, Caller, check_local
from tumorlens.services.http.inference import Upload, read_form
from tumorlens.services.http.middleware import Middleware
from tumorlens.services.http.problems import Refusal
from tumorlens.services.store.keys import SCOPES, revoke_key
from tumorlens.services.telemetry import Metrics


def is_problem(response: Any, status: int, kind: str) -> bool:
    return (
        response.status_code == status
        and response.headers["content-type"] == PROBLEM
        and response.json()["type"] == f"/docs#{kind}"
        and response.json()["status"] == status
    )


def test_every_answer_has_an_id_and_security_headers(client: TestClient):
    for path in ("/healthz", "/nothing", "/docs"):
        headers = client.get(path).headers
        assert len(headers["x-request-id"]) == 32
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_a_request_may_bring_its_own_id(client: TestClient):
    assert (
        client.get("/healthz", headers={"X-Request-ID": "ward-7.1"}).headers["x-request-id"]
        == "ward-7.1"
    )
    forged = client.get("/healthz", headers={"X-Request-ID": "a b"}).headers["x-request-id"]
    assert len(forged) == 32


def test_a_body_above_the_cap_is_refused(client: TestClient):
    response = client.post("/v1/predict", files=files(bytes(33 * 2**20)))
    assert is_problem(response, 413, "too-large")


def test_an_announced_length_above_the_cap_is_refused_unread():
    sent, read = run_middleware({b"content-length": b"4294967296"}, [])
    assert sent["status"] == 413
    assert read == 0


def test_a_length_of_absurdly_many_digits_is_refused():
    sent, _ = run_middleware({b"content-length": b"9" * 5000}, [])
    assert sent["status"] == 413


def test_the_rest_of_a_refused_upload_is_not_read(locked: Locked):
    response = locked.client.post("/v1/predict", files=files(SCAN))
    assert is_problem(response, 401, "no-key")
    assert response.headers["connection"] == "close"


def test_endless_chunks_are_cut_at_the_cap():
    chunks = [{"type": "http.request", "body": bytes(1000), "more_body": True}] * 1000
    sent, read = run_middleware({b"transfer-encoding": b"chunked"}, chunks)
    assert sent["status"] == 413
    assert read == 11


def test_a_flood_of_tiny_chunks_is_cut():
    chunks = [{"type": "http.request", "body": b"x", "more_body": True}] * 5000
    sent, read = run_middleware({b"transfer-encoding": b"chunked"}, chunks)
    assert sent["status"] == 408
    assert read == 1001


def test_a_body_that_does_not_come_is_given_up():
    sent, _ = run_middleware({b"content-length": b"10"}, [], seconds=0.05)
    assert sent["status"] == 408


def test_a_body_of_another_length_is_refused():
    chunks = [{"type": "http.request", "body": b"short", "more_body": False}]
    sent, _ = run_middleware({b"content-length": b"10"}, chunks)
    assert sent["status"] == 400


def run_middleware(
    headers: dict[bytes, bytes],
    chunks: list[dict[str, Any]],
    *,
    seconds: float = 5,
    pause: float = 0,
) -> tuple[dict[str, Any], int]:
    """Send a request by hand; returns the start of the answer and how much was read."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the application is not reached")

    sent: list[dict[str, Any]] = []
    waiting = iter(chunks)
    read = 0

    async def receive() -> Any:
        nonlocal read
        found = next(waiting, None)
        if found is None:
            await asyncio.sleep(60)
        await asyncio.sleep(pause)
        read += 1
        return found

    async def send(message: Any) -> None:
        sent.append(message)

    gate = Middleware(
        app, authenticator=AnyKey, metrics=Metrics(), max_bytes=10_000, receive_seconds=seconds
    )
    asyncio.run(gate(request_scope(headers), receive, send))
    assert json.loads(sent[1]["body"])["status"] == sent[0]["status"]
    return sent[0], read


def test_a_body_that_stands_still_is_given_up_long_before_its_time(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(middleware, "STALL_SECONDS", 0.05)
    chunks = [{"type": "http.request", "body": bytes(100), "more_body": True}]
    sent, read = run_middleware({b"content-length": b"10000"}, chunks, seconds=600)
    assert (sent["status"], read) == (408, 1)


def test_a_body_that_comes_below_the_least_rate_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(middleware, "STALL_SECONDS", 0.2)
    drop = {"type": "http.request", "body": bytes(70), "more_body": True}
    slow = run_middleware({b"content-length": b"10000"}, [drop] * 140, seconds=600, pause=0.01)
    assert slow[0]["status"] == 408
    assert slow[1] < 140
    monkeypatch.setattr(middleware, "MIN_BYTES_PER_SECOND", 100)
    fast = run_middleware({b"content-length": b"9999"}, [drop] * 140, seconds=600, pause=0.01)
    assert fast[1] == 140


def test_one_key_cannot_fill_the_memory_for_uploads():
    whole = bytes(9000)

    async def attack() -> list[int]:
        never = asyncio.Event()
        gate = Middleware(
            answer_200, authenticator=AnyKey, metrics=Metrics(), max_bytes=10_000,
            receive_seconds=60,
        )  # fmt: skip
        stuck = [asyncio.create_task(send_body(gate, "ann", whole, then=never)) for _ in range(2)]
        await asyncio.sleep(0)
        statuses = [await send_body(gate, "ann", whole), await send_body(gate, "bob", whole)]
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        return [*statuses, await send_body(gate, "ann", whole)]

    assert asyncio.run(attack()) == [429, 200, 200]


class AnyKey(Authenticator):
    """Takes any key for its own owner."""

    def __init__(self) -> None:
        self.needs_keys = True

    def remembered(self, secret: str) -> tuple[bool, Caller | None]:
        return True, Caller(secret, frozenset({"predict"}))

    def count(self, caller_id: str) -> None:
        pass


async def answer_200(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def send_body(
    gate: Middleware, key: str, body: bytes, *, then: asyncio.Event | None = None
) -> int:
    """Send a body, whole or up to a standstill; returns the status of the answer."""
    status, sent = 0, False

    async def receive() -> Any:
        nonlocal sent
        if sent and then is not None:
            await then.wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": then is not None}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    scope = request_scope({b"x-api-key": key.encode(), b"transfer-encoding": b"chunked"})
    await gate(scope, receive, send)
    return status


def request_scope(headers: dict[bytes, bytes]) -> dict[str, Any]:
    return {
        "type": "http", "method": "POST", "path": "/v1/predict", "raw_path": b"/v1/predict",
        "query_string": b"", "headers": list(headers.items()), "state": {},
    }  # fmt: skip


def test_headers_and_addresses_have_a_limit(client: TestClient):
    many = {f"x-{number}": "1" for number in range(100)}
    assert is_problem(client.get("/v1/model", headers=many), 431, "large-headers")
    long = {"x-long": "a" * 20_000}
    assert is_problem(client.get("/v1/model", headers=long), 431, "large-headers")
    assert is_problem(client.get("/v1/model?" + "a" * 5000), 414, "long-address")


def test_a_compressed_body_is_refused(client: TestClient):
    response = client.post(
        "/v1/predict", content=b"x", headers={"Content-Encoding": "gzip", "Content-Type": "a/b"}
    )
    assert is_problem(response, 415, "wrong-media-type")


@pytest.mark.parametrize(
    ("content_type", "body", "kind"),
    [
        ("image/png", SCAN, "wrong-media-type"),
        ("application/json", b"{}", "wrong-media-type"),
        ("multipart/form-data", b"x", "bad-form"),
        ("multipart/form-data; boundary=b", b"", "bad-form"),
        ("multipart/form-data; boundary=b", b"--b\r\n", "bad-form"),
        ("multipart/form-data; boundary=b", b"no boundary at all", "bad-form"),
        ("multipart/form-data; boundary=" + "b" * 71, b"--", "bad-form"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nvalue\r\n--b--\r\n',
            "bad-form",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="url"\r\n\r\nhttp://a\r\n--b--\r\n',
            "bad-form",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="other"; filename="a"\r\n\r\nx'
            b"\r\n--b--\r\n",
            "bad-form",
        ),
    ],
)
def test_a_form_that_cannot_be_read_is_a_problem(
    client: TestClient, content_type: str, body: bytes, kind: str
):
    headers = {"Content-Type": content_type}
    response = client.post("/v1/predict", content=body, headers=headers)
    assert response.json()["type"] == f"/docs#{kind}"
    assert 400 <= response.status_code < 500


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/predict/batch"])
def test_a_scan_under_another_name_than_the_one_described_is_refused(client: TestClient, path: str):
    response = client.post(path, files=[("files", ("slice.png", SCAN, "image/png"))])
    assert (response.status_code, response.json()["type"]) == (400, "/docs#bad-form")


def test_ten_thousand_parts_are_refused(client: TestClient):
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'
    response = client.post(
        "/v1/predict",
        content=part * 10_000 + b"--b--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert is_problem(response, 413, "too-many-parts")


def form(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> bytes:
    head = "--b\r\nContent-Disposition: form-data; "
    return b"".join(f"{head}{kind}\r\n\r\n".encode() + data + b"\r\n" for kind, data in parts) + end


FILE = 'name="file"; filename="a.png"'


@pytest.mark.parametrize(
    ("body", "charset", "kind"),
    [
        (form((FILE, SCAN), (FILE, SCAN), end=b""), "utf-8", "bad-form"),
        (form((FILE, SCAN), (FILE, SCAN))[:-4], "utf-8", "bad-form"),
        (form((FILE + "\r\nContent-Transfer-Encoding: base64", SCAN)), "utf-8", "bad-form"),
        (form((FILE, SCAN), ('name="heatmap"', b"true")), "utf-8", "bad-form"),
        (form(('name="file"', SCAN)), "utf-8", "bad-form"),
        (form(('name="x"', bytes(5000))), "utf-8", "bad-form"),
        (form(*[(f'name="{i}"', b"x") for i in range(20)]), "utf-8", "too-many-parts"),
        (form(*[(FILE, b"x")] * 33), "utf-8", "too-many-parts"),
        (form((FILE + "\r\n" + "X: 1\r\n" * 100 + "X: 1", SCAN)), "utf-8", "bad-form"),
        (form((FILE, SCAN)), "undefined", "bad-form"),
    ],
)
def test_a_form_is_taken_whole_or_not_at_all(body: bytes, charset: str, kind: str):
    with pytest.raises(Refusal) as caught:
        read_form(body, f"multipart/form-data; boundary=b; charset={charset}", max_files=32)
    assert caught.value.kind == kind


def test_nothing_of_an_upload_touches_the_disk(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    data = bytes(31 * 2**20)
    (upload,) = read_form(form((FILE, data)), "multipart/form-data; boundary=b", max_files=1)
    assert upload == Upload("a.png", data)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400), prefix=st.sampled_from([b"", SCAN[:40], b"\xff\xd8\xff\xe0"]))
def test_random_bytes_as_a_file_give_nothing_but_problems(
    client: TestClient, data: bytes, prefix: bytes
):
    response = client.post("/v1/predict", files=files(prefix + data))
    assert 400 <= response.status_code < 500
    assert response.headers["content-type"] == PROBLEM


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_random_bytes_as_a_form_give_nothing_but_problems(client: TestClient, data: bytes):
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = client.post("/v1/predict", content=b"--b\r\n" + data, headers=headers)
    assert 400 <= response.status_code < 500
    assert response.headers["content-type"] == PROBLEM


def test_without_keys_another_host_or_origin_is_refused(client: TestClient):
    rebound = client.get("/v1/predictions", headers={"Host": "evil.example:8000"})
    assert is_problem(rebound, 421, "wrong-host")
    page = client.post("/v1/predict", files=files(SCAN), headers={"Origin": "http://evil.example"})
    assert is_problem(page, 403, "wrong-origin")
    own = client.get("/v1/predictions", headers={"Origin": "http://localhost"})
    assert own.status_code == 200


@pytest.mark.parametrize("header", FORWARDING)
def test_without_keys_nothing_is_taken_from_a_proxy(client: TestClient, header: str):
    response = client.get("/v1/model", headers={header: "127.0.0.1"})
    assert is_problem(response, 403, "forwarded")
    assert client.get("/healthz", headers={header: "127.0.0.1"}).status_code == 200


def test_without_keys_http_1_0_is_taken_for_a_proxy():
    check_local({b"host": b"127.0.0.1"}, http_version="1.1")
    with pytest.raises(Refusal, match=r"HTTP/1\.0"):
        check_local({b"host": b"127.0.0.1"}, http_version="1.0")


def test_with_keys_a_proxy_may_stand_in_front(locked: Locked):
    headers = {**locked.key("read"), "X-Forwarded-For": "203.0.113.9", "Host": "scans.example"}
    assert locked.client.get("/v1/model", headers=headers).status_code == 200


def test_wrong_keys_cost_no_memory(locked: Locked):
    known = locked.client.app.state.service.authenticator._known
    for length in (30, 15_000):
        wrong = {f"tlk_{number:012}_" + "a" * length: number for number in range(20)}
        for secret in wrong:
            response = locked.client.get("/v1/model", headers={"X-API-Key": secret})
            assert is_problem(response, 401, "no-key")
    assert {len(digest) for digest in known} == {32}
    assert locked.client.app.state.service.authenticator.remembered("a" * 15_000) == (True, None)


@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/model", "/metrics", "/docs", "/nothing"])
def test_without_a_key_nothing_opens(locked: Locked, path: str):
    client = locked.client
    assert is_problem(client.get(path), 401, "no-key")
    assert client.get(path).headers["www-authenticate"] == "Bearer"
    for wrong in ("tlk_a_b", "x", "tlk_" + "0" * 12 + "_" + "a" * 43, "\u00e9", "a" * 5000):
        bearer = f"Bearer {wrong}".encode()
        assert is_problem(client.get(path, headers={"Authorization": bearer}), 401, "no-key")


def test_health_needs_no_key(locked: Locked):
    client = locked.client
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
        assert client.get(path).status_code == 200


def test_a_scope_opens_what_it_says_and_no_more(locked: Locked):
    client, key = locked.client, locked.key
    predict, read = key("predict"), key("read")
    assert client.post("/v1/predict", files=files(SCAN), headers=predict).status_code == 200
    refused = client.post("/v1/predict", files=files(SCAN), headers=read)
    assert is_problem(refused, 403, "not-allowed")
    assert is_problem(client.get("/metrics", headers=predict), 403, "not-allowed")
    assert client.get("/metrics", headers=read).status_code == 200
    assert client.get("/metrics", headers=key("admin")).status_code == 200
    for scope in SCOPES:  # whoever gets answers may know what gave them
        assert client.get("/v1/model", headers=key(scope)).status_code == 200


def test_a_key_is_also_taken_from_its_own_header(locked: Locked):
    client, key = locked.client, locked.key
    secret = key("read")["Authorization"].removeprefix("Bearer ")
    assert client.get("/v1/model", headers={"X-API-Key": secret}).status_code == 200


def test_one_key_does_not_see_the_answers_of_another(locked: Locked):
    client, key = locked.client, locked.key
    ann, bob, all_seeing = key("predict"), key("predict"), key("read")
    links = client.post("/v1/predict", files=files(SCAN), headers=ann).json()["results"][0]["links"]
    assert client.get(links["self"], headers=ann).status_code == 200
    for path in (links["self"], links["heatmap"], links["report"]):
        assert client.get(path, headers=bob).status_code == 404
        assert client.get(path, headers=all_seeing).status_code == 200
    review = {"verdict": "agree"}
    assert client.post(links["review"], json=review, headers=bob).status_code == 404
    assert client.get("/v1/predictions", headers=bob).json()["predictions"] == []


def test_a_revoked_key_opens_nothing(locked: Locked):
    client, key = locked.client, locked.key
    secret = key("read")
    revoke_key(locked.store, secret["Authorization"].split("_")[1])
    assert is_problem(client.get("/v1/model", headers=secret), 401, "no-key")


def test_a_key_that_has_used_up_its_requests_has_to_wait(tmp_path: Path, tiny_bundle: Bundle):
    with serving(tmp_path, tiny_bundle, requests_per_minute=3) as client:
        statuses = [client.get("/v1/model").status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        response = client.get("/v1/model")
        assert is_problem(response, 429, "too-many-requests")
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert client.get("/healthz").status_code == 200


def test_a_full_queue_sends_requests_away_and_recovers(client: TestClient):
    service = client.app.state.service
    with ExitStack() as taken:
        for _ in range(service.pool.slots):
            taken.enter_context(service.pool.slot("local"))
        response = client.post("/v1/predict", files=files(SCAN))
        assert is_problem(response, 429, "queue-full")
        assert int(response.headers["retry-after"]) >= 1
    assert client.post("/v1/predict", files=files(SCAN)).status_code == 200


def test_a_method_that_does_not_fit_is_a_problem_that_says_what_does(client: TestClient):
    response = client.delete("/v1/predict")
    assert is_problem(response, 405, "wrong-method")
    assert response.headers["allow"] == "POST"


def test_every_method_of_an_address_is_allowed_where_another_is_tried(client: TestClient):
    response = client.options(f"/v1/jobs/{32 * '0'}")
    assert is_problem(response, 405, "wrong-method")
    assert response.headers["allow"] == "DELETE, GET"


def test_an_unexpected_failure_is_a_problem_without_its_text(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("name of a patient")

    monkeypatch.setattr(client.app.state.service.predictor, "predict_prepared", fail)
    response = client.post("/v1/predict", files=files(SCAN))
    assert is_problem(response, 500, "internal")
    logged = capsys.readouterr().err
    assert "RuntimeError" in logged
    assert "patient" not in response.text + logged
