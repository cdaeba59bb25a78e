"""Figures as SVG text, in the colors that all plots of an evaluation share."""

import io

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from markupsafe import Markup
from matplotlib.figure import Figure

NAMES = {"all": "all scans", "ct": "CT", "mri": "MRI"}
COLORS = {"all": "#1c2733", "ct": "#b35806", "mri": "#2b6ca3"}  # told apart without color vision
QUIET = "0.6"


def svg(figure: Figure) -> Markup:
    """Write a figure and close it; the same figure gives the same text."""
    text = io.StringIO()
    # Fixed ids and no date: the same figures give the same page.
    with mpl.rc_context({"svg.hashsalt": "tumorlens"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    return Markup(text.getvalue()[text.getvalue().index("<svg") :])
