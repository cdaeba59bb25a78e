"""The service as a process: clients of every kind, signals, slow and broken connections."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from support.live_server import Live, running, start
from support.serving import SCAN, files, phantom_png
from support.waiting import wait_until
from typer.testing import CliRunner

from tumorlens import client, load_predictor
from tumorlens.cli import app
from tumorlens.files import read_table
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import from_json
from tumorlens.services import lambda_handler
from tumorlens.services.store import Verdict, iter_predictions, open_store, verify


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    bundle = str(tiny_bundle.folder)
    with running(folder, TUMORLENS_BUNDLE=bundle, TUMORLENS_RECEIVE_SECONDS="2") as found:
        yield found


@pytest.fixture(scope="module")
def triton(live: Live) -> dict[str, dict[str, Any]]:
    """What Triton's own client is answered, asking in JSON and in bytes.

    It runs in a process of its own: it patches sockets.
    """
    program = f"""
import sys, json, base64
import numpy as np, tritonclient.http as triton
client = triton.InferenceServerClient({live.url.removeprefix("http://")!r})
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("tumorlens")
names = [row["name"] for row in client.get_model_metadata("tumorlens")["outputs"]]
scans = [bytes.fromhex(line) for line in sys.stdin.read().split()]
text = lambda value: value.decode() if isinstance(value, bytes) else value
answers = {{}}
for form, sent in (("binary", scans), ("json", [base64.b64encode(scan) for scan in scans])):
    tensor = triton.InferInput("image", [len(sent)], "BYTES")
    tensor.set_data_from_numpy(np.array(sent, dtype=object), binary_data=form == "binary")
    asked = [triton.InferRequestedOutput(name, binary_data=form == "binary") for name in names]
    found = client.infer("tumorlens", [tensor], outputs=asked, request_id="seven")
    assert found.get_response()["id"] == "seven"
    answers[form] = {{name: [[text(v) for v in row] for row in found.as_numpy(name).tolist()]
                     for name in names}}
