"""Figures as SVG and PNG, in the colors that all plots of an evaluation share."""

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import Formatter, FuncFormatter

from tumorlens.files import replacing
from tumorlens.language import translate

NAMES = {"all": "all scans", "ct": "CT", "mri": "MRI"}
# Told apart without color vision.
ORANGE, BLUE, GRAY, PURPLE = "#b35806", "#2b6ca3", "#4d4d4d", "#7b3294"
COLORS = {"all": "#1c2733", "ct": ORANGE, "mri": BLUE}
QUIET = "0.6"


def translate_figure(figure: Figure) -> None:
    """Put all words of a figure into the language of pages."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            names = axis.get_major_formatter()
            if isinstance(names, FuncFormatter):  # of names; it would write its own words again
                axis.set_major_formatter(FuncFormatter(_translated(names)))
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(translate(text.get_text()))


def _translated(names: Formatter) -> Callable[[float, int | None], str]:
    return lambda value, at: translate(names(value, at))


def svg_file(figure: Figure) -> str:
    """Return a figure as a file of SVG and close it; the same figure gives the same text."""
    translate_figure(figure)
    text = io.StringIO()
    # Fixed ids and no date: the same figures give the same page.
    with mpl.rc_context({"svg.hashsalt": "tumorlens"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    return text.getvalue()


def svg(figure: Figure) -> Markup:
    """Return a figure as SVG to be put into a page, with its words as alt text, and close it."""
    text, words = svg_file(figure), figure_words(figure)
    start = text.index("<svg") + len("<svg")
    alt = Markup('<svg role="img" aria-label="{}"').format(words)
    return alt + Markup(text[start:])


def figure_words(figure: Figure) -> str:
    """Return titles, names of axes and legends of a figure, each once."""
    words: dict[str, None] = {}
    for axes in figure.axes:
        legend = axes.get_legend()
        named = [text.get_text() for text in legend.get_texts()] if legend else []
        words |= dict.fromkeys([axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), *named])
    return "; ".join(" ".join(word.split()) for word in words if word.strip())


def write_png(figure: Figure, out: Path, *, dpi: int = 110) -> None:
    """Write a figure as PNG, whole or not at all, and close it."""
    translate_figure(figure)
    with replacing(out) as partial:
        figure.savefig(partial, dpi=dpi, format="png")
    plt.close(figure)
