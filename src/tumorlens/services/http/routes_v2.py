"""The Open Inference Protocol v2: KServe and Triton clients ask the same Predictor.

The input is `image`, BYTES [n]: whole image files, as bytes (binary data extension) or in base64.
"""

import json
import re
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import ValidationError

from tumorlens import __version__
from tumorlens.services.http import answering
from tumorlens.services.http.form import Upload
from tumorlens.services.http.openapi import KEYS, inlined
from tumorlens.services.http.problems import Refusal
from tumorlens.services.http.routes_model import check_ready
from tumorlens.services.http.routes_predict import MOST_AT_ONCE
from tumorlens.services.http.schemas import InferRequest
from tumorlens.services.http.service import Service, caller_of, service_of
from tumorlens.services.http.tensors import (
    INPUT,
    check_outputs,
    outputs_of,
    read_images,
    write_outputs,
)
from tumorlens.services.store.history import NewPrediction

MODEL = "tumorlens"
_NUMBER = re.compile("[0-9]{1,15}")
HEADER_LENGTH = "inference-header-content-length"
router = APIRouter(tags=["v2"])


@router.get("/v2", dependencies=KEYS)
@router.get("/v2/", dependencies=KEYS, include_in_schema=False)  # the protocol names it both ways
def server(request: Request) -> dict[str, Any]:
    """Describe the server."""
    return {"name": MODEL, "version": __version__, "extensions": ["binary_tensor_data"]}


@router.get("/v2/health/live")
def live() -> dict[str, bool]:
    """Tell that the process answers."""
    return {"live": True}


@router.get("/v2/health/ready")
def ready(request: Request) -> dict[str, bool]:
    """Tell that requests can be answered."""
    check_ready(request)
    return {"ready": True}


@router.get("/v2/models/{name}", dependencies=KEYS)
@router.get("/v2/models/{name}/versions/{version}", dependencies=KEYS)
def metadata(request: Request, name: str, version: str | None = None) -> dict[str, Any]:
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
def model_ready(request: Request, name: str, version: str | None = None) -> dict[str, Any]:
    """Tell that the model can answer."""
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
    body = bytes(request.scope["state"].get("body", b""))
    asked, binary = read_request(body, request.headers.get(HEADER_LENGTH))

    check_outputs(asked, service.predictor.bundle.atoms)

    def work() -> tuple[list[NewPrediction], list[Future[str]]]:
        images = read_images(asked, binary, most=MOST_AT_ONCE)
        received = answering.receive(service, [Upload("", image) for image in images])
        for item in received:
            if item.error is not None:
                raise item.error
        new = [answering.answer(service, item, owner=caller.id, source="v2") for item in received]
        return new, answering.promise(service, new)

    with service.pool.place():
        new, promises = await service.pool.run(work)
        await answering.written(promises)
    return _response(service, asked, new)


def read_request(body: bytes, header_length: str | None) -> tuple[InferRequest, bytes]:
    """Part a body into its JSON and the bytes behind it; raises Refusal."""
    length = len(body)
    if header_length is not None:
        if not _NUMBER.fullmatch(header_length) or int(header_length) > len(body):
            raise Refusal("bad-request", "Inference-Header-Content-Length is not a length in it.")
        length = int(header_length)
    try:
        return InferRequest.model_validate_json(body[:length]), body[length:]
    except ValidationError as e:
        found = [{"where": list(map(str, row["loc"])), "what": row["msg"]} for row in e.errors()]
        raise Refusal("not-valid", "It is no inference request.", errors=found[:20]) from None


def _response(service: Service, asked: InferRequest, new: Sequence[NewPrediction]) -> Response:
    tensors, binary = write_outputs(new, asked, service.predictor.bundle.atoms)
    document = {"model_name": MODEL, "model_version": _version(service), "outputs": tensors}
    if asked.id is not None:
        document["id"] = asked.id
    text = json.dumps(document).encode()
    if not binary:
        return Response(text, media_type="application/json")
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
