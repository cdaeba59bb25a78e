"""The Open Inference Protocol as published: its paths, and the members that its schemas require."""

import base64
from typing import Any

import jsonschema
import numpy as np
import pytest
from starlette.testclient import TestClient
from support.serving import SCAN, phantom_png

from tumorlens.labels import ATOMS
from tumorlens.records import Prediction
from tumorlens.services.http.routes_v2 import write_outputs
from tumorlens.services.http.schemas import InferRequest
from tumorlens.services.store.history import NewPrediction

MODEL = "/v2/models/tumorlens"


def record(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


def several(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


# specification/protocol/open_inference_rest.yaml of kserve/open-inference-protocol, version 2.0.
TEXT, WHOLE = {"type": "string"}, {"type": "integer"}
SHAPED = {"name": TEXT, "datatype": TEXT, "shape": several(WHOLE)}
TENSOR = record("name datatype shape", **SHAPED)
DATA = several({"type": ["number", "string", "boolean"]})  # flat, as this service writes it
SERVER = record("name version extensions", name=TEXT, version=TEXT, extensions=several(TEXT))
METADATA = record(
    "name platform",
    name=TEXT,
    platform=TEXT,
    versions=several(TEXT),
    inputs=several(TENSOR),
    outputs=several(TENSOR),
)
OUTPUT = record("name shape datatype data", **SHAPED, data=DATA, parameters={"type": "object"})
ANSWER = record(
    "model_name outputs", model_name=TEXT, model_version=TEXT, id=TEXT, outputs=several(OUTPUT)
)
ERROR = record("error", error=TEXT)


@pytest.fixture(scope="module")
def versioned(client: TestClient) -> str:
    return f"{MODEL}/versions/{client.get(MODEL).json()['versions'][0]}"


def request_of(*scans: bytes) -> dict[str, Any]:
    data = [base64.b64encode(scan).decode() for scan in scans]
    tensor = {"name": "image", "shape": [len(scans)], "datatype": "BYTES", "data": data}
    return {"id": "42", "inputs": [tensor]}


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_describes_itself(client: TestClient, path: str):
    jsonschema.validate(client.get(path).json(), SERVER)


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_the_server_says_that_it_lives_and_is_ready(client: TestClient, path: str):
    assert client.get(path).status_code == 200


def test_the_model_describes_itself_with_and_without_its_version(
    client: TestClient, versioned: str
):
    for path in (MODEL, versioned):
        jsonschema.validate(client.get(path).json(), METADATA)
        ready = client.get(f"{path}/ready")
        assert (ready.status_code, ready.json()) == (200, {"name": "tumorlens", "ready": True})


def test_an_answer_has_what_the_protocol_requires_and_the_id_of_its_request(
    client: TestClient, versioned: str
):
    asked = request_of(SCAN, phantom_png("ct", "healthy"))
    for path in (MODEL, versioned):
        found = client.post(f"{path}/infer", json=asked).json()
        jsonschema.validate(found, ANSWER)
        assert found["id"] == "42"
        for output in found["outputs"]:
            assert len(output["data"]) == np.prod(output["shape"])


def test_a_number_that_is_not_there_is_nan_and_no_null():
    answer = NewPrediction(  # of CT: it has no types
        Prediction("slice", modality="ct", tumor_probability=0.5, atoms=dict.fromkeys(ATOMS, 0.1)),
        input_sha256="a" * 64, bundle_sha256="b" * 64, owner="ann", source="v2",
    )  # fmt: skip
    asked = InferRequest.model_validate(
        request_of(SCAN) | {"outputs": [{"name": "type_probabilities"}]}
    )
    (tensor,), _ = write_outputs([answer], asked, ATOMS)
    jsonschema.validate(tensor, OUTPUT)
    assert np.isnan(np.array(tensor["data"], np.float64)).all()  # as Triton's client reads it


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/models/other/infer", request_of(SCAN)),
        (f"{MODEL}/versions/0/infer", request_of(SCAN)),
        (f"{MODEL}/infer", request_of(b"no picture")),
        (f"{MODEL}/infer", {}),
    ],
)
def test_an_error_says_so_where_the_protocol_has_it(client: TestClient, path: str, body: dict):
    response = client.post(path, json=body)
    assert 400 <= response.status_code < 500
    jsonschema.validate(response.json(), ERROR)
