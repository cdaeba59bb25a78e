"""POST /v1/predict: scans in, answers out, each on the disk before it is given."""

import json
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from tumorlens.predictions.document import to_document
from tumorlens.services.http import answering, documents, pictures
from tumorlens.services.http.answering import Received
from tumorlens.services.http.form import read_form
from tumorlens.services.http.openapi import upload
from tumorlens.services.http.problems import Refusal, as_refusal
from tumorlens.services.http.schemas import Predicted
from tumorlens.services.http.service import Service, caller_of, service_of
from tumorlens.services.store.history import NewPrediction

MOST_AT_ONCE = 32  # files of one request; a batch takes more

router = APIRouter(tags=["predict"])


@router.post(
    "/v1/predict",
    responses={200: {"model": Predicted}},
    openapi_extra=upload(MOST_AT_ONCE),
)
async def predict(
    request: Request,
    heatmap: Annotated[bool, Query(description="Put the heatmap (PNG) into the answer.")] = False,
    report: Annotated[
        Literal["html", "pdf"] | None, Query(description="Put a report into the answer.")
    ] = None,
) -> Response:
    """Predict one or several scans.

    An unusable file among others has its `error` set; where none is usable, that is a problem.
    """
    service, caller = service_of(request), caller_of(request, "predict")
    body, kind = request.scope["state"].get("body", b""), request.headers.get("content-type", "")

    def work() -> tuple[list[Received], list[NewPrediction], list[Future[str]]]:
        form = read_form(body, kind, most_files=MOST_AT_ONCE)
        refuse_fields(form.fields)
        received = answering.receive(service, form.files)
        refuse_if_none_is_usable(received)
        usable = [item for item in received if item.scan is not None]
        new = [answering.answer(service, item, owner=caller.id, source="http") for item in usable]
        return received, new, answering.promise(service, new)

    def write() -> bytes:
        results = _results(service, received, new, heatmap=heatmap, report=report)
        return json.dumps({"request_id": request.state.request_id, "results": results}).encode()

    with service.pool.place():
        received, new, promises = await service.pool.run(work)
        await answering.written(promises)
        is_light = not heatmap and report is None
        content = write() if is_light else await service.pool.run(write)
    return Response(content, media_type="application/json")


def refuse_fields(fields: Any) -> None:
    """Refuse form fields: an option that is silently passed over would be a trap."""
    if fields:
        raise Refusal("bad-form", "Options belong into the address: /v1/predict?heatmap=true")


def refuse_if_none_is_usable(received: Sequence[Received]) -> None:
    """Raise the Refusal of the first unusable file where there is no other kind."""
    errors = [item.error for item in received if item.error is not None]
    if len(errors) < len(received):
        return
    refusal = as_refusal(errors[0])
    found = [{"index": item.index, "fact": item.error.fact} for item in received if item.error]
    raise Refusal(refusal.kind, refusal.detail, errors=found)


def _results(
    service: Service,
    received: Sequence[Received],
    new: Sequence[NewPrediction],
    *,
    heatmap: bool,
    report: str | None,
) -> list[dict[str, Any]]:
    answers = iter(new)
    found = []
    for item in received:
        if item.scan is None:
            document = to_document(answering.unusable(service, item))
            found.append(_result(item, None, document))
            continue
        answer = next(answers)
        result = _result(item, answer, to_document(answer.prediction))
        drawn = answer.prediction.heatmap
        if heatmap and drawn is not None:
            result["heatmap"] = documents.attached(pictures.heatmap_png(drawn), "image/png")
        if report is not None:
            data = pictures.report_file(answer.prediction, service.predictor.bundle, format=report)
            result["report"] = documents.attached(data, pictures.REPORT_TYPES[report])
        found.append(result)
    return found


def _result(
    item: Received, answer: NewPrediction | None, document: dict[str, Any]
) -> dict[str, Any]:
    timings = {"prepare": item.milliseconds} if answer is None else answer.timings
    return {
        "index": item.index,
        "name": item.name,
        "id": None if answer is None else answer.id,
        "input_sha256": item.sha256,
        "prediction": document,
        "timings_ms": {name: round(value, 3) for name, value in timings.items()},
        "heatmap": None,
        "report": None,
        "links": None if answer is None else documents.links_of(answer.id),
    }
