"""The service as a process: clients of every kind, signals, slow and broken connections."""

import csv
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from support.live_server import Live, running, start
from support.serving import SCAN, files, phantom_png

from tumorlens import client, load_predictor
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import from_json
from tumorlens.services import lambda_handler
from tumorlens.services.store import open_store, verify


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Bundle) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    bundle = str(tiny_bundle.folder)
    with running(folder, TUMORLENS_BUNDLE=bundle, TUMORLENS_RECEIVE_SECONDS="2") as found:
        yield found


def triton_infer(url: str, scans: list[bytes], *, binary: bool) -> Any:
    """Ask as Triton's own client does, in a process of its own: it patches sockets."""
    program = f"""
import sys, json, base64
import numpy as np, tritonclient.http as triton
client = triton.InferenceServerClient({url.removeprefix("http://")!r})
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("tumorlens")
names = [row["name"] for row in client.get_model_metadata("tumorlens")["outputs"]]
scans = [bytes.fromhex(line) for line in sys.stdin.read().split()]
if not {binary}:
    scans = [base64.b64encode(scan) for scan in scans]
tensor = triton.InferInput("image", [len(scans)], "BYTES")
tensor.set_data_from_numpy(np.array(scans, dtype=object), binary_data={binary})
asked = [triton.InferRequestedOutput(name, binary_data={binary}) for name in names]
found = client.infer("tumorlens", [tensor], outputs=asked, request_id="seven")
assert found.get_response()["id"] == "seven"
text = lambda value: value.decode() if isinstance(value, bytes) else value
print(json.dumps({{name: [[text(v) for v in row] for row in found.as_numpy(name).tolist()]
                  for name in names}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], input="\n".join(scan.hex() for scan in scans),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    import json

    return json.loads(done.stdout)


@pytest.mark.parametrize("binary", [True, False])
def test_the_client_of_triton_infers(live: Live, binary: bool):
    found = triton_infer(live.url, [SCAN, phantom_png("ct", "healthy")], binary=binary)
    assert np.array(found["atoms"]).shape == (2, 6)
    assert np.allclose(np.array(found["atoms"]).sum(1), 1)
    assert (
        from_json(found["prediction"][0][0]).tumor_probability == found["tumor_probability"][0][0]
    )
    stored = httpx.get(f"{live.url}/v1/predictions/{found['id'][1][0]}").json()
    assert stored["source"] == "v2"


def test_every_door_gives_the_same_numbers(
    live: Live, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "slice.png"
    path.write_bytes(SCAN)
    python = load_predictor(tiny_bundle.folder).predict([path])[0]
    table = tmp_path / "predictions.csv"
    command = [sys.executable, "-m", "tumorlens", "predict", str(path), "--out", str(table)]
    bundle = ["--bundle", str(tiny_bundle.folder)]
    subprocess.run([*command, *bundle], check=True, capture_output=True)
    with table.open() as file:
        row = next(csv.DictReader(file))
    assert row["tumor_probability"] == f"{python.tumor_probability:.6f}"

    monkeypatch.setenv("TUMORLENS_BUNDLE", str(tiny_bundle.folder))
    lambda_handler._predictor.cache_clear()
    found = {
        "v1": client.predict([path], url=live.url)[0],
        "batch": client.predict_batch([path], url=live.url)[0],
        "v2": from_json(triton_infer(live.url, [SCAN], binary=True)["prediction"][0][0]),
        "lambda": from_json(lambda_handler.handler(lambda_event(SCAN))["body"]),
    }
    for door, answer in found.items():
        assert answer.atoms == python.atoms, door
        assert answer.tumor_probability == python.tumor_probability, door
        assert answer.type_probabilities == python.type_probabilities, door


def lambda_event(data: bytes) -> dict[str, Any]:
    import base64

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


def test_sigterm_answers_what_was_taken_on(tmp_path: Path, tiny_bundle: Bundle):
    with running(tmp_path, TUMORLENS_BUNDLE=str(tiny_bundle.folder)) as live:
        statuses: list[int] = []

        def ask() -> None:
            many = files(*[SCAN] * 32)
            statuses.append(
                httpx.post(f"{live.url}/v1/predict", files=many, timeout=30).status_code
            )

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        while len(statuses) + in_work(live) < 4:
            time.sleep(0.01)
        live.process.send_signal(signal.SIGTERM)
        for asker in askers:
            asker.join()
        assert live.process.wait(30) in (0, -signal.SIGTERM)
        assert statuses == [200] * 4
    verdict = verify(open_store(str(tmp_path / "store.sqlite")))
    assert (verdict.entries, verdict.problems) == (128, ())


def in_work(live: Live) -> int:
    text = httpx.get(f"{live.url}/metrics", timeout=30).text
    return int(float(re.findall(r"^tumorlens_requests_in_work (\S+)", text, re.M)[0]))


def test_every_acknowledged_answer_survives_a_kill(tmp_path: Path, tiny_bundle: Bundle):
    acknowledged: list[str] = []
    for enough in (5, 25):
        live = start(tmp_path, TUMORLENS_BUNDLE=str(tiny_bundle.folder))

        def ask(url: str = live.url) -> None:
            with httpx.Client(timeout=10) as asker:
                while True:
                    try:
                        response = asker.post(f"{url}/v1/predict", files=files(SCAN))
                    except httpx.HTTPError:
                        return
                    acknowledged.append(response.json()["results"][0]["id"])

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        while len(acknowledged) < enough:
            time.sleep(0.005)
        os.kill(live.process.pid, signal.SIGKILL)
        for asker in askers:
            asker.join()
        live.process.wait()
    assert_all_there(tmp_path, acknowledged)


def assert_all_there(folder: Path, acknowledged: list[str]) -> None:
    from tumorlens.services.store import iter_predictions

    store = open_store(str(folder / "store.sqlite"))
    there = [stored.id for stored in iter_predictions(store)]
    assert acknowledged
    assert set(acknowledged) <= set(there)
    assert len(there) == len(set(there))
    assert verify(store).problems == ()


def test_a_batch_goes_on_after_a_kill(tmp_path: Path, tiny_bundle: Bundle):
    scans = files(*[phantom_png(seed=seed % 3) for seed in range(60)])
    live = start(tmp_path, TUMORLENS_BUNDLE=str(tiny_bundle.folder))
    job = httpx.post(f"{live.url}/v1/predict/batch", files=scans, timeout=30)
    assert job.status_code == 202
    os.kill(live.process.pid, signal.SIGKILL)
    live.process.wait()
    with running(tmp_path, TUMORLENS_BUNDLE=str(tiny_bundle.folder)) as again:
        for _ in range(200):
            found = httpx.get(again.url + job.json()["links"]["self"]).json()
            if found["state"] == "done":
                break
            time.sleep(0.1)
        results = httpx.get(again.url + job.json()["links"]["result"]).json()["results"]
    assert [result["index"] for result in results] == list(range(60))
    assert len({result["id"] for result in results}) == 60
