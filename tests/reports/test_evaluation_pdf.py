"""The PDF of an evaluation: all that its page holds, research use on every sheet."""

import html
import io
import re
from dataclasses import replace
from datetime import datetime

import pytest
from pypdf import PdfReader
from support.spanish import english_on

from tumorlens.language import using_language
from tumorlens.models.performance import load_provenance
from tumorlens.predictions.predictor import Predictor
from tumorlens.reports.evaluation import SplitFacts
from tumorlens.reports.page import render_page
from tumorlens.reports.page_pdf import page_pdf
from tumorlens.reports.pdf import printable
from tumorlens.study.data.index import read_cases
from tumorlens.study.evaluation import run
from tumorlens.study.evaluation.failures import failure_gallery
from tumorlens.study.evaluation.localization import mask_gallery
from tumorlens.study.evaluation.plots import draw_plots
from tumorlens.study.evaluation.run import evaluate, write_evaluation
from tumorlens.study.phantom import write_phantoms

SPLIT = SplitFacts("0123456789abcdef", 12, 0.5)
CURVES = 300  # of a plot, at least


@pytest.fixture(scope="module")
def evaluation(tiny_bundle, tmp_path_factory):
    cases = read_cases(write_phantoms(tmp_path_factory.mktemp("set"), per_class=3, side=64))
    return evaluate(cases, Predictor(tiny_bundle), part="test", split=SPLIT)


def page_of(evaluation, bundle) -> str:
    return render_page(
        "evaluation.html",
        result=evaluation.result,
        plots=draw_plots(evaluation.result),
        failures=failure_gallery(evaluation.predictions, evaluation.result.failures),
        examples=mask_gallery(evaluation, bundle),
        has_card=True,
    )


@pytest.fixture(scope="module")
def page(evaluation, tiny_bundle) -> str:
    return page_of(evaluation, tiny_bundle)


@pytest.fixture(scope="module")
def pdf(page) -> PdfReader:
    return PdfReader(io.BytesIO(page_pdf(page, made=datetime(2026, 1, 1))))


@pytest.fixture(scope="module")
def pages(pdf) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in pdf.pages]


def test_every_page_says_research_use(pages):
    assert len(pages) > 2
    assert all("Research use only. Not a medical device" in page for page in pages)


def test_what_voids_the_figures_stands_on_the_first_page(pages):
    assert "This split leaks: 50.0 %" in pages[0]
    assert "trained with another split" in pages[0]


def test_every_part_and_every_figure_of_the_page_is_there(page, pages):
    """Words are set apart by lines and cells, so each is looked for by itself."""
    body = re.sub(r"(?s)<(style|nav|svg)\b.*?</\1>", " ", page[page.index("<h1") :])
    words = html.unescape(re.sub(r"<[^>]+>", " ", body)).split()
    printed = "".join(pages).replace(" ", "")
    assert len(words) > 1000
    assert {word for word in words if printable(word) not in printed} == set()


def test_plots_and_images_of_the_page_are_there(page, pdf):
    images = sum(len(sheet.images) for sheet in pdf.pages)
    assert images == page.count('src="data:image/webp')
    drawn = b"".join(sheet.get_contents().get_data() for sheet in pdf.pages)
    curves = len(re.findall(rb" c\b", drawn))  # letters of plots; those of sentences are none
    assert curves > CURVES * page.count("<svg") > 3 * CURVES


def test_figures_have_their_interval_and_n(pages, evaluation):
    auc = evaluation.result.detection["all"].auc
    told = f"{auc.value:.3f} ({auc.low:.3f}-{auc.high:.3f}, n={auc.n})"
    assert told in " ".join(pages)


def test_the_page_in_spanish_has_no_english_left(evaluation, tiny_bundle):
    with using_language("es"):
        page = page_of(evaluation, tiny_bundle)
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
