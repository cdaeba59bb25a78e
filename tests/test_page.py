"""Pages stand alone, escape what they show, and say what must be said."""

import base64
import copy
import re

import cv2
import jinja2
import numpy as np
import pytest
from markupsafe import Markup

from tumorlens.reports.page import figure, picture, render_page, share

DETECTION = {"n": 40, "n_tumor": 20, "n_healthy": 18, "n_groups": 35, "threshold": 0.4,
             "auc": 0.9, "auc_low": 0.8, "auc_high": 0.95, "sensitivity": 0.9, "specificity": 0.7,
             "f1": None}  # fmt: skip
FIGURES = {
    "created": "2026-01-01T00:00:00+00:00",
    "bundle": "tiny@0123456789ab",
    "part": "test",
    "split": {"fingerprint": "0123456789abcdef", "n": 40, "share": 0.0},
    "trained_on_split": "0123456789abcdef",
    "n": 41,
    "unreadable": 1,
    "intervals": "95 %",
    "threshold_choice": {"part": "validation", "n": 50, "aim": "sensitivity >= 0.98"},
    "datasets": {"set": 41},
    "decisions": {"tumor": 22, "no tumor": 18},
    "detection": {"all": DETECTION},
    "type": None,
    "calibration": {"n": 40, "ece": 0.03, "brier": 0.1},
    "localisation": None,
}


def page_of(**changes) -> str:
    plots = {"roc": Markup("<svg></svg>")}
    return render_page("evaluation.html", figures=copy.deepcopy(FIGURES) | changes, plots=plots)


def test_a_page_loads_nothing_and_runs_nothing():
    page = page_of().lower()
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:)?//", page)
    assert not re.search(r"<(script|link|iframe|object|embed)\b", page)
    assert "@import" not in page
    assert "url(" not in page


def test_a_page_says_research_use_only_before_anything_else():
    body = page_of().split("<body>")[1]
    assert body.index("Research use only") < body.index("<h1>")
    assert "Not a medical device" in body


def test_a_page_is_whole_html_in_utf8():
    page = page_of()
    assert page.startswith("<!doctype html>")
    assert '<meta charset="utf-8">' in page
    assert page.rstrip().endswith("</html>")


@pytest.mark.parametrize("place", ["bundle", "part", "datasets", "decisions"])
def test_names_are_escaped(place):
    bad = "<script>alert(1)</script>&"
    page = page_of(**{place: {bad: 3} if place in ("datasets", "decisions") else bad})
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_plots_are_put_in_as_they_are():
    assert "<svg></svg>" in page_of()


def test_a_leaking_split_is_printed_with_its_share():
    page = page_of(split={"fingerprint": "0123456789abcdef", "n": 200, "share": 0.658})
    assert "This split leaks" in page
    assert "65.8 %" in page
    assert "200 test scans" in " ".join(page.split())


def test_a_split_that_does_not_leak_is_not_said_to():
    assert "leaks" not in page_of()


def test_a_page_without_a_split_says_so():
    page = page_of(split={"fingerprint": None, "n": 0, "share": None})
    assert "No split was given" in page


@pytest.mark.parametrize("trained_on", ["fedcba9876543210", None])
def test_a_bundle_trained_with_another_split_is_said_to_be(trained_on):
    assert "trained with another split" in page_of(trained_on_split=trained_on)
    assert "trained with another split" not in page_of()


def test_a_missing_value_is_an_error_and_never_an_empty_place():
    with pytest.raises(jinja2.UndefinedError):
        render_page("evaluation.html", figures={}, plots={})


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"auc": 0.91, "auc_low": 0.86, "auc_high": 0.95, "n": 143}, "0.910 (0.860-0.950, n=143)"),
        ({"auc": 0.91, "n": 3}, "0.910 (n=3)"),
        ({"auc": 0.91, "auc_low": None, "auc_high": None, "n": 3}, "0.910 (n=3)"),
        ({"auc": None, "n": 3}, "not measurable here"),
        ({"auc": 0.0, "auc_low": 0.0, "auc_high": 0.0, "n": 1}, "0.000 (0.000-0.000, n=1)"),
    ],
)
def test_a_figure_carries_its_interval_and_n(found, text):
    assert figure(found, "auc") == text


def test_sensitivity_carries_the_number_of_tumors():
    assert figure(DETECTION, "sensitivity", "n_tumor") == "0.900 (n=20)"


def test_specificity_on_the_page_carries_the_number_of_healthy_scans():
    assert "0.700 (n=18)" in page_of()


def test_a_share_is_a_percentage():
    assert share(0.658) == "65.8 %"


def test_a_picture_is_a_png_inside_the_page():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    prefix, encoded = str(picture(pixels)).split(",")
    assert prefix == "data:image/png;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded, pixels)
