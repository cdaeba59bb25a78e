"""The report of a scan, for a person to read and a machine to read again.

`scan_html` gives one page that stands alone, `scan_pdf` a file with a page for each scan; both
say the same in the same words, and both carry the Prediction as JSON.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tumorlens.errors import ReportError
from tumorlens.files import write_file
from tumorlens.language import translate
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import to_document
from tumorlens.predictions.series_answer import SeriesPrediction, describe_series
from tumorlens.records import Prediction
from tumorlens.reports.card import KNOWN_LIMITS, NOT_FOR
from tumorlens.reports.page import render_page
from tumorlens.reports.pdf import FONT, INK, QUIET, WARN, Document, image_of, printable
from tumorlens.reports.scan.content import Examined, Section, color_scale, made_text, sections
from tumorlens.reports.viewer.content import ViewerContent, script, script_json, style

MAX_SCANS = 200  # in one report; beyond it a page is too heavy to open
_VIEW, _GAP = 58.0, 3.0  # mm
_BAR = 180.0  # mm


def scan_html(
    examined: Sequence[Examined],
    bundle: Bundle,
    *,
    made: datetime,
    series: Sequence[SeriesPrediction] = (),
    viewers: Sequence[ViewerContent] = (),
) -> str:
    """Return the text of one HTML page about scans that `bundle` has answered."""
    return render_page(
        "scan.html",
        bundle=bundle,
        created=made_text(made),
        limits=[translate(limit) for limit in KNOWN_LIMITS],
        not_for=translate(NOT_FOR),
        scale=color_scale(),
        scans=sections(examined, bundle),
        series=[(answer, translate(describe_series(answer))) for answer in series],
        viewers=[(content["name"], script_json(content)) for content in viewers],
        viewer_script=Markup(script().replace("export function", "function")),
        viewer_style=Markup(style()),
        twin=twin_text(examined, bundle, made=made, series=series),
    )


def scan_pdf(
    examined: Sequence[Examined],
    bundle: Bundle,
    *,
    made: datetime,
    series: Sequence[SeriesPrediction] = (),
    viewers: Sequence[ViewerContent] = (),
) -> bytes:
    """Return the bytes of a PDF about scans that `bundle` has answered, their JSON attached.

    `viewers` are for pages that a browser opens; paper has none.
    """
    scans = sections(examined, bundle)
    title = scans[0].name if len(scans) == 1 else translate("{0} scans").format(len(scans))
    pdf = Document(f"Tumorlens: {title}", made=made)
    if series:
        pdf.add_page()
        pdf.heading("Answers for series", size=15)
    for answer in series:
        _fact(pdf, translate("Series"), answer.series)
        pdf.text_block(describe_series(answer))
    for scan in scans:
        pdf.add_page()
        pdf.heading(scan.name, size=15)
        text = translate(
            "Made {time} by bundle {bundle}.", time=made_text(made), bundle=bundle.version
        )
        pdf.text_block(text, quiet=True)
        _draw_scan(pdf, scan, bundle)
    _write_limits(pdf, bundle)
    pdf.embed_file(
        bytes=twin_text(examined, bundle, made=made, series=series).encode(),
        basename="predictions.json", mime_type="application/json",
        modification_date=made, desc="The same for machines", associated_file_relationship="DATA",
    )  # fmt: skip
    return bytes(pdf.output())


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
    examined: Sequence[Examined],
    bundle: Bundle,
    *,
    out: Path,
    made: datetime,
    series: Sequence[SeriesPrediction] = (),
    viewers: Sequence[ViewerContent] = (),
) -> list[Path]:
    """Write a report, HTML or PDF by its name, and its machine-readable twin beside it.

    Returns what was written. Raises ReportError for another name or too many scans.
    """
    check_report(out, len(examined))
    content = FORMATS[out.suffix.lower()](
        examined, bundle, made=made, series=series, viewers=viewers
    )
    twin = out.with_suffix(".json")
    write_file(out, content)
    write_file(twin, twin_text(examined, bundle, made=made, series=series))
    return [out, twin]


def twin_text(
    examined: Sequence[Examined],
    bundle: Bundle,
    *,
    made: datetime,
    series: Sequence[SeriesPrediction] = (),
) -> str:
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
        "series": [answer.to_document() for answer in series],
        "readers": [item.reader for item in examined],
        "predictions": [to_document(item.prediction) for item in examined],
    }
    return json.dumps(twin, indent=1, allow_nan=False) + "\n"


# --- the pages of the PDF -------------------------------------------------------------------


def _draw_scan(pdf: Document, scan: Section, bundle: Bundle) -> None:
    words, found = scan.words, scan.prediction
    if found.error:
        pdf.warning(f"{words.headline}: {scan.name} {found.error}")
        return
    pdf.heading(words.headline, size=13)
    if words.answer:
        pdf.text_block(words.answer, size=10)
        _draw_probability(pdf, found, bundle)
    if words.warning:
        pdf.warning(words.warning)
    _draw_images(pdf, scan)
    for name, text in (
        ("Reader", scan.reader),
        ("Operating point", words.operating_point),
        ("Such probabilities", words.similar),
        ("Type", words.type),
        ("Modality", words.modality),
        ("While reading", "; ".join(found.notes)),
        ("File", found.path),
    ):
        if text:
            _fact(pdf, translate(name), text)


def _fact(pdf: Document, name: str, text: str) -> None:
    pdf.set_font(FONT, "B", 9)
    pdf.cell(36, 4.6, name)
    pdf.set_font(FONT, "", 9)
    pdf.multi_cell(0, 4.6, printable(text), align="L", new_x="LMARGIN", new_y="NEXT")
    pdf.ln(0.8)


def _draw_probability(pdf: Document, found: Prediction, bundle: Bundle) -> None:
    """Draw the probability between 0 and 1, with the band of no answer and the threshold."""
    left, top, height = pdf.l_margin, pdf.get_y() + 4.5, 4.0
    band = bundle.uncertainty_band

    def bar(start: float, end: float, color: tuple[int, int, int]) -> None:
        pdf.set_fill_color(*color)
        pdf.rect(left + _BAR * start, top, _BAR * (end - start), height, style="F")

    bar(0, 1, (228, 233, 238))
    bar(band.low, band.high, (243, 207, 159))
    pdf.set_fill_color(43, 108, 163)
    pdf.rect(left, top + 1.2, _BAR * (found.tumor_probability or 0), height - 2.4, style="F")
    pdf.set_draw_color(*WARN)
    pdf.set_line_width(0.6)
    at = left + _BAR * bundle.threshold
    pdf.line(at, top - 1, at, top + height + 1)
    pdf.set_font(FONT, "", 8)
    pdf.set_text_color(*WARN)
    label = translate("threshold {0}").format(f"{bundle.threshold:.3f}")
    width = pdf.get_string_width(label)
    pdf.text(min(max(at - width / 2, left), left + _BAR - width), top - 1.6, label)
    pdf.set_text_color(*QUIET)
    pdf.text(left, top + height + 3.4, "0")
    pdf.text(left + _BAR - 2, top + height + 3.4, "1")
    pdf.set_text_color(*INK)
    pdf.set_y(top + height + 5.5)


def _draw_images(pdf: Document, scan: Section) -> None:
    """Print the images in a row, each with what it is below it."""
    views: list[tuple[NDArray[np.uint8], str]] = []
    if scan.stored is not None:
        views.append((scan.stored, translate("As stored. Names may be burned into it.")))
    if scan.prepared is not None:
        plain, colored = scan.prepared
        views.append((plain, translate("As the network saw it: the head alone.")))
        text = translate("Evidence for a tumor, none to strongest. {0}").format(scan.strongest)
        views.append((colored, text))
    if not views:
        return
    top, left = pdf.get_y(), pdf.l_margin
    for at, (pixels, caption) in enumerate(views):
        x = left + at * (_VIEW + _GAP)
        pdf.set_fill_color(0, 0, 0)
        pdf.rect(x, top, _VIEW, _VIEW, style="F")
        pdf.image(image_of(pixels), x, top, _VIEW, _VIEW, keep_aspect_ratio=True, alt_text=caption)
        if scan.prepared is not None and at == len(views) - 1:
            pdf.image(image_of(color_scale()), x, top + _VIEW + 0.6, _VIEW, 2)
        pdf.set_xy(x, top + _VIEW + 3.2)
        pdf.set_font(FONT, "", 8)
        pdf.multi_cell(_VIEW, 3.8, printable(caption), align="L")
    pdf.set_xy(left, top + _VIEW + 15.5)


def _write_limits(pdf: Document, bundle: Bundle) -> None:
    pdf.heading("Limits")
    for limit in KNOWN_LIMITS:
        pdf.text_block("- " + translate(limit).replace("`", ""), size=8)
    not_for = translate(NOT_FOR)
    text = translate("Do not use it to: {0}{1}").format(not_for[0].lower(), not_for[1:])
    pdf.text_block(text, size=8)
    pdf.text_block(
        "Evidence says which places moved this answer, not where a tumor ends. Bundle "
        f"{bundle.name}, SHA-256 of its files {bundle.sha256}.", size=8, quiet=True,
    )  # fmt: skip