print(json.dumps(answers))
"""
    scans = "\n".join(scan.hex() for scan in (SCAN, phantom_png("ct", "healthy")))
    done = subprocess.run(
        [sys.executable, "-c", program], input=scans, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("form", ["binary", "json"])
def test_the_client_of_triton_infers(live: Live, triton: dict[str, dict[str, Any]], form: str):
    found = triton[form]
    assert np.array(found["atoms"]).shape == (2, 6)
    assert np.allclose(np.array(found["atoms"]).sum(1), 1)
    assert (
        from_json(found["prediction"][0][0]).tumor_probability == found["tumor_probability"][0][0]
    )
    stored = httpx.get(f"{live.url}/v1/predictions/{found['id'][1][0]}").json()
    assert stored["source"] == "v2"


def test_every_way_in_gives_the_same_numbers(
    live: Live,
    triton: dict[str, dict[str, Any]],
    tiny_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    path = tmp_path / "slice.png"
    path.write_bytes(SCAN)
    python = load_predictor(tiny_bundle.folder).predict([path])[0]
    table = tmp_path / "predictions.csv"
    command = ["predict", str(path), "--out", str(table), "--bundle", str(tiny_bundle.folder)]
    assert CliRunner().invoke(app, command).exit_code == 0
    (row,) = read_table(table)
    assert row["tumor_probability"] == f"{python.tumor_probability:.6f}"

    monkeypatch.setenv("TUMORLENS_BUNDLE", str(tiny_bundle.folder))
    lambda_handler._predictor.cache_clear()
    found = {
        "v1": client.predict([path], url=live.url)[0],
        "batch": client.predict_batch([path], url=live.url)[0],
        "v2": from_json(triton["binary"]["prediction"][0][0]),
        "lambda": from_json(lambda_handler.handler(lambda_event(SCAN))["body"]),
    }
    for way, answer in found.items():
        assert answer.atoms == python.atoms, way
        assert answer.tumor_probability == python.tumor_probability, way
        assert answer.type_probabilities == python.type_probabilities, way


def lambda_event(data: bytes) -> dict[str, Any]:
    return {"isBase64Encoded": True, "body": base64.b64encode(data).decode()}


def test_the_python_client_gives_files_in_their_order_with_their_own_names(
    live: Live, tmp_path: Path
):
    (tmp_path / "a.png").write_bytes(SCAN)
    (tmp_path / "b.png").write_bytes(b"no picture")
    paths = [tmp_path / "a.png", tmp_path / "b.png"] * 10
    answers = client.predict(paths, url=live.url)
    assert [answer.path for answer in answers] == list(map(str, paths))
    assert [bool(answer.error) for answer in answers] == [False, True] * 10
    alone = client.predict([tmp_path / "b.png"], url=live.url)
    assert "not a PNG" in alone[0].error
    assert next(client.history(url=live.url, source="http"))["prediction"]["decision"]


def drip(connection: socket.socket, line: bytes) -> None:
    for _ in range(400):
        connection.sendall(line)
        time.sleep(0.2)


def test_slow_headers_are_cut_off(live: Live):
    with live.connect() as connection:
        connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n")
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            drip(connection, b"X-Slow: 1\r\n")


def test_a_slow_body_is_answered_and_cut_off(live: Live):
    with live.connect() as connection:
        connection.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nab"
        )
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer.lower()


def test_a_huge_length_is_answered_without_a_body(live: Live):
    with live.connect() as connection:
        connection.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4294967296\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Header\r\n\r\n",
        b"A" * 100_000,
        b"GET " + b"/" * 50_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_is_closed(live: Live, junk: bytes):
    with live.connect() as connection:
        connection.sendall(junk)
        answer = b""
        try:
            while piece := connection.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 421", b"HTTP/1.1 501")
    assert httpx.get(f"{live.url}/healthz").status_code == 200


def test_what_speaks_http_1_0_is_taken_for_a_proxy(live: Live):
    with live.connect() as connection:
        connection.sendall(b"GET /v1/model HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(65536).split(b" ")[1] == b"403"


@dataclass
class Story:
    """What a service did that was killed under load, started again and ended by SIGTERM."""

    acknowledged: list[str]  # ids of predictions that clients were given, before the kill and after
    batch: list[dict[str, Any]]  # results of the batch that waited while it was killed
    statuses: list[int]  # of the requests in work at SIGTERM
    exit_code: int
    stored: list[str]
    verdict: Verdict


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Story:
    folder = tmp_path_factory.mktemp("story")
    acknowledged: list[str] = []
    first = start(folder, TUMORLENS_BUNDLE=str(tiny_bundle.folder))
    scans = files(*[phantom_png(seed=seed % 3) for seed in range(60)])
    with under_load(first, acknowledged):
        job = httpx.post(f"{first.url}/v1/predict/batch", files=scans, timeout=60)
        assert job.status_code == 202
        wait_until(lambda: len(acknowledged) >= 5)
        os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    with running(folder, TUMORLENS_BUNDLE=str(tiny_bundle.folder)) as again:
        links, statuses = job.json()["links"], []
        wait_until(lambda: httpx.get(again.url + links["self"]).json()["state"] == "done")
        batch = httpx.get(again.url + links["result"]).json()["results"]

        def ask() -> None:
            many = files(*[SCAN] * 32)
            response = httpx.post(f"{again.url}/v1/predict", files=many, timeout=60)
            statuses.append(response.status_code)
            acknowledged.extend(result["id"] for result in response.json()["results"])

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        wait_until(lambda: len(statuses) + in_work(again) >= 4)
        again.process.send_signal(signal.SIGTERM)
        for asker in askers:
            asker.join()
        exit_code = again.process.wait(60)
    store = open_store(str(folder / "store.sqlite"))
    stored = [row.id for row in iter_predictions(store)]
    return Story(acknowledged, batch, statuses, exit_code, stored, verify(store))


@contextmanager
def under_load(live: Live, acknowledged: list[str]) -> Iterator[None]:
    """Have four clients ask until the service is gone, and note what it acknowledged."""

    def ask() -> None:
        with httpx.Client(timeout=60) as asker:
            while True:
                try:
                    response = asker.post(f"{live.url}/v1/predict", files=files(SCAN))
                except httpx.HTTPError:
                    return
                acknowledged.append(response.json()["results"][0]["id"])

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    yield
    for asker in askers:
        asker.join()


def in_work(live: Live) -> int:
    text = httpx.get(f"{live.url}/metrics", timeout=60).text
    return int(float(re.findall(r"^tumorlens_requests_in_work (\S+)", text, re.M)[0]))


def test_every_acknowledged_answer_survives_a_kill(story: Story):
    assert len(story.acknowledged) >= 5 + 4 * 32
    assert set(story.acknowledged) <= set(story.stored)


def test_no_answer_is_there_twice_after_a_kill(story: Story):
    assert len(story.stored) == len(set(story.stored))
    assert story.verdict.problems == ()


def test_a_batch_goes_on_after_a_kill(story: Story):
    assert [result["index"] for result in story.batch] == list(range(60))
    assert len({result["id"] for result in story.batch}) == 60


def test_sigterm_answers_what_was_taken_on(story: Story):
    assert story.statuses == [200] * 4
    assert story.exit_code in (0, -signal.SIGTERM)
    assert story.verdict.entries >= len(story.stored)
