"""The Open Inference Protocol v2: KServe and Triton clients ask the same Predictor.

The input is `image`, BYTES [n]: whole image files, as bytes (binary data extension) or in base64.
"""

import base64
import binascii
import json
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError

from tumorlens import __version__
from tumorlens.labels import TYPES
from tumorlens.predictions.document import to_json
from tumorlens.records import Prediction, Unusable
from tumorlens.services.http import inference
from tumorlens.services.http.documents import json_response
from tumorlens.services.http.inference import Upload
from tumorlens.services.http.problems import Refusal, invalid
from tumorlens.services.http.routes_model import check_ready
from tumorlens.services.http.routes_predict import MAX_AT_ONCE
from tumorlens.services.http.schemas import KEYS, InferRequest, TensorData, inlined
from tumorlens.services.http.service import Service, caller_of, service_of
from tumorlens.services.store.history import NewPrediction

MODEL = "tumorlens"
INPUT = "image"
_NUMBER = re.compile("[0-9]{1,15}")
_JSON_SIGNS = (b",", b":", b"[", b"{")  # images in base64 have none of them
MAX_JSON_PARTS = 10_000  # each of them becomes an object in memory
HEADER_LENGTH = "inference-header-content-length"
_NAN = float("nan")
_NAN_IN_JSON = "NaN"  # JSON has no such number: the text that protocol buffers write for it
router = APIRouter(tags=["v2"])


@router.get("/v2", dependencies=KEYS)
@router.get("/v2/", dependencies=KEYS, include_in_schema=False)  # the protocol names it both ways
def server(request: Request) -> dict[str, object]:
    """Describe the server."""
    return {"name": MODEL, "version": __version__, "extensions": ["binary_tensor_data"]}


@router.get("/v2/health/live")
def live() -> dict[str, bool]:
    """Liveness: the process answers."""
    return {"live": True}


@router.get("/v2/health/ready")
def ready(request: Request) -> dict[str, bool]:
    """Readiness: requests can be answered."""
    check_ready(request)
    return {"ready": True}


@router.get("/v2/models/{name}", dependencies=KEYS)
@router.get("/v2/models/{name}/versions/{version}", dependencies=KEYS)
def metadata(request: Request, name: str, version: str | None = None) -> dict[str, object]:
    """Describe the model's tensors."""
    service = _service(request, name, version)
    return {
        "name": MODEL,
        "versions": [_version(service)],
        "platform": "onnxruntime",
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": outputs_of(service.predictor.bundle.atoms),
    }


@router.get("/v2/models/{name}/ready", dependencies=KEYS)
@router.get("/v2/models/{name}/versions/{version}/ready", dependencies=KEYS)
def model_ready(request: Request, name: str, version: str | None = None) -> dict[str, object]:
    """Readiness: the model can answer."""
    _service(request, name, version)
    check_ready(request)
    return {"name": MODEL, "ready": True}


_BODY = {
    "requestBody": {
        "required": True,
        "description": "JSON; with Inference-Header-Content-Length, JSON and bytes behind it.",
        "content": {"application/json": {"schema": inlined(InferRequest)}},
    }
}


@router.post("/v2/models/{name}/infer", dependencies=KEYS, openapi_extra=_BODY)
@router.post("/v2/models/{name}/versions/{version}/infer", dependencies=KEYS, openapi_extra=_BODY)
async def infer(request: Request, name: str, version: str | None = None) -> Response:
    """Predict the images of the tensor `image`; one that cannot be used makes it a problem."""
    service, caller = _service(request, name, version), caller_of(request, "predict")
    body, length = request.scope["state"].get("body", b""), request.headers.get(HEADER_LENGTH)

    def read() -> tuple[InferRequest, list[Upload]]:
        asked, binary = read_request(bytes(body), length)
        check_outputs(asked, service.predictor.bundle.atoms)
        images = read_images(asked, binary, max_images=MAX_AT_ONCE)
        return asked, inference.measure([Upload("", image) for image in images], service.settings)

    with service.pool.slot(caller.id):
        is_large = len(body) > inference.SMALL_FORM_BYTES
        asked, uploads = await service.pool.run(read, owner=caller.id, large=is_large)
        decoded = await service.pool.run_all(
            [(partial(inference.decode, service, i, u), u.is_large) for i, u in enumerate(uploads)],
            owner=caller.id,
        )
        for item in decoded:
            if isinstance(item.scan, Unusable):
                raise item.scan.error
        predict = partial(inference.predict, service, owner=caller.id, source="v2")
        works = [(partial(predict, item), False) for item in decoded]
        new = await service.pool.run_all(works, owner=caller.id)
        await inference.wait_persisted(inference.enqueue(service, new))
    return _response(service, asked, new)


def read_request(body: bytes, header_length: str | None) -> tuple[InferRequest, bytes]:
    """Split a body into its JSON and the bytes behind it; raises Refusal."""
    length = len(body)
    if header_length is not None:
        if not _NUMBER.fullmatch(header_length) or int(header_length) > len(body):
            raise Refusal("bad-request", "Inference-Header-Content-Length is not a length in it.")
        length = int(header_length)
    if sum(body.count(sign, 0, length) for sign in _JSON_SIGNS) > MAX_JSON_PARTS:
        raise Refusal("too-large", f"Its JSON has more than {MAX_JSON_PARTS:,} parts.")
    try:
        return InferRequest.model_validate_json(body[:length]), body[length:]
    except ValidationError as e:
        raise invalid("It is no inference request.", e) from None


