"""Plots are SVG text that carries its numbers and stays the same for the same figures."""

import re
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.colors import to_hex
from support.contrast import contrast

from tumorlens.reports.evaluation import EvaluationResult, read_result
from tumorlens.study.evaluation.plots import MIN_DARK, PLOTS, draw_plots

STORED = Path(__file__).parents[2] / "support" / "study" / "evaluation" / "evaluation.json"
FEW = ("roc", "calibration", "classes", "type")


@pytest.fixture(scope="module")
def result() -> EvaluationResult:
    return read_result(STORED)


@pytest.fixture(scope="module")
def plots(result) -> dict[str, Markup]:
    return draw_plots(result)


def test_there_is_an_image_of_each_part_and_none_stays_open(plots):
    assert {*FEW, "precision_recall", "net_benefit", "risk_coverage", "subgroups"} <= set(plots)
    for plot in plots.values():
        assert isinstance(plot, Markup), "pages put it in as it is"
        assert plot.startswith("<svg")
        assert plot.rstrip().endswith("</svg>")
    assert plt.get_fignums() == []


def test_an_image_says_in_words_what_it_shows(plots):
    shown = re.match(r'<svg role="img" aria-label="([^"]+)"', plots["roc"])
    assert shown is not None
    assert "ROC, operating point marked; 1 - specificity; sensitivity; all scans: AUC" in shown[1]


def test_figures_in_the_cells_of_a_matrix_stand_out_from_them():
    cells = [to_hex(colormaps["Blues"](share)) for share in (0.0, MIN_DARK, MIN_DARK + 0.01, 1.0)]
    black, white = ([contrast(text, cell) for cell in cells] for text in ("#000", "#fff"))
    assert min(*black[:2], *white[2:]) >= 4.5


def test_without_types_there_is_no_image_of_them(result):
    assert PLOTS["type"](replace(result, type=None)) is None


def test_the_same_figures_give_the_same_text(result, plots):
    assert all(PLOTS[name](read_result(STORED)) == plots[name] for name in FEW)


def test_other_figures_give_another_text(result, plots):
    other = replace(result, roc={"all": {"fpr": (0, 0.5, 1), "tpr": (0, 0.8, 1)}})
    assert PLOTS["roc"](other) != plots["roc"]
    assert PLOTS["classes"](other) == plots["classes"]


def test_a_roc_without_any_curve_is_drawn_empty(result):
    bare = replace(result, roc={"all": None, "ct": None})
    assert PLOTS["roc"](bare).startswith("<svg")


def test_a_label_without_cases_does_not_break_its_row(result, plots):
    (first, *rest) = result.type.confusion
    empty = replace(result.type, confusion=(*rest, (0,) * len(first)))
    assert PLOTS["type"](replace(result, type=empty)) != plots["type"]


@pytest.mark.parametrize("name", FEW)
def test_an_image_refers_to_nothing_outside_itself(plots, name):
    text = plots[name]
    assert "<script" not in text
    assert all(target.startswith(("#", "data:")) for target in re.findall(r'href="([^"]*)', text))
