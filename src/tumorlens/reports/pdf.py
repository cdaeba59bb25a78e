"""A PDF that says on every page what must be said; set in fonts that every reader has."""

from datetime import datetime

import cv2
import numpy as np
from fpdf import FPDF
from numpy.typing import NDArray
from PIL import Image

from tumorlens.language import translate

MARGIN = 15  # mm
INK, QUIET, WARN, WASH = (28, 39, 51), (91, 104, 117), (138, 75, 0), (255, 246, 234)
FONT = "Helvetica"
NOTICE = "Research use only. Not a medical device. Nothing here is advice about a patient."


class Document(FPDF):
    """A4 pages with the notice above and the page's number below."""

    def __init__(self, title: str, *, made: datetime) -> None:
        super().__init__(format="A4")
        self.set_margins(MARGIN, MARGIN)
        self.set_auto_page_break(True, margin=18)
        self.set_title(printable(title))
        self.set_subject(NOTICE)
        self.set_creator("Tumorlens")
        self.set_creation_date(made)
        self.set_lang("en")

    def header(self) -> None:
        """Print the notice."""
        self.set_font(FONT, "B", 9)
        self.set_text_color(*WARN)
        self.set_fill_color(*WASH)
        self.cell(0, 6, translate(NOTICE), fill=True, new_x="LMARGIN", new_y="NEXT")
        self.ln(2)
        self.set_text_color(*INK)

    def footer(self) -> None:
        """Print the page's number."""
        self.set_y(-13)
        self.set_font(FONT, "", 8)
        self.set_text_color(*QUIET)
        self.cell(0, 5, f"{self.title} - {self.page_no()} / {{nb}}", align="R")
        self.set_text_color(*INK)

    def heading(self, text: str, *, size: float = 12) -> None:
        """Print a heading, in the language of reports; never as the last line of a page."""
        if self.will_page_break(size / 2 + 14):
            self.add_page()
        self.ln(1.5)
        self.set_font(FONT, "B", size)
        self._write(text, height=size * 0.46)
        self.ln(0.5)

    def text_block(self, text: str, *, size: float = 9, quiet: bool = False) -> None:
        """Print a paragraph."""
        self.set_font(FONT, "", size)
        self.set_text_color(*(QUIET if quiet else INK))
        self._write(text, height=size * 0.5)
        self.set_text_color(*INK)
        self.ln(0.8)

    def warning(self, text: str) -> None:
        """Print a paragraph that must not be overlooked."""
        self.set_font(FONT, "B", 9)
        self.set_text_color(*WARN)
        self.set_fill_color(*WASH)
        self._write(text, height=5, fill=True)
        self.set_text_color(*INK)
        self.ln(1)

    def _write(self, text: str, *, height: float, fill: bool = False) -> None:
        """Print a text in the language of reports."""
        text = printable(translate(text))
        self.multi_cell(0, height, text, align="L", fill=fill, new_x="LMARGIN", new_y="NEXT")


def image_of(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return pixels, [h, w] gray or [h, w, 3] BGR, as fpdf takes them."""
    if pixels.ndim == 2:
        return Image.fromarray(pixels)
    return Image.fromarray(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8))


def printable(text: str) -> str:
    """Replace what the fonts of every reader lack by a question mark.

    >>> printable("Größe 3 µm, 脳.png")
    'Größe 3 µm, ?.png'
    """
    return text.encode("latin-1", "replace").decode("latin-1")