def _response(service: Service, asked: InferRequest, new: Sequence[NewPrediction]) -> Response:
    tensors, binary = write_outputs(new, asked, service.predictor.bundle.atoms)
    document = {"model_name": MODEL, "model_version": _version(service), "outputs": tensors}
    if asked.id is not None:
        document["id"] = asked.id
    if not binary:
        return json_response(document)
    text = json.dumps(document).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    return Response(text + binary, media_type="application/octet-stream", headers=headers)


def _service(request: Request, name: str, version: str | None) -> Service:
    service = service_of(request)
    if name not in (MODEL, service.predictor.bundle.name):
        raise Refusal("not-found", f"The model is called {MODEL}.")
    if version is not None and version != _version(service):
        raise Refusal("not-found", f"The version served is {_version(service)}.")
    return service


def _version(service: Service) -> str:
    return service.predictor.bundle.sha256[:12]


@dataclass(frozen=True)
class _Output:
    """A row of the table of outputs; `values` of a prediction and its id, `width` of them."""

    datatype: str  # FP64 or BYTES
    width: int
    values: Callable[[Prediction, str], list[Any]]


def _table(atoms: Sequence[str]) -> Mapping[str, _Output]:
    def types_of(answer: Prediction, _: str) -> list[float | None]:
        return [answer.type_probabilities.get(name) for name in TYPES]

    return {
        "tumor_probability": _Output("FP64", 1, lambda answer, _: [answer.tumor_probability]),
        "decision": _Output("BYTES", 1, lambda answer, _: [answer.decision]),
        "modality": _Output("BYTES", 1, lambda answer, _: [answer.modality]),
        "type": _Output("BYTES", 1, lambda answer, _: [answer.type]),
        "type_probabilities": _Output("FP64", len(TYPES), types_of),
        "atoms": _Output("FP64", len(atoms), lambda answer, _: [answer.atoms[a] for a in atoms]),
        "prediction": _Output("BYTES", 1, lambda answer, _: [to_json(answer)]),
        "id": _Output("BYTES", 1, lambda _, id: [id]),
    }


def outputs_of(atoms: Sequence[str]) -> list[dict[str, object]]:
    """Describe the outputs."""
    return [
        {"name": name, "datatype": row.datatype, "shape": [-1, row.width]}
        for name, row in _table(atoms).items()
    ]


def check_outputs(asked: InferRequest, atoms: Sequence[str]) -> None:
    """Raise Refusal where an output is asked for that does not exist."""
    table = _table(atoms)
    if any(row.name not in table for row in asked.outputs or []):
        raise Refusal("not-valid", f"Outputs are {', '.join(table)}.")


def read_images(asked: InferRequest, binary: bytes, *, max_images: int) -> list[bytes]:
    """Return the image files of a request; raises Refusal where they are not as announced."""
    tensor = asked.inputs[0]
    count = int(np.prod(tensor.shape, dtype=object))
    if not 1 <= count <= max_images:
        raise Refusal("not-valid", f"1 to {max_images} images are taken at once.")
    size = tensor.parameters.get("binary_data_size")
    images = _from_json(tensor) if size is None else _from_bytes(binary, size)
    if len(images) != count:
        raise Refusal("not-valid", f"The shape says {count} images, {len(images)} are there.")
    return images


def _from_json(tensor: TensorData) -> list[bytes]:
    data = tensor.data or []
    flat = [item for row in data for item in (row if isinstance(row, list) else [row])]
    try:
        return [base64.b64decode(item, validate=True) for item in flat]
    except (TypeError, ValueError, binascii.Error):
        raise Refusal("not-valid", "In JSON, images are base64 text.") from None


def _from_bytes(binary: bytes, size: object) -> list[bytes]:
    """Read elements, each behind its length in four bytes, little endian."""
    if size != len(binary):
        raise Refusal("not-valid", "binary_data_size is not what follows the JSON.")
    images, at = [], 0
    while at < len(binary):
        end = at + 4 + int.from_bytes(binary[at : at + 4], "little")
        if at + 4 > len(binary) or end > len(binary):
            raise Refusal("not-valid", "An element ends before its length or its bytes.")
        images.append(binary[at + 4 : end])
        at = end
    return images


def write_outputs(
    new: Sequence[NewPrediction], asked: InferRequest, atoms: Sequence[str]
) -> tuple[list[dict[str, object]], bytes]:
    """Return the outputs asked for (all, where none is named) and the bytes behind the JSON."""
    table, tensors, binary = _table(atoms), [], b""
    all_binary = bool(asked.parameters.get("binary_data_output"))
    wanted = dict.fromkeys(table, all_binary)
    if asked.outputs:
        wanted = {
            row.name: bool(row.parameters.get("binary_data", all_binary)) for row in asked.outputs
        }
    for name, is_binary in wanted.items():
        row = table[name]
        values = [value for item in new for value in row.values(item.prediction, item.id)]
        tensor: dict[str, object] = {"name": name, "datatype": row.datatype}
        tensor["shape"] = [len(new), row.width]
        if is_binary:
            data = _packed(values, row.datatype)
            tensor["parameters"] = {"binary_data_size": len(data)}
            binary += data
        else:
            tensor["data"] = [_NAN_IN_JSON if value is None else value for value in values]
        tensors.append(tensor)
    return tensors, binary


def _packed(values: Sequence[Any], datatype: str) -> bytes:
    if datatype == "FP64":
        return np.array([_NAN if v is None else v for v in values], "<f8").tobytes()
    encoded = [value.encode() for value in values]
    return b"".join(struct.pack("<I", len(item)) + item for item in encoded)
