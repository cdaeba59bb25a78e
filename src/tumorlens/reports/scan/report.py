"""The report of a scan, for a person to read and a machine to read again.

`scan_html` gives one page that stands alone, `scan_pdf` a file with a page for each scan; both
say the same in the same words, and both carry the Prediction as JSON.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from tumorlens.errors import ReportError
from tumorlens.files import write_file
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import to_document
from tumorlens.reports.card import KNOWN_LIMITS, NOT_FOR
from tumorlens.reports.page import render_page
from tumorlens.reports.scan.content import Examined, color_scale, made_text, sections
from tumorlens.reports.scan.pdf import render_pdf

MAX_SCANS = 200  # in one report; beyond it a page is too heavy to open


def scan_html(examined: Sequence[Examined], bundle: Bundle, *, made: datetime) -> str:
    """Return the text of one HTML page about scans that `bundle` has answered."""
    return render_page(
        "scan.html",
        bundle=bundle,
        created=made_text(made),
        limits=KNOWN_LIMITS,
        not_for=NOT_FOR,
        scale=color_scale(),
        scans=sections(examined, bundle),
        twin=twin_text(examined, bundle, made=made),
    )


def scan_pdf(examined: Sequence[Examined], bundle: Bundle, *, made: datetime) -> bytes:
    """Return the bytes of a PDF about scans that `bundle` has answered."""
    twin = twin_text(examined, bundle, made=made)
    return render_pdf(sections(examined, bundle), bundle, made=made, twin=twin)


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
        write_file(path, data)
    return [out, twin]


def twin_text(examined: Sequence[Examined], bundle: Bundle, *, made: datetime) -> str:
    """Return the JSON that says what the report says."""
    twin = {
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
    return json.dumps(twin, indent=1, allow_nan=False) + "\n"
