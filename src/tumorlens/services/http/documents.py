"""Records as the plain data that `schemas` describes."""

import base64
from typing import Any

from tumorlens.predictions.document import to_document
from tumorlens.services.store.history import StoredPrediction
from tumorlens.services.store.jobs import Job
from tumorlens.services.store.reviews import Review


def links_of(id: str) -> dict[str, str]:
    """Give where more of an answer is."""
    own = f"/v1/predictions/{id}"
    return {
        "self": own,
        "heatmap": f"{own}/heatmap.png",
        "report": f"{own}/report",
        "review": f"{own}/review",
    }


def stored_document(stored: StoredPrediction, reviews: list[Review]) -> dict[str, Any]:
    """Give an answer out of the store."""
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
        "reviews": [review_document(review) for review in reviews],
        "links": links_of(stored.id),
    }


def review_document(review: Review) -> dict[str, Any]:
    """Give a review."""
    return dict(vars(review))


def job_document(job: Job) -> dict[str, Any]:
    """Give a batch and how far it is."""
    own = f"/v1/predict/batch/{job.id}"
    return {
        "id": job.id,
        "created_at": job.created_at,
        "state": job.state,
        "total": job.total,
        "answered": job.answered,
        "failed": job.failed,
        "links": {"self": own, "result": f"{own}/result", "csv": f"{own}/result?format=csv"},
    }


def job_item(stored: StoredPrediction) -> dict[str, Any]:
    """Give one answer of a batch."""
    return {
        "index": stored.position,
        "id": stored.id,
        "input_sha256": stored.input_sha256,
        "prediction": to_document(stored.prediction),
        "links": links_of(stored.id),
    }


def attached(data: bytes, media_type: str) -> dict[str, str]:
    """Give a file inside an answer."""
    return {"media_type": media_type, "base64": base64.b64encode(data).decode()}
