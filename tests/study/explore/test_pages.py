"""The page of an exploration stands alone, says what it must, and names every n."""

import base64
import gzip
import re
from dataclasses import replace

import numpy as np
import pytest
from plotly.offline import get_plotlyjs
from support.spanish import english_on

from tumorlens.errors import UnknownLabelError
from tumorlens.inputs.prepare import InputSpec
from tumorlens.language import LANGUAGES, using_language
from tumorlens.records import Estimate
from tumorlens.reports.charts.texts import translator
from tumorlens.study.audit.shortcuts import Shortcut
from tumorlens.study.explore import separation
from tumorlens.study.explore.hypothesis_tests import HYPOTHESES
from tumorlens.study.explore.pages import (
    feature_charts,
    main_contrasts,
    plotly_script,
    render_exploration,
    set_charts,
)
from tumorlens.study.explore.record import (
    ClassImages,
    Counts,
    ExploreResult,
    FeatureStudy,
    Finding,
    FrameComparison,
    ImageContrast,
    ImageSize,
    ImageSizes,
    Judgment,
    MeanTest,
)
from tumorlens.study.explore.tabular import compare_frames, study_table
from tumorlens.study.features.table import FeatureTable
from tumorlens.study.features.texture import FEATURES

N = 24
PNG = b"\x89PNG\r\n\x1a\n image "
ODD = '<b>x"&'


