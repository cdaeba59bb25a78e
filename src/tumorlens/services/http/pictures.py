"""Heatmaps and reports of answers, as files."""

from dataclasses import replace
from datetime import UTC, datetime

import cv2

from tumorlens.errors import NotStoredError
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.heatmaps import overlay
from tumorlens.records import Heatmap, Prediction
from tumorlens.reports.scan.report import Examined, scan_html, scan_pdf
from tumorlens.services.http.problems import Refusal
from tumorlens.services.store.history import StoredPrediction, heatmap_of

REPORT_TYPES = {"html": "text/html; charset=utf-8", "pdf": "application/pdf"}


def heatmap_png(heatmap: Heatmap) -> bytes:
    """Draw the prepared image beside its heatmap."""
    return cv2.imencode(".png", overlay(heatmap))[1].tobytes()


def stored_heatmap(stored: StoredPrediction) -> Heatmap:
    """Give the heatmap of a stored answer; raises NotStoredError where there is none."""
    heatmap = heatmap_of(stored)
    if heatmap is None:
        raise NotStoredError("heatmap", "does not exist: the scan was not usable", "See error.")
    return heatmap


def report_file(prediction: Prediction, bundle: Bundle, *, format: str) -> bytes:
    """Write the report of one answer; the scan as stored is never in it."""
    examined, made = [Examined(prediction)], datetime.now(UTC)
    if format == "pdf":
        return scan_pdf(examined, bundle, made=made)
    return scan_html(examined, bundle, made=made).encode()


def stored_report(stored: StoredPrediction, bundle: Bundle, *, format: str) -> bytes:
    """Write the report of a stored answer; raises Refusal if another bundle gave it.

    Its words quote what the bundle's validation showed, which another bundle cannot know.
    """
    if stored.bundle_sha256 != bundle.sha256:
        raise Refusal(
            "not-found", f"It was answered by {stored.prediction.bundle}, which is not served now."
        )
    return report_file(
        replace(stored.prediction, heatmap=heatmap_of(stored)), bundle, format=format
    )
