"""An evaluation on paper: the figures of the page, its plots and its pictures."""

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from fpdf.fonts import FontFace

from tumorlens.reports.evaluation.tables import SECTIONS, Figures, Rows
from tumorlens.reports.page import share
from tumorlens.reports.pdf import FONT, Document, image_of, printable

_METADATA = re.compile(r"<metadata>.*?</metadata>", re.S)
_HALF, _WHOLE = 88.0, 180.0  # mm
_WIDE = {"subgroups", "controls", "robustness"}
_PICTURE = (58.0, 29.0)  # mm


def evaluation_pdf(
    *,
    figures: Figures,
    plots: Mapping[str, Any],
    failures: Mapping[str, Sequence[Mapping[str, Any]]],
    examples: Mapping[str, Sequence[Mapping[str, Any]]] | None,
) -> bytes:
    """Give the bytes of the PDF of an evaluation; `plots` are SVG texts by name."""
    made = datetime.fromisoformat(figures["created"])
    pdf = Document(f"Evaluation of {figures['bundle']}", made=made)
    pdf.add_page()
    pdf.heading("Evaluation", size=17)
    pdf.text_block(_where_from(figures), quiet=True)
    for warning in _warnings(figures):
        pdf.warning(warning)
    for title, section, names in SECTIONS:
        _section(pdf, title, section(figures), [plots[name] for name in names if name in plots],
                 wide=bool(_WIDE & set(names)))  # fmt: skip
    if examples:
        for kind, title in (("hits", "Strongest place inside the marked tumor"),
                            ("misses", "Strongest place outside it")):  # fmt: skip
            _gallery(pdf, title, examples[kind], lambda row: f"{row['label']}, {row['case']}")
    for kind, title in (("false_negatives", "Missed tumors"), ("false_positives", "False alarms")):
        count = figures["failures"][kind]["total"]
        _gallery(pdf, f"{title}: {count}, the worst first", failures[kind], _failure_caption)
    for name, rows in figures["checklists"].items():
        cells = [(row["number"], row["topic"], row["answer"]) for row in rows]
        _section(pdf, name, [("item", "topic", "this run"), *cells], [], widths=(10, 50, 120))
    return bytes(pdf.output())


def _where_from(f: Figures) -> str:
    sets = ", ".join(f"{name} ({count})" for name, count in f["datasets"].items())
    return (
        f"Bundle {f['bundle']}, part {f['part']}, split {f['split']['fingerprint'] or 'none'}, "
        f"{f['n']} scans ({f['unreadable']} unreadable) of {sets}, {f['created']}. "
        f"Intervals: {f['intervals']}."
    )


def _warnings(f: Figures) -> Iterable[str]:
    split = f["split"]
    if split["share"]:
        yield (
            f"This split leaks: {share(split['share'])} of its {split['n']} test scans have a "
            "relative in training or validation. These figures flatter."
        )
    if not split["fingerprint"]:
        yield "No split was given: nothing says that the bundle did not train on these scans."
    elif split["fingerprint"] != f["trained_on_split"]:
        yield "The bundle was trained with another split: it may have seen some of these scans."
    if not f["calibration"]["calibrated"]:
        yield "This bundle has no calibration: its probabilities are those of the network."


def _section(
    pdf: Document,
    title: str,
    rows: Rows,
    plots: Sequence[Any],
    *,
    wide: bool = False,
    widths: tuple[int, ...] | None = None,
) -> None:
    """Print a table, its first row the head, and plots below it; nothing where both are empty."""
    if not rows and not plots:
        return
    pdf.heading(title)
    if rows:
        _table(pdf, rows, widths)
    _plots(pdf, plots, width=_WHOLE if wide else _HALF)


def _table(pdf: Document, rows: Rows, widths: tuple[int, ...] | None) -> None:
    head = any(rows[0])
    pdf.set_font(FONT, "", 6.5 if len(rows[0]) > 5 else 7.5)
    with pdf.table(
        borders_layout="HORIZONTAL_LINES", text_align="LEFT", line_height=3.6, padding=0.6,
        first_row_as_headings=head, headings_style=FontFace(emphasis="BOLD"), col_widths=widths,
        repeat_headings=1 if head else 0,
    ) as table:  # fmt: skip
        for cells in rows if head else rows[1:]:
            table.row([printable(cell) for cell in cells])
    pdf.ln(2)


def _plots(pdf: Document, plots: Sequence[Any], *, width: float) -> None:
    """Print SVG plots, two in a row where they are narrow."""
    for start in range(0, len(plots), 2 if width < _WHOLE / 2 else 1):
        row = plots[start : start + (2 if width < _WHOLE / 2 else 1)]
        heights = [width * _shape(str(plot)) for plot in row]
        if pdf.will_page_break(max(heights)):
            pdf.add_page()
        top = pdf.get_y()
        pdf.set_fill_color(0)  # of letters, which the plots leave to the page
        for at, plot in enumerate(row):
            data = io.BytesIO(_METADATA.sub("", str(plot)).encode())
            pdf.image(data, pdf.l_margin + at * (width + 4), top, w=width)
        pdf.set_y(top + max(heights) + 2)


def _shape(svg: str) -> float:
    """Give height by width of an SVG text."""
    box = re.search(r'viewBox="\S+ \S+ (\S+) ([^"]+)"', svg)
    return float(box[2]) / float(box[1]) if box else 0.75


def _gallery(
    pdf: Document,
    title: str,
    rows: Sequence[Mapping[str, Any]],
    caption: Callable[[Mapping[str, Any]], str],
) -> None:
    """Print small pictures, three in a row, with what is hidden left grey."""
    pdf.heading(title)
    if not rows:
        pdf.text_block("None.")
        return
    width, height = _PICTURE
    for start in range(0, len(rows), 3):
        if pdf.will_page_break(height + 10):
            pdf.add_page()
        top = pdf.get_y()
        for at, row in enumerate(rows[start : start + 3]):
            x = pdf.l_margin + at * (width + 3)
            if row["picture"] is None:
                pdf.set_fill_color(200, 200, 200)
                pdf.rect(x, top, width, height, style="F")
            else:
                pdf.image(image_of(row["picture"]), x, top, width, height)
            pdf.set_xy(x, top + height + 0.5)
            pdf.set_font(FONT, "", 6.5)
            pdf.multi_cell(width, 2.9, printable(caption(row))[:150], align="L")
        pdf.set_xy(pdf.l_margin, top + height + 9.5)


def _failure_caption(row: Mapping[str, Any]) -> str:
    elsewhere = f"; elsewhere {', '.join(row['other_labels'])}" if row["other_labels"] else ""
    hidden = f" ({row['hidden']})" if row["hidden"] else ""
    return f"{row['label']}, {row['tumor_probability']:.3f}, {row['decision']}{elsewhere}. " \
           f"{row['case']}{hidden}"  # fmt: skip
