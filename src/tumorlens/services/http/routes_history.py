"""The history: answers that were given, their heatmaps and reports, and readers' reviews."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response

from tumorlens.services.http.documents import (
    REPORT_TYPES,
    csv_response,
    json_response,
    stored_document,
    stored_heatmap,
    stored_report,
)
from tumorlens.services.http.schemas import (
    HistoryQuery,
    Page,
    PredictionId,
    ReportFormat,
    ReviewDocument,
    ReviewRequest,
    StoredDocument,
    describe_file,
)
from tumorlens.services.http.service import caller_of, service_of
from tumorlens.services.store.export import history_table
from tumorlens.services.store.history import (
    Selection,
    StoredPrediction,
    find_predictions,
    get_prediction,
    iter_predictions,
)
from tumorlens.services.store.reviews import Review, reviews_by_prediction, save_review

SCOPES = ("predict", "read")  # with predict one sees one's own answers, with read all
router = APIRouter(tags=["history"])


@router.get(
    "/v1/predictions",
    responses={200: {"model": Page, "content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def history(request: Request, asked: Annotated[HistoryQuery, Query()]) -> Response:
    """List answers, newest first: one's own, or all with the scope read."""
    store, caller = service_of(request).store, caller_of(request, *SCOPES)
    selection = Selection(
        owner=caller.sees, decision=asked.decision, modality=asked.modality, bundle=asked.bundle,
        source=asked.source, input_sha256=asked.input_sha256, since=_text(asked.since),
        until=_text(asked.until),
    )  # fmt: skip
    if asked.format == "csv":
        rows = iter_predictions(store, selection)
        return csv_response(history_table(store, rows), name="predictions")
    found = find_predictions(store, selection, limit=asked.limit, before=asked.before)
    reviews = reviews_by_prediction(store, [stored.id for stored in found])
    is_full = len(found) == asked.limit
    page = {
        "predictions": [stored_document(row, reviews.get(row.id, [])) for row in found],
        "next": _next_page(request, found[-1].number) if is_full else None,
    }
    return json_response(page)


def _next_page(request: Request, before: int) -> str:
    asked = {name: value for name, value in request.query_params.items() if name != "before"}
    return f"/v1/predictions?{urlencode({**asked, 'before': before})}"


@router.get("/v1/predictions/{id}", responses={200: {"model": StoredDocument}})
def one(request: Request, id: PredictionId) -> Response:
    """Return one answer with its reviews."""
    stored = _stored(request, id)
    reviews = reviews_by_prediction(service_of(request).store, [id]).get(id, [])
    return json_response(stored_document(stored, reviews))


@router.get(
    "/v1/predictions/{id}/heatmap.png",
    response_class=Response,
    responses=describe_file("Image and heatmap side by side.", "image/png"),
)
async def heatmap(request: Request, id: PredictionId) -> Response:
    """Draw the heatmap; on black, unless the service keeps prepared images."""
    data = await _in_turn(request, lambda: stored_heatmap(_stored(request, id)))
    return Response(data, media_type="image/png")


@router.get(
    "/v1/predictions/{id}/report",
    response_class=Response,
    responses=describe_file("The report.", "text/html", "application/pdf"),
)
async def report(request: Request, id: PredictionId, format: ReportFormat = "html") -> Response:
    """Write the report of an answer that the bundle in use has given."""
    bundle = service_of(request).predictor.bundle
    data = await _in_turn(
        request, lambda: stored_report(_stored(request, id), bundle, format=format)
    )
    return Response(data, media_type=REPORT_TYPES[format])


async def _in_turn(request: Request, draw: Callable[[], bytes]) -> bytes:
    """Draw when it is the caller's turn: a page takes a tenth of a second."""
    pool, owner = service_of(request).pool, caller_of(request, *SCOPES).id
    with pool.slot(owner):
        return await pool.run(draw, owner=owner)


@router.post(
    "/v1/predictions/{id}/review", status_code=201, responses={201: {"model": ReviewDocument}}
)
def review(request: Request, id: PredictionId, body: Annotated[ReviewRequest, Body()]) -> Response:
    """Agree with an answer, or correct it with a reason."""
    service, caller = service_of(request), caller_of(request, *SCOPES)
    given = Review(
        prediction_id=id, reader=caller.id, verdict=body.verdict, reason=body.reason,
        decision=getattr(body, "decision", ""), type=getattr(body, "type", None) or "",
    )  # fmt: skip
    return json_response(vars(save_review(service.store, given, owner=caller.sees)), status=201)


def _stored(request: Request, id: str) -> StoredPrediction:
    caller = caller_of(request, *SCOPES)
    return get_prediction(service_of(request).store, id, owner=caller.sees)


def _text(at: datetime | None) -> str | None:
    """Write a time in UTC as the store does."""
    return None if at is None else at.isoformat(timespec="microseconds").replace("+00:00", "Z")
