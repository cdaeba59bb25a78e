"""The PDF of an evaluation: figures, plots and pictures, research use on every page."""

import io
from dataclasses import replace

import pytest
from pypdf import PdfReader
from support.spanish import english_on

from tumorlens.language import using_language
from tumorlens.models.performance import load_provenance
from tumorlens.predictions.predictor import Predictor
from tumorlens.reports.evaluation.pdf import evaluation_pdf
from tumorlens.reports.evaluation.result import SplitFacts
from tumorlens.reports.page import render_page
from tumorlens.study.data.index import read_cases
from tumorlens.study.evaluation import run
from tumorlens.study.evaluation.failures import failure_gallery
from tumorlens.study.evaluation.localization import mask_gallery
from tumorlens.study.evaluation.plots import draw_plots
from tumorlens.study.evaluation.run import evaluate, write_evaluation
from tumorlens.study.phantom import write_phantoms

SPLIT = SplitFacts("0123456789abcdef", 12, 0.5)


@pytest.fixture(scope="module")
def evaluation(tiny_bundle, tmp_path_factory):
    cases = read_cases(write_phantoms(tmp_path_factory.mktemp("set"), per_class=3, side=64))
    return evaluate(cases, Predictor(tiny_bundle), part="test", split=SPLIT)


@pytest.fixture(scope="module")
def pages(evaluation, tiny_bundle) -> list[str]:
    data = evaluation_pdf(
        result=evaluation.result,
        plots=draw_plots(evaluation.result),
        failures=failure_gallery(evaluation.predictions, evaluation.result.failures),
        examples=mask_gallery(evaluation, tiny_bundle),
    )
    return [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(data)).pages]


def test_every_page_says_research_use(pages):
    assert len(pages) > 2
    assert all("Research use only. Not a medical device" in page for page in pages)


def test_what_voids_the_figures_stands_on_the_first_page(pages):
    assert "This split leaks: 50.0 %" in pages[0]
    assert "trained with another split" in pages[0]


@pytest.mark.parametrize(
    "title",
    ["Operating point", "Detection", "Calibration", "Subgroups", "Where it looked", "Missed tumors",
     "CLAIM 2024", "TRIPOD+AI"],
)  # fmt: skip
def test_every_section_is_there(pages, title):
    assert title in " ".join(pages)


def test_figures_have_their_interval_and_n(pages, evaluation):
    auc = evaluation.result.detection["all"].auc
    told = f"{auc.value:.3f} ({auc.low:.3f}-{auc.high:.3f}, n={auc.n})"
    assert told in " ".join(pages)


def test_the_page_in_spanish_has_no_english_left(evaluation, tiny_bundle):
    with using_language("es"):
        page = render_page(
            "evaluation.html",
            result=evaluation.result,
            plots=draw_plots(evaluation.result),
            failures=failure_gallery(evaluation.predictions, evaluation.result.failures),
            examples=mask_gallery(evaluation, tiny_bundle),
            has_card=True,
        )
    assert '<html lang="es">' in page
    assert english_on(page) == []


def test_pictures_of_heatmaps_and_masks_are_on_the_pages(evaluation, tiny_bundle):
    shown = mask_gallery(evaluation, tiny_bundle)
    rows = [*shown["hits"], *shown["misses"]]
    assert rows
    assert all(image.shape == (112, 224, 3) for row, image in rows if not row.hidden)
    assert mask_gallery(evaluation, None) is None


def test_a_card_with_the_figures_comes_where_the_bundle_says_where_it_is_from(
    evaluation, tiny_bundle, tmp_path, monkeypatch
):
    details = {
        "created": "2026-01-01T00:00:00+00:00", "parameters": 7, "validation": {"epoch": 1},
        "recipe": {"name": "tiny", "summary": "a test", "network": "one layer", "seed": 0},
        "data": {"split": "0123456789abcdef", "leaks": {"share": 0.0},
                 "cases": {"train": {}, "val": {}, "test": {}}},
    }  # fmt: skip
    monkeypatch.setattr(run, "draw_plots", lambda result: {})
    write_evaluation(evaluation, tmp_path / "a", bundle=tiny_bundle)
    assert not (tmp_path / "a" / "card.md").exists()
    write_evaluation(
        evaluation, tmp_path / "b", bundle=replace(tiny_bundle, provenance=load_provenance(details))
    )
    card = (tmp_path / "b" / "card.md").read_text()
    assert card.startswith("---\nlicense: unknown\n")
    assert "model-index:" in card
    assert "type: roc_auc" in card
    assert "## Measured" in card
