"""A page on paper: its headings, sentences, tables, plots and images, in their order."""

import base64
import html
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html.parser import HTMLParser
from itertools import groupby
from typing import Any

from fpdf.fonts import FontFace
from PIL import Image

from tumorlens.reports.pdf import FONT, Document, printable

_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
_SVG = re.compile(r"<svg\b.*?</svg>", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_BOX = re.compile(r'viewBox="\S+ \S+ (\S+) ([^"]+)"')
_SIZES = {"h1": 17, "h2": 12, "h3": 10, "summary": 10}  # points
_TEXTS = {*_SIZES, "p", "th", "td", "figcaption"}
_HALF, _WHOLE, _GAP = 88.0, 180.0, 4.0  # mm
_NARROW = 400  # points; two plots that are no wider stand side by side
_IMAGE = (58.0, 29.0)  # mm, three in a row
_LINE = 2.9  # mm, of a caption
_HIGHEST = 240.0  # mm, what a page has room for
_COLUMN = (8, 60)  # letters that a column takes its width from, at least and at most


@dataclass(frozen=True)
class _Text:
    kind: str  # the class of a paragraph, or the tag
    text: str


@dataclass(frozen=True)
class _Table:
    rows: list[list[str]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)  # of all cells of the first row that hold text


@dataclass(frozen=True)
class _Plot:
    svg: str

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in points."""
        found = _BOX.search(self.svg)
        return (float(found[1]), float(found[2])) if found else (_NARROW, _NARROW)


@dataclass(frozen=True)
class _Image:
    data: bytes | None  # None where the page shows none
    caption: str


def page_pdf(page: str, *, made: datetime) -> bytes:
    """Return the bytes of the PDF of a page of `render_page`, from its first heading on."""
    title = _TITLE.search(page)
    pdf = Document(html.unescape(title[1]) if title else "", made=made)
    pdf.add_page()
    reader = _Reader(_SVG.findall(page))
    reader.feed(_SVG.sub("<svg>", page[page.index("<h1") :]))
    for kind, blocks in groupby(reader.blocks, key=type):
        _PRINTERS[kind](pdf, list(blocks))
    return bytes(pdf.output())


class _Reader(HTMLParser):
    """Collects the blocks of a page; `plots` are its drawings in their order."""

    def __init__(self, plots: Iterable[str]) -> None:
        super().__init__()
        self.blocks: list[_Text | _Table | _Plot | _Image] = []
        self._plots = iter(plots)
        self._text: list[str] = []
        self._class = ""
        self._table = _Table()
        self._image: bytes | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in _TEXTS:
            self._text, self._class = [], found.get("class") or ""
        elif tag == "br":
            self._text.append("\n")
        elif tag == "table":
            self._table = _Table()
        elif tag == "tr":
            self._table.rows.append([])
        elif tag == "figure":
            self._image = None
        elif tag == "img":
            self._image = base64.b64decode((found["src"] or "").partition(",")[2])
        elif tag == "svg":
            self.blocks.append(_Plot(_METADATA.sub("", next(self._plots))))

    def handle_data(self, data: str) -> None:
        self._text.append(re.sub(r"\s+", " ", data))

    def handle_endtag(self, tag: str) -> None:
        text = "\n".join(
            line.strip() for line in re.sub(" +", " ", "".join(self._text)).split("\n")
        )
        if tag in ("th", "td"):
            self._table.rows[-1].append(text)
            if text and len(self._table.rows) == 1:
                self._table.tags.append(tag)
        elif tag == "table":
            self.blocks.append(self._table)
        elif tag == "figcaption":
            self.blocks.append(_Image(self._image, text))
        elif tag in _TEXTS and text:
            self.blocks.append(_Text(self._class or tag, text))


def _print_texts(pdf: Document, texts: Sequence[_Text]) -> None:
    for one in texts:
        if one.kind in _SIZES:
            pdf.heading(one.text, size=_SIZES[one.kind])
        elif one.kind == "notice":
            pdf.warning(one.text)
        else:
            pdf.text_block(one.text, quiet=one.kind == "quiet")


def _print_tables(pdf: Document, tables: Sequence[_Table]) -> None:
    """Print tables, each column as wide as its longest cell wants."""
    for one in tables:
        has_head = "td" not in one.tags
        columns = range(max(map(len, one.rows)))
        rows = [[*row, *[""] * (len(columns) - len(row))] for row in one.rows]
        low, high = _COLUMN
        widths = [max(low, min(high, 2 + max(len(row[at]) for row in rows))) for at in columns]
        pdf.set_font(FONT, "", 6.5 if len(columns) > 5 else 7.5)
        with pdf.table(
            borders_layout="HORIZONTAL_LINES", text_align="LEFT", line_height=3.6, padding=0.6,
            first_row_as_headings=has_head, headings_style=FontFace(emphasis="BOLD"),
            col_widths=widths, repeat_headings=int(has_head),
        ) as table:  # fmt: skip
            for cells in rows:
                table.row([printable(cell) for cell in cells])
        pdf.ln(2)


def _print_plots(pdf: Document, plots: Sequence[_Plot]) -> None:
    """Print plots, two in a row where they are narrow."""
    for is_narrow, alike in groupby(plots, key=lambda one: one.size[0] <= _NARROW):
        for row in _in_rows(list(alike), 2 if is_narrow else 1):
            width = _HALF if is_narrow else min(_WHOLE, row[0].size[0] * 25.4 / 72)
            width *= min(1, *(_HIGHEST * one.size[0] / one.size[1] / width for one in row))
            heights = [width * one.size[1] / one.size[0] for one in row]
            top = _room_for(pdf, max(heights))
            pdf.set_fill_color(0)  # of letters, which the plots leave to the page
            for at, one in enumerate(row):
                left = pdf.l_margin + at * (width + _GAP)
                pdf.image(io.BytesIO(one.svg.encode()), left, top, w=width)
            pdf.set_y(top + max(heights) + 2)


def _print_images(pdf: Document, images: Sequence[_Image]) -> None:
    """Print small images over their captions, three in a row, with what is hidden left gray."""
    width, height = _IMAGE
    for row in _in_rows(images, 3):
        pdf.set_font(FONT, "", 6.5)
        captions = [printable(one.caption) for one in row]
        under = max(_height_of(pdf, text, width) for text in captions)
        top = _room_for(pdf, height + under + 1)
        for at, one in enumerate(row):
            left = pdf.l_margin + at * (width + _GAP - 1)
            if one.data is None:
                pdf.set_fill_color(200, 200, 200)
                pdf.rect(left, top, width, height, style="F")
            else:
                pdf.image(Image.open(io.BytesIO(one.data)), left, top, width, height)
            pdf.set_xy(left, top + height + 0.5)
            pdf.multi_cell(width, _LINE, captions[at], align="L")
        pdf.set_xy(pdf.l_margin, top + height + under + 1)


def _height_of(pdf: Document, text: str, width: float) -> float:
    found = pdf.multi_cell(width, _LINE, text, align="L", dry_run=True, output="HEIGHT")
    assert isinstance(found, float)
    return found


def _in_rows(items: Sequence[Any], many: int) -> list[Sequence[Any]]:
    return [items[start : start + many] for start in range(0, len(items), many)]


def _room_for(pdf: Document, height: float) -> float:
    """Return where something of this height begins, on a new page where it must."""
    if pdf.will_page_break(height):
        pdf.add_page()
    return pdf.get_y()


_PRINTERS: Mapping[type, Callable[[Document, Sequence[Any]], None]] = {
    _Text: _print_texts,
    _Table: _print_tables,
    _Plot: _print_plots,
    _Image: _print_images,
}
