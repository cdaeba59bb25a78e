"""The page of an exploration stands alone, says what it must, and names every n."""

import base64
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from tumorlens.errors import UnknownLabelError
from tumorlens.study.explore.charts import draw_charts, plotly_script
from tumorlens.study.explore.hypotheses import HYPOTHESES
from tumorlens.study.explore.page import main_contrasts, render_exploration
from tumorlens.study.explore.record import finite
from tumorlens.study.explore.tabular import compare_frames, study_table
from tumorlens.study.features.picture import FEATURES
from tumorlens.study.features.table import FeatureTable

N = 24
PNG = b"\x89PNG\r\n\x1a\n picture "
ODD = '<b>x"&'


def table_of(shift: float) -> FeatureTable:
    values = np.abs(np.random.default_rng(3).normal(10, 1, (N, len(FEATURES))))
    values[N // 2 :, 0] += shift
    names = tuple(f"{i}.png" for i in range(N))
    sides = ("mri_healthy",) * (N // 2) + ("mri_tumor",) * (N // 2)
    return FeatureTable(names, sides, values, ("",) * N)


@pytest.fixture(scope="module")
def features() -> tuple[dict[str, Any], dict[str, Any]]:
    from tumorlens.study.explore import separation

    groups = np.arange(N)
    with pytest.MonkeyPatch.context() as patch:
        models = {"random_forest": separation.MODELS["logistic_regression"]}
        patch.setattr(separation, "MODELS", models)
        study = study_table(table_of(4), groups, resamples=20)
    return finite(study), finite(compare_frames(table_of(4), table_of(0), groups, resamples=20))


def row_of(name: str, label: str | None) -> dict[str, Any]:
    return {
        "n": N // 2, "n_groups": 9, "label": label, "modality": "mri" if label else None,
        "mean": f"mean_{name}.png", "variability": f"variability_{name}.png",
        "montage": f"montage_{name}.png", "montage_n": 3, "montage_withheld": 2,
        "histogram": list(range(256)),
    }  # fmt: skip


@pytest.fixture
def figures(features) -> dict[str, Any]:
    test = {"p": 0.001, "threshold": 4.0, "n_groups_first": 9, "n_groups_second": 9,
            "permutations": 1000, "significant_share": 0.25, "brightest": 30.0,
            "darkest": -4.0}  # fmt: skip
    difference = {"first": "mri_healthy", "second": "mri_tumor", "picture": "difference.png"}
    finding = {"where": "MRI", "measure": "AUC", "verdict": "supported", "value": 0.91,
               "value_low": 0.86, "value_high": 0.95, "n": 143, "n_groups": 120,
               "note": "the note"}  # fmt: skip
    hypotheses = [
        {"id": h.id, "statement": h.statement, "test": h.test, "rule": h.rule,
         "verdict": "undecided", "reason": f"reason {h.id}", "findings": []}
        for h in HYPOTHESES
    ]  # fmt: skip
    hypotheses[0] |= {"verdict": "supported", "reason": "", "findings": [finding]}
    return {
        "folders": [ODD], "created": "2026-01-02T00:00:00+00:00", "tumorlens": "0",
        "audit": "0123456789abcdef", "n": N, "unreadable": 1, "groups": 18,
        "input": {"side": 128}, "features_table": "features.csv",
        "balance": {"train": {"mri_healthy": {"n": 12, "n_groups": 9}},
                    "test": {"mri_tumor": {"n": 12, "n_groups": 9}}},
        "sizes": {"points": [{"label": "mri_healthy", "width": 240, "height": 200,
                              "aspect": 1.2, "format": "PNG", "n": 12}], "unreadable": 0},
        "pictures": {"mri_healthy": row_of("h", "mri_healthy"), "all mri": row_of("m", None)},
        "differences": [difference | {"test": test}, difference | {"test": None}],
        "features": {"mri": features[0]}, "frames": {"mri": features[1]},
        "shortcuts": [{"task": "MRI detection", "family": "file bytes", "stage": "as stored",
                       "n": N, "n_groups": 18, "auc": 0.7, "auc_low": 0.6, "auc_high": 0.8,
                       "reason": ""},
                      {"task": "type", "family": "file bytes", "stage": "as stored", "n": 0,
                       "n_groups": 0, "auc": None, "auc_low": None, "auc_high": None,
                       "reason": "no files"}],
        "hypotheses": hypotheses,
    }  # fmt: skip


def drawn_for(figures: Mapping[str, Any]) -> dict[str, bytes]:
    names = [row["picture"] for row in figures["differences"]]
    for row in figures["pictures"].values():
        names += [row["mean"], row["variability"], row["montage"]]
    return {name: PNG + name.encode() for name in names}


@pytest.fixture
def page(figures) -> str:
    return render_exploration(figures, drawn_for(figures))


def without_library(page: str) -> str:
    return page.replace(get_plotlyjs(), "")


def test_the_library_of_charts_stands_in_the_page_once(page):
    assert page.count(get_plotlyjs()) == 1
    assert page.index(get_plotlyjs()) < page.index("Plotly.newPlot(")


def test_the_page_loads_nothing(page):
    own = without_library(page).lower()
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:)?//", own)
    assert not re.search(r"<(link|iframe|object|embed)\b", own)
    assert "<script src" not in own
    assert "@import" not in own
    assert "https://" not in own


def test_pictures_stand_in_the_page(page, figures):
    found = [
        base64.b64decode(text) for text in re.findall(r'base64,([^"]+)"', without_library(page))
    ]
    assert set(found) == set(drawn_for(figures).values())


def test_every_picture_has_a_sentence_on_how_to_read_it(page):
    captions = re.findall(r"<figure><img [^>]+><figcaption>([^<]+)</figcaption>", page)
    assert len(captions) == page.count("<img ")
    assert all(len(caption.split()) >= 4 for caption in captions)


def test_every_chart_names_its_n_and_how_to_read_it(figures):
    charts = [chart for part in draw_charts(figures).values() for chart in part]
    assert len(charts) == 8
    for chart in charts:
        assert re.search(r'"title":\{"text":"[^"]*n=\d', chart.html)
        assert len(chart.how.split()) > 8


def test_charts_have_names_of_their_own(page):
    names = re.findall(r'<div id="(chart-[^"]+)"', page)
    assert len(names) == len(set(names)) == 8


def test_a_set_without_models_has_fewer_charts(figures):
    figures["features"]["mri"] = figures["features"]["mri"] | {"models": None}
    figures["sizes"]["points"] = []
    assert sum(len(part) for part in draw_charts(figures).values()) == 5


def test_research_use_only_comes_first(page):
    body = page.split("<body>")[1]
    assert body.index("Research use only") < body.index("<h1>")
    assert "Not a medical device" in body


def test_names_are_escaped(page):
    assert ODD not in without_library(page)
    assert "&lt;b&gt;x" in page


def test_hypotheses_are_told_with_figure_or_reason(page):
    assert "MRI: AUC 0.910 (0.860-0.950), n=143, 120 groups; the note" in page
    for row in HYPOTHESES[1:]:
        assert f"reason {row.id}" in page
    assert page.count('class="verdict"') == len(HYPOTHESES)


def test_a_difference_says_how_much_of_it_is_more_than_chance(page):
    assert "More than chance over 25.0 % of the square, by -4 to +30 grey levels there." in page
    assert "Too few groups to test" in page


def test_withheld_scans_are_counted(page):
    assert page.count("2 of the sample withheld.") == 2


def test_shortcuts_without_a_figure_are_left_out(page):
    assert "0.700 (0.600-0.800, n=24)" in page
    assert "<td>type</td>" not in page


def test_tumor_with_healthy_leads_the_contrasts(figures):
    assert main_contrasts(figures)["mri"]["b"] == "mri_tumor"
    figures["features"]["mri"] = figures["features"]["mri"] | {"contrasts": []}
    assert main_contrasts(figures) == {}


def test_the_library_is_the_installed_one():
    assert str(plotly_script()) == f"<script>{get_plotlyjs()}</script>"


def test_labels_that_are_not_known_are_refused():
    table = table_of(1)
    odd = FeatureTable(table.paths, ("zebra",) * N, table.values, table.errors)
    with pytest.raises(UnknownLabelError, match="zebra"):
        study_table(odd, np.arange(N), resamples=5)
