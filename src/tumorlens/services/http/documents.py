"""Stored records as the JSON, CSV, images and reports that routes answer with."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import cv2
from starlette.responses import Response, StreamingResponse

from tumorlens.errors import NotStoredError
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import to_document
from tumorlens.predictions.heatmaps import overlay
from tumorlens.records import Heatmap, Prediction
from tumorlens.reports.scan.content import Examined
from tumorlens.reports.scan.report import scan_html, scan_pdf
from tumorlens.services.http.problems import Refusal
from tumorlens.services.store.history import StoredPrediction, heatmap_of
from tumorlens.services.store.jobs import Job
from tumorlens.services.store.reviews import Review

Document = dict[str, object]  # as `schemas` describes it
REPORT_TYPES = {"html": "text/html; charset=utf-8", "pdf": "application/pdf"}


def json_response(
    document: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a document as a response."""
    return Response(json.dumps(document), status, headers, media_type="application/json")


def csv_response(table: Iterable[str], *, name: str) -> Response:
    """Return the pieces of a table as a file to keep."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(table, media_type="text/csv", headers=headers)


def links_of(id: str) -> dict[str, str]:
    """Return where more of a prediction is."""
    own = f"/v1/predictions/{id}"
    more = {"heatmap": "heatmap.png", "report": "report", "review": "review"}
    return {"self": own} | {name: f"{own}/{path}" for name, path in more.items()}


def stored_document(stored: StoredPrediction, reviews: Sequence[Review]) -> Document:
    """Return a stored prediction with its reviews."""
    return {
        "id": stored.id,
        "created_at": stored.created_at,
        "reader": stored.owner,
        "source": stored.source,
        "job": stored.job,
        "input_sha256": stored.input_sha256,
        "bundle_sha256": stored.bundle_sha256,
        "timings_ms": dict(stored.timings),
        "prediction": to_document(stored.prediction),
        "reviews": [vars(review) for review in reviews],
        "links": links_of(stored.id),
    }


def job_document(job: Job) -> Document:
    """Return a batch and how far it is."""
    counts = {name: getattr(job, name) for name in ("state", "total", "answered", "failed")}
    return {"id": job.id, "created_at": job.created_at, **counts, "links": job_links(job.id)}


def job_links(id: str) -> dict[str, str]:
    """Return where a batch and its results are."""
    own = f"/v1/predict/batch/{id}"
    result = f"{own}/result"
    return {
        "self": own,
        "result": result,
        "csv": f"{result}?format=csv",
        "cancel": f"/v1/jobs/{id}",
    }


def job_item(stored: StoredPrediction) -> Document:
    """Return one prediction of a batch."""
    return {
        "index": stored.position,
        "id": stored.id,
        "input_sha256": stored.input_sha256,
        "prediction": to_document(stored.prediction),
        "links": links_of(stored.id),
    }


def attached(data: bytes, media_type: str) -> dict[str, str]:
    """Return a file as part of a document."""
    return {"media_type": media_type, "base64": base64.b64encode(data).decode()}


def heatmap_png(heatmap: Heatmap) -> bytes:
    """Draw the prepared image beside its heatmap."""
    return cv2.imencode(".png", overlay(heatmap))[1].tobytes()


def stored_heatmap(stored: StoredPrediction) -> bytes:
    """Draw the heatmap of a stored prediction; raises NotStoredError where there is none."""
    heatmap = heatmap_of(stored)
    if heatmap is None:
        raise NotStoredError("heatmap", "does not exist: the scan was not usable", "See error.")
    return heatmap_png(heatmap)


def report_file(prediction: Prediction, bundle: Bundle, *, format: str) -> bytes:
    """Write the report of one prediction; the scan as stored is never in it."""
    examined, made = [Examined(prediction)], datetime.now(UTC)
    if format == "pdf":
        return scan_pdf(examined, bundle, made=made)
    return scan_html(examined, bundle, made=made).encode()


def stored_report(stored: StoredPrediction, bundle: Bundle, *, format: str) -> bytes:
    """Write the report of a stored prediction; raises Refusal if another bundle gave it.

    Its words quote what the bundle's validation showed, which another bundle cannot know.
    """
    # Answers of versions before name the graph alone.
    if stored.bundle_sha256 not in (bundle.sha256, bundle.graph_sha256):
        fact = f"It was answered by {stored.prediction.bundle}, which is not served now."
        raise Refusal("not-found", fact)
    prediction = replace(stored.prediction, heatmap=heatmap_of(stored))
    return report_file(prediction, bundle, format=format)
