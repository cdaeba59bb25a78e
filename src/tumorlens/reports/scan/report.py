"""The report of a scan, for a person to read and a machine to read again.

`scan_html` gives one page that stands alone, `scan_pdf` a file with a page for each scan; both
say the same in the same words, and both carry the Prediction as JSON.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import ReportError
from tumorlens.files import replacing
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import to_document
from tumorlens.predictions.heatmaps import overlay
from tumorlens.records import Heatmap, Prediction, Scan
from tumorlens.reports.card import KNOWN_LIMITS, NOT_FOR
from tumorlens.reports.page import render_page
from tumorlens.reports.scan.pdf import render_pdf
from tumorlens.reports.scan.wording import describe

MAX_SCANS = 200  # in one report; beyond it a page is too heavy to open
LONGEST = 512  # pixels of the scan as shown
SIDE = 384  # of the prepared images
LEGEND = (12, 256)  # height and width of the color scale


@dataclass(frozen=True)
class Examined:
    """A prediction with the scan it is of; without one, the scan as stored is not shown."""

    prediction: Prediction
    scan: Scan | None = None


def scan_html(examined: Sequence[Examined], bundle: Bundle, *, made: datetime) -> str:
    """Return the text of one HTML page about scans that `bundle` has answered."""
    return render_page("scan.html", **_content(examined, bundle, made))


def scan_pdf(examined: Sequence[Examined], bundle: Bundle, *, made: datetime) -> bytes:
    """Return the bytes of a PDF about scans that `bundle` has answered."""
    return render_pdf(made=made, **_content(examined, bundle, made))


FORMATS: Mapping[str, Callable[..., str | bytes]] = {".html": scan_html, ".pdf": scan_pdf}


def check_report(out: Path, count: int) -> None:
    """Raise ReportError where a report of `count` scans cannot be written to `out`."""
    if out.suffix.lower() not in FORMATS:
        fix = f"Name a file that ends in {' or '.join(FORMATS)}."
        raise ReportError(out, "is no report's name", fix)
    if count > MAX_SCANS:
        fact = f"would hold {count} scans, {MAX_SCANS} at most"
        raise ReportError(out, fact, "Name fewer scans, or use --heatmaps for images of many.")


def write_scan_report(
    examined: Sequence[Examined], bundle: Bundle, *, out: Path, made: datetime
) -> list[Path]:
    """Write a report, HTML or PDF by its name, and its machine-readable twin beside it.

    Returns what was written. Raises ReportError for another name or too many scans.
    """
    check_report(out, len(examined))
    content = FORMATS[out.suffix.lower()](examined, bundle, made=made)
    twin = out.with_suffix(".json")
    for path, data in ((out, content), (twin, twin_text(examined, bundle, made=made))):
        with replacing(path) as partial:
            partial.write_bytes(data if isinstance(data, bytes) else data.encode())
    return [out, twin]


def twin_text(examined: Sequence[Examined], bundle: Bundle, *, made: datetime) -> str:
    """Return the JSON that says what the report says."""
    return json.dumps(_twin(examined, bundle, made), indent=1, allow_nan=False) + "\n"


def _twin(examined: Sequence[Examined], bundle: Bundle, made: datetime) -> dict[str, Any]:
    return {
        "schema": 1,
        "created": made.isoformat(timespec="seconds"),
        "bundle": {
            "name": bundle.name,
            "version": bundle.version,
            "sha256": bundle.sha256,
            "threshold": bundle.threshold,
            "threshold_choice": bundle.operating_point.to_json(),
            "measured": {name: row.to_json() for name, row in bundle.performance.items()},
        },
        "predictions": [to_document(item.prediction) for item in examined],
    }


def _content(examined: Sequence[Examined], bundle: Bundle, made: datetime) -> dict[str, Any]:
    return {
        "bundle": bundle,
        "created": f"{made:%Y-%m-%d %H:%M} {made.tzname() or ''}".strip(),
        "limits": KNOWN_LIMITS,
        "not_for": NOT_FOR,
        "scale": color_scale(),
        "scans": [_section(item, bundle) for item in examined],
        "twin": twin_text(examined, bundle, made=made),
    }


def _section(item: Examined, bundle: Bundle) -> dict[str, Any]:
    heatmap = item.prediction.heatmap
    return {
        "name": Path(item.prediction.path).name,
        "prediction": item.prediction,
        "words": describe(item.prediction, bundle),
        "stored": None if item.scan is None else stored_image(item.scan),
        "prepared": None if heatmap is None else prepared_images(heatmap),
        "strongest": "" if heatmap is None else strongest(heatmap),
    }


def stored_image(scan: Scan) -> NDArray[np.uint8]:
    """Show a scan as it was stored, its longer side at most LONGEST: [h, w].

    Intensities between the 0.5th and the 99.5th percentile fill the gray scale.
    """
    low, high = np.percentile(scan.pixels, [0.5, 99.5])
    gray = np.clip((scan.pixels - low) * (255 / max(high - low, 1e-12)), 0, 255).astype(np.uint8)
    scale = LONGEST / max(gray.shape)
    if scale >= 1:
        return gray
    size = tuple(max(1, round(length * scale)) for length in gray.shape[::-1])
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)


def prepared_images(heatmap: Heatmap) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Show what the network saw, and the same under its evidence: [SIDE, SIDE, 3] each."""
    both = overlay(heatmap, side=SIDE)
    return both[:, :SIDE], both[:, SIDE:]


def color_scale() -> NDArray[np.uint8]:
    """Draw the colors of the evidence, from none to this scan's strongest place."""
    height, width = LEGEND
    ramp = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
    return np.asarray(cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO), np.uint8)


def strongest(heatmap: Heatmap) -> str:
    """Say how strong the strongest place is, in logit units."""
    top = float(heatmap.evidence.max())
    if top <= 0:
        return "No place speaks for a tumor."
    return f"Strongest place: {top:+.1f} logits. Colors are relative to it."
