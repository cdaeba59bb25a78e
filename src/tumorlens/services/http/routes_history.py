"""The history: answers that were given, their heatmaps and reports, and readers' reviews."""

import json
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response, StreamingResponse

from tumorlens.services.http.authenticator import Caller
from tumorlens.services.http.documents import review_document, stored_document
from tumorlens.services.http.openapi import PredictionId, ReportFormat, file_response
from tumorlens.services.http.pictures import (
    REPORT_TYPES,
    heatmap_png,
    stored_heatmap,
    stored_report,
)
from tumorlens.services.http.schemas import (
    HistoryQuery,
    Page,
    ReviewDocument,
    ReviewRequest,
    StoredDocument,
)
from tumorlens.services.http.service import caller_of, service_of
from tumorlens.services.store.export import history_table
from tumorlens.services.store.history import (
    Selection,
    find_predictions,
    get_prediction,
    iter_predictions,
)
from tumorlens.services.store.reviews import Review, reviews_by_prediction, save_review

router = APIRouter(tags=["history"])


@router.get(
    "/v1/predictions",
    responses={200: {"model": Page, "content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def history(request: Request, asked: Annotated[HistoryQuery, Query()]) -> Response:
    """List answers, newest first: one's own, or all with the scope read."""
    service, caller = service_of(request), caller_of_history(request)
    selection = Selection(
        owner=caller.sees, decision=asked.decision, modality=asked.modality, bundle=asked.bundle,
        source=asked.source, input_sha256=asked.input_sha256, since=_text(asked.since),
        until=_text(asked.until),
    )  # fmt: skip
    if asked.format == "csv":
        headers = {"Content-Disposition": 'attachment; filename="predictions.csv"'}
        rows = history_table(service.store, iter_predictions(service.store, selection))
        return StreamingResponse(rows, media_type="text/csv", headers=headers)
    found = find_predictions(service.store, selection, limit=asked.limit, before=asked.before)
    reviews = reviews_by_prediction(service.store, [stored.id for stored in found])
    page = {
        "predictions": [stored_document(row, reviews.get(row.id, [])) for row in found],
        "next": _next_page(request, found[-1].number) if len(found) == asked.limit else None,
    }
    return Response(json.dumps(page), media_type="application/json")


def _next_page(request: Request, before: int) -> str:
    asked = {name: value for name, value in request.query_params.items() if name != "before"}
    return f"/v1/predictions?{urlencode({**asked, 'before': before})}"


@router.get("/v1/predictions/{id}", responses={200: {"model": StoredDocument}})
def one(request: Request, id: PredictionId) -> Response:
    """Give one answer with its reviews."""
    service, caller = service_of(request), caller_of_history(request)
    stored = get_prediction(service.store, id, owner=caller.sees)
    reviews = reviews_by_prediction(service.store, [id]).get(id, [])
    return Response(json.dumps(stored_document(stored, reviews)), media_type="application/json")


@router.get(
    "/v1/predictions/{id}/heatmap.png",
    response_class=Response,
    responses=file_response("Image and heatmap side by side.", "image/png"),
)
def heatmap(request: Request, id: PredictionId) -> Response:
    """Draw the heatmap; on black, unless the service keeps prepared images."""
    service, caller = service_of(request), caller_of_history(request)
    stored = get_prediction(service.store, id, owner=caller.sees)
    return Response(heatmap_png(stored_heatmap(stored)), media_type="image/png")


@router.get(
    "/v1/predictions/{id}/report",
    response_class=Response,
    responses=file_response("The report.", "text/html", "application/pdf"),
)
def report(request: Request, id: PredictionId, format: ReportFormat = "html") -> Response:
    """Write the report of an answer that the bundle in use has given."""
    service, caller = service_of(request), caller_of_history(request)
    stored = get_prediction(service.store, id, owner=caller.sees)
    data = stored_report(stored, service.predictor.bundle, format=format)
    return Response(data, media_type=REPORT_TYPES[format])


@router.post(
    "/v1/predictions/{id}/review", status_code=201, responses={201: {"model": ReviewDocument}}
)
def review(request: Request, id: PredictionId, body: Annotated[ReviewRequest, Body()]) -> Response:
    """Agree with an answer, or correct it with a reason."""
    service, caller = service_of(request), caller_of_history(request)
    given = Review(
        prediction_id=id, reader=caller.id, verdict=body.verdict, reason=body.reason,
        decision=getattr(body, "decision", ""), type=getattr(body, "type", None) or "",
    )  # fmt: skip
    saved = save_review(service.store, given, owner=caller.sees)
    return Response(
        json.dumps(review_document(saved)), status_code=201, media_type="application/json"
    )


def caller_of_history(request: Request) -> Caller:
    """Say who asks: with the scope predict one sees one's own answers, with read all."""
    caller = request.scope["state"]["caller"]
    return caller if caller.may("read") else caller_of(request, "predict")


def _text(at: datetime | None) -> str | None:
    """Write a time as the store does."""
    if at is None:
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