def table_of(shift: float) -> FeatureTable:
    values = np.abs(np.random.default_rng(3).normal(10, 1, (N, len(FEATURES))))
    values[N // 2 :, 0] += shift
    names = tuple(f"{i}.png" for i in range(N))
    sides = ("mri_healthy",) * (N // 2) + ("mri_tumor",) * (N // 2)
    return FeatureTable(names, sides, values, ("",) * N, ("",) * N)


@pytest.fixture(scope="module")
def features() -> tuple[FeatureStudy, FrameComparison]:
    groups = np.arange(N)
    with pytest.MonkeyPatch.context() as patch:
        models = {"random_forest": separation.MODELS["logistic_regression"]}
        patch.setattr(separation, "MODELS", models)
        study = study_table(table_of(4), groups, resamples=20)
    return study, compare_frames(table_of(4), table_of(0), groups, resamples=20)


def class_images(name: str, label: str | None) -> ClassImages:
    return ClassImages(
        n=N // 2, n_groups=9, label=label, modality="mri" if label else None,
        mean=f"mean_{name}.png", variability=f"variability_{name}.png",
        montage=f"montage_{name}.png", montage_n=3, montage_withheld=2,
        histogram=tuple(range(256)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(features) -> ExploreResult:
    test = MeanTest(0.001, 4.0, 9, 9, 1000, significant_share=0.25, brightest=30, darkest=-4)
    contrasts = [
        ImageContrast("mri_healthy", "mri_tumor", "difference.png", found) for found in (test, None)
    ]
    finding = Finding("MRI", "AUC", "supported", Estimate(0.91, 0.86, 0.95, 143), 120, "the note")
    judgments = [
        Judgment(h.id, h.statement, h.test, h.rule, "undecided", f"reason {h.id}", ())
        for h in HYPOTHESES
    ]
    judgments[0] = replace(judgments[0], verdict="supported", reason="", findings=(finding,))
    return ExploreResult(
        created="2026-01-02T00:00:00+00:00", folders=(ODD,), n=N, unreadable=1, groups=18,
        audit="0123456789abcdef", input=InputSpec(), features_table="features.csv",
        balance={"train": {"mri_healthy": Counts(12, 9)}, "test": {"mri_tumor": Counts(12, 9)}},
        sizes=ImageSizes((ImageSize("mri_healthy", 240, 200, 1.2, "PNG", 12),), unreadable=0),
        images={name: class_images(name, label) for name, label in (
            ("mri_healthy", "mri_healthy"), ("all mri", None))},
        contrasts=tuple(contrasts), features={"mri": features[0]}, frames={"mri": features[1]},
        shortcuts=(
            Shortcut("MRI detection", "file bytes", "as stored", 18, Estimate(0.7, 0.6, 0.8, N)),
            Shortcut("type", "file bytes", "as stored", 0, Estimate(None, None, None, 0), "none"),
        ),
        hypotheses=tuple(judgments),
    )  # fmt: skip


PACKED = re.compile(r'atob\("([^"]{1000,})"\)')


def pngs_of(result: ExploreResult) -> dict[str, bytes]:
    return {name: PNG + name.encode() for name in result.image_names()}


@pytest.fixture(scope="module")
def page(result) -> str:
    return render_exploration(result, pngs_of(result))


def test_the_page_in_spanish_has_no_english_left(result):
    with using_language("es"):
        page = render_exploration(result, pngs_of(result))
    assert [text for text in english_on(page) if "the note" not in text] == []
    assert "Niveles de gris de los cortes preparados (n=" in page


def without_library(page: str) -> str:
    return PACKED.sub("", page)


def test_the_library_of_charts_stands_in_the_page_once_and_charts_wait_for_it(page):
    assert len(PACKED.findall(page)) == 1
    assert page.index("waiting: []") < page.index("Plotly.newPlot(")
    assert len(page) < 3_000_000


def test_the_page_loads_nothing(page):
    own = without_library(page).lower()
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:)?//", own)
    assert not re.search(r"<(link|iframe|object|embed)\b", own)
    assert "<script src" not in own
    assert "@import" not in own
    assert "https://" not in own


def test_images_stand_in_the_page(page, result):
    found = [
        base64.b64decode(text) for text in re.findall(r'base64,([^"]+)"', without_library(page))
    ]
    assert set(found) == set(pngs_of(result).values())


def test_every_image_has_a_sentence_on_how_to_read_it(page):
    captions = re.findall(r"<figure><img [^>]+><figcaption>([^<]+)</figcaption>", page)
    assert len(captions) == page.count("<img ")
    assert all(len(caption.split()) >= 4 for caption in captions)


def test_every_chart_names_its_n_and_how_to_read_it(result):
    charts = set_charts(result) + feature_charts(result)
    assert len(charts) == 8
    for chart in charts:
        assert re.search(r'"title":\{"text":"[^"]*n=\d', chart.html)
        assert len(chart.how.split()) > 8


def test_charts_have_names_of_their_own(page):
    names = re.findall(r'<div id="(chart-[^"]+)"', page)
    assert len(names) == len(set(names)) == 8


def test_a_set_without_models_has_fewer_charts(result):
    study = replace(result.features["mri"], models=None)
    fewer = replace(result, features={"mri": study}, sizes=ImageSizes((), unreadable=0))
    assert len(set_charts(fewer)) + len(feature_charts(fewer)) == 5


def test_research_use_only_comes_first(page):
    body = page.split("<body>")[1]
    assert body.index("Research use only") < body.index("<h1>")
    assert "Not a medical device" in body


def test_names_are_escaped(page):
    assert ODD not in without_library(page)
    assert "&lt;b&gt;x" in page


def test_hypotheses_stand_with_figure_or_reason(page):
    assert "MRI: AUC 0.910 (0.860-0.950, n=143), 120 groups; the note" in page
    for row in HYPOTHESES[1:]:
        assert f"reason {row.id}" in page
    assert page.count('class="verdict"') == len(HYPOTHESES)


def test_a_difference_says_how_much_of_it_is_more_than_chance(page):
    assert "More than chance over 25.0 % of the square, by -4 to +30 gray levels there." in page
    assert "Too few groups to test" in page


def test_withheld_scans_are_counted(page):
    assert page.count("2 of the sample withheld.") == 2


def test_shortcuts_without_a_figure_are_left_out(page):
    assert "0.700 (0.600-0.800, n=24)" in page
    assert "<td>type</td>" not in page


def test_tumor_with_healthy_leads_the_contrasts(result):
    assert main_contrasts(result.features)["mri"].b == "mri_tumor"
    assert main_contrasts({"mri": replace(result.features["mri"], contrasts=())}) == {}


def test_the_library_is_the_installed_one():
    (packed,) = PACKED.findall(str(plotly_script()))
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()


def test_labels_that_are_not_known_are_refused():
    table = table_of(1)
    odd = FeatureTable(table.paths, ("zebra",) * N, table.values, table.errors, table.notes)
    with pytest.raises(UnknownLabelError, match="zebra"):
        study_table(odd, np.arange(N), resamples=5)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_feature_and_model_has_a_name(language):
    t = translator(language)
    assert all(t(f"feature.{name}") and t(f"feature.{name}_what") for name in FEATURES)
    assert all(t(f"model.{name}") for name in separation.MODELS)
