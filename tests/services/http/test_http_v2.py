"""The Open Inference Protocol, by hand: what Triton's client would not send."""

import base64
import json
import struct
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.serving import PROBLEM, SCAN

from tumorlens.models.bundle import Bundle

INFER = "/v2/models/tumorlens/infer"
TEXT = base64.b64encode(SCAN).decode()


def asked(data: Any = (TEXT,), **changes: Any) -> dict[str, Any]:
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": list(data)}
    return {"inputs": [tensor | changes]}


def test_an_answer_has_every_output(client: TestClient, tiny_bundle: Bundle):
    found = client.post(INFER, json=asked()).json()
    described = client.get("/v2/models/tumorlens").json()
    assert [row["name"] for row in found["outputs"]] == [
        row["name"] for row in described["outputs"]
    ]
    assert found["model_version"] == described["versions"][0] == tiny_bundle.sha256[:12]


def test_the_model_answers_to_its_bundles_name_and_version_too(client: TestClient):
    version = client.get("/v2/models/tiny").json()["versions"][0]
    path = f"/v2/models/tiny/versions/{version}"
    assert client.get(f"{path}/ready").status_code == 200
    assert client.post(f"{path}/infer", json=asked()).status_code == 200
    assert client.get("/v2/models/tiny/versions/0").status_code == 404
    assert client.get("/v2/models/other").status_code == 404


def test_outputs_can_be_chosen(client: TestClient):
    request = asked() | {"outputs": [{"name": "decision"}]}
    outputs = client.post(INFER, json=request).json()["outputs"]
    assert [row["name"] for row in outputs] == ["decision"]


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"inputs": []},
        asked(name="pixels"),
        asked(datatype="UINT8"),
        asked(shape=[2]),
        asked(shape=[0]),
        asked(shape=[-1]),
        asked(shape=[10**9, 10**9]),
        asked(["not base64!"]),
        asked([7]),
        asked([[["deep"]]]),
        asked() | {"outputs": [{"name": "unknown"}]},
        asked([base64.b64encode(b"no picture").decode()]),
    ],
)
def test_a_request_that_makes_no_sense_is_a_problem_with_an_error(
    client: TestClient, request_: dict
):
    response = client.post(INFER, json=request_)
    assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM)
    assert response.json()["error"]


@pytest.mark.parametrize(
    ("tail", "size", "length"),
    [
        (b"", 5, None),
        (struct.pack("<I", 100) + b"short", None, None),
        (b"\x01", None, None),
        (struct.pack("<I", len(SCAN)) + SCAN, None, "x"),
        (struct.pack("<I", len(SCAN)) + SCAN, None, "99999999"),
        (struct.pack("<I", len(SCAN)) + SCAN, None, b"\xb2"),
        (struct.pack("<I", len(SCAN)) + SCAN, None, "9" * 5000),
        (struct.pack("<I", len(SCAN)) + SCAN, "all", None),
    ],
)
def test_binary_data_that_is_not_as_announced_is_a_problem(
    client: TestClient, tail: bytes, size: Any, length: str | bytes | None
):
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES"}
    tensor["parameters"] = {"binary_data_size": len(tail) if size is None else size}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": length or str(len(head))}
    response = client.post(INFER, content=head + tail, headers=headers)
    assert 400 <= response.status_code < 500
    assert response.headers["content-type"] == PROBLEM


def test_json_of_a_million_parts_is_refused_before_it_is_read(client: TestClient):
    body = b'{"inputs":[{"name":"image","shape":[1],"datatype":"BYTES","data":[%s0]}]}'
    response = client.post(INFER, content=body % (b"0," * 1_000_000))
    assert (response.status_code, response.json()["type"]) == (413, "/docs#too-large")
