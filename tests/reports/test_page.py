"""Pages stand alone, escape what they show, and say what must be said."""

import base64
import re
from dataclasses import replace

import cv2
import jinja2
import numpy as np
import pytest
from markupsafe import Markup

from tumorlens.models.performance import Provenance, TrainingData, load_operating_point
from tumorlens.predictions.predictor import Predictor
from tumorlens.reports.evaluation import SplitFacts
from tumorlens.reports.page import image, render_page, share
from tumorlens.study.data.index import read_cases
from tumorlens.study.evaluation.plots import PLOTS
from tumorlens.study.evaluation.run import evaluate
from tumorlens.study.phantom import write_phantoms

SPLIT = SplitFacts("0123456789abcdef", 40, 0.0)
CHOICE = {"aim": "sensitivity >= 0.98", "part": "validation", "n": 50, "n_tumor": 20,
          "threshold": 0.5, "sensitivity": 0.98, "specificity": 0.5}  # fmt: skip


@pytest.fixture(scope="module")
def page_of(tiny_bundle, tmp_path_factory):
    """Render the page of an evaluation of phantoms, with some of its figures changed."""
    bundle = replace(
        tiny_bundle, operating_point=load_operating_point(CHOICE, threshold=0.5),
        provenance=Provenance(data=TrainingData(SPLIT.fingerprint)),
    )  # fmt: skip
    cases = read_cases(write_phantoms(tmp_path_factory.mktemp("set"), per_class=3, side=64))
    result = evaluate(cases, Predictor(bundle), part="test", split=SPLIT).result
    plots = {name: Markup("<svg></svg>") for name in PLOTS}
    nothing = {"false_negatives": [], "false_positives": []}

    def page(**changes) -> str:
        changed = replace(result, **changes)
        return render_page("evaluation.html", result=changed, plots=plots, failures=nothing,
                           examples=None, has_card=False)  # fmt: skip

    return page


def test_a_page_loads_nothing_and_runs_nothing(page_of):
    page = page_of().lower()
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:)?//", page)
    assert not re.search(r"<(script|link|iframe|object|embed)\b", page)
    assert "@import" not in page
    assert "url(" not in page


def test_a_page_says_research_use_only_before_anything_else(page_of):
    body = page_of().split("<body>")[1]
    assert body.index("Research use only") < body.index("<h1>")
    assert "Not a medical device" in body


def test_a_page_is_whole_html_in_utf8(page_of):
    page = page_of()
    assert page.startswith("<!doctype html>")
    assert '<meta charset="utf-8">' in page
    assert page.rstrip().endswith("</html>")


@pytest.mark.parametrize("place", ["bundle", "part", "datasets", "decisions"])
def test_names_are_escaped(page_of, place):
    bad = "<script>alert(1)</script>&"
    page = page_of(**{place: {bad: 3} if place in ("datasets", "decisions") else bad})
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_plots_are_put_in_as_they_are(page_of):
    assert "<svg></svg>" in page_of()


def test_a_leaking_split_is_printed_with_its_share(page_of):
    page = page_of(split=SplitFacts("0123456789abcdef", 200, 0.658))
    assert "This split leaks" in page
    assert "65.8 %" in page
    assert "200 test scans" in " ".join(page.split())


def test_a_split_that_does_not_leak_is_not_said_to(page_of):
    assert "leaks" not in page_of()


def test_a_page_without_a_split_says_so(page_of):
    page = page_of(split=SplitFacts())
    assert "No split was given" in page


@pytest.mark.parametrize("trained_on", ["fedcba9876543210", None])
def test_a_bundle_trained_with_another_split_is_said_to_be(page_of, trained_on):
    assert "trained with another split" in page_of(trained_on_split=trained_on)
    assert "trained with another split" not in page_of()


def test_a_missing_value_is_an_error_and_never_an_empty_place():
    with pytest.raises(jinja2.UndefinedError):
        render_page("evaluation.html", result={}, plots={})


def test_specificity_on_the_page_carries_the_number_of_healthy_scans(page_of):
    assert re.search(r"specificity.*\(\d\.\d+-\d\.\d+, n=6\)", page_of(), re.DOTALL)


def test_a_share_is_a_percentage():
    assert share(0.658) == "65.8 %"


def test_an_image_is_a_png_inside_the_page():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    prefix, encoded = str(image(pixels)).split(",")
    assert prefix == "data:image/png;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded, pixels)
