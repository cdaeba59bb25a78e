"""Plots are SVG text that carries its numbers and stays the same for the same figures."""

import copy
import re

import matplotlib.pyplot as plt
import pytest
from markupsafe import Markup

from tumorlens.study.evaluation.plots import draw_plots

FIGURES = {
    "roc": {
        "all": {"fpr": [0, 0.5, 1], "tpr": [0, 1, 1], "threshold": [1, 0.5, 0]},
        "ct": None,
    },
    "detection": {
        "all": {"auc": 0.75, "n": 12, "specificity": 0.5, "sensitivity": 1.0},
        "ct": {"auc": None, "n": 3, "specificity": None, "sensitivity": 1.0},
    },
    "calibration": {
        "n": 12, "ece": 0.25,
        "bins": [{"n": 6, "predicted": 0.2, "observed": 0.0},
                 {"n": 6, "predicted": 0.7, "observed": 1.0}],
    },
    "classes": {"n": 12, "labels": ["healthy", "ct_tumor"], "atoms": ["a", "b", "c"],
                "confusion": [[7, 0, 1], [0, 4, 0]]},
    "type": {"n": 5, "names": ["glioma", "meningioma"], "confusion": [[2, 1], [0, 2]]},
}  # fmt: skip


def test_there_is_a_picture_of_each_part():
    plots = draw_plots(FIGURES)
    assert set(plots) == {"roc", "calibration", "classes", "type"}
    for plot in plots.values():
        assert isinstance(plot, Markup), "pages put it in as it is"
        assert plot.startswith("<svg")
        assert plot.rstrip().endswith("</svg>")


def test_without_types_there_is_no_picture_of_them():
    assert "type" not in draw_plots(FIGURES | {"type": None})


def test_the_same_figures_give_the_same_text():
    assert draw_plots(FIGURES) == draw_plots(copy.deepcopy(FIGURES))


def test_other_figures_give_another_text():
    other = copy.deepcopy(FIGURES)
    other["roc"]["all"]["tpr"] = [0, 0.8, 1]
    assert draw_plots(other)["roc"] != draw_plots(FIGURES)["roc"]
    assert draw_plots(other)["classes"] == draw_plots(FIGURES)["classes"]


def test_a_roc_without_any_curve_is_drawn_empty():
    bare = FIGURES | {"roc": {"all": None, "ct": None}}
    assert draw_plots(bare)["roc"].startswith("<svg")


def test_a_label_without_cases_does_not_break_its_row():
    empty = copy.deepcopy(FIGURES)
    empty["type"]["confusion"] = [[2, 1], [0, 0]]
    assert draw_plots(empty)["type"] != draw_plots(FIGURES)["type"]


def test_no_picture_stays_open():
    draw_plots(FIGURES)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", ["roc", "calibration", "classes", "type"])
def test_a_picture_refers_to_nothing_outside_itself(name):
    text = draw_plots(FIGURES)[name]
    assert "<script" not in text
    assert all(target.startswith(("#", "data:")) for target in re.findall(r'href="([^"]*)', text))
