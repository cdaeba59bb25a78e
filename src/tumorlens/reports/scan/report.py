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

from tumorlens.errors import ReportError
from tumorlens.files import replacing
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import to_document
from tumorlens.records import Prediction, Scan
from tumorlens.reports.limits import KNOWN_LIMITS, NOT_FOR
from tumorlens.reports.page import render_page
from tumorlens.reports.scan.images import (
    color_scale,
    prepared_pictures,
    stored_picture,
    strongest,
)
from tumorlens.reports.scan.pdf import render_pdf
from tumorlens.reports.scan.wording import describe

MOST_SCANS = 200  # in one report; beyond it a page is too heavy to open


@dataclass(frozen=True)
class Examined:
    """A prediction with the scan it is of; without one, the scan as stored is not shown."""

    prediction: Prediction
    scan: Scan | None = None


def scan_html(examined: Sequence[Examined], bundle: Bundle, *, made: datetime) -> str:
    """Give the text of one HTML page about scans that `bundle` has answered."""
    return render_page("scan.html", **_content(examined, bundle, made))


def scan_pdf(examined: Sequence[Examined], bundle: Bundle, *, made: datetime) -> bytes:
    """Give the bytes of a PDF about scans that `bundle` has answered."""
    return render_pdf(made=made, **_content(examined, bundle, made))


FORMATS: Mapping[str, Callable[..., str | bytes]] = {".html": scan_html, ".pdf": scan_pdf}


def check_report(out: Path, count: int) -> None:
    """Raise ReportError where a report of `count` scans cannot be written to `out`."""
    if out.suffix.lower() not in FORMATS:
        fix = f"Name a file that ends in {' or '.join(FORMATS)}."
        raise ReportError(out, "is no report's name", fix)
    if count > MOST_SCANS:
        fact = f"would hold {count} scans, {MOST_SCANS} at most"
        raise ReportError(out, fact, "Name fewer scans, or use --heatmaps for pictures of many.")


def write_scan_report(
    examined: Sequence[Examined], bundle: Bundle, *, out: Path, made: datetime
) -> list[Path]:
    """Write a report, HTML or PDF by its name, and its machine-readable twin beside it.

    Gives what was written. Raises ReportError for another name or too many scans.
    """
    check_report(out, len(examined))
    content = FORMATS[out.suffix.lower()](examined, bundle, made=made)
    twin = out.with_suffix(".json")
    for path, data in ((out, content), (twin, twin_text(examined, bundle, made=made))):
        with replacing(path) as partial:
            partial.write_bytes(data if isinstance(data, bytes) else data.encode())
    return [out, twin]


def twin_text(examined: Sequence[Examined], bundle: Bundle, *, made: datetime) -> str:
    """Give the JSON that says what the report says."""
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
        "stored": None if item.scan is None else stored_picture(item.scan),
        "prepared": None if heatmap is None else prepared_pictures(heatmap),
        "strongest": "" if heatmap is None else strongest(heatmap),
    }
