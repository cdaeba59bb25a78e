"""The report of a scan stands alone, as HTML and as PDF, and a machine can read it again."""

import io
import json
import re
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest
from pypdf import PdfReader
from support.spanish import english_on
from typer.testing import CliRunner

from tumorlens.cli import app
from tumorlens.errors import ReportError
from tumorlens.language import using_language
from tumorlens.predictions.document import from_document
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Prediction, Scan
from tumorlens.reports.scan.content import LONGEST, Examined, stored_image
from tumorlens.reports.scan.report import (
    MAX_SCANS,
    check_report,
    scan_html,
    scan_pdf,
    write_scan_report,
)

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
BROKEN = Prediction("Größe 脳 <b>.png", error="is not an image. Export it again.")


@pytest.fixture(scope="module")
def examined(tiny_bundle) -> list[Examined]:
    from tumorlens.study.phantom import draw_phantom

    pixels = draw_phantom("mri", "glioma", seed=3, plane="axial", side=128).pixels
    scan = Scan(pixels.astype(np.float32), "slices/glioma.png")
    found = Predictor(tiny_bundle).predict_scans([scan], heatmaps=True)[0]
    return [Examined(found, scan)]


def pdf_text(data: bytes) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(data)).pages]


def test_a_page_shows_scan_prepared_picture_and_evidence_beside_one_another(examined, tiny_bundle):
    page = scan_html(examined, tiny_bundle, made=NOW)
    assert len(re.findall(r'<img class="view"', page)) == 3
    assert "Names may be burned into it" in page


@pytest.mark.parametrize(
    "text",
    ["Research use only", "glioma.png", "Operating point", "not recorded in this bundle", "Limits",
     "2026-01-02 03:04 UTC"],
)  # fmt: skip
def test_page_and_pdf_say_the_same(examined, tiny_bundle, text):
    assert text in scan_html(examined, tiny_bundle, made=NOW)
    assert text in " ".join(pdf_text(scan_pdf(examined, tiny_bundle, made=NOW)))


def test_a_report_in_spanish_has_no_english_left(examined, tiny_bundle):
    with using_language("es"):
        page = scan_html(examined, tiny_bundle, made=NOW)
        paper = scan_pdf(examined, tiny_bundle, made=NOW)
    assert english_on(page) == []
    assert "Solo para investigación" in " ".join(pdf_text(paper))


def test_both_name_the_bundle_and_its_whole_hash(examined, tiny_bundle):
    assert tiny_bundle.sha256 in scan_html(examined, tiny_bundle, made=NOW)
    pages = pdf_text(scan_pdf(examined, tiny_bundle, made=NOW))
    assert tiny_bundle.sha256 in "".join(pages).replace(" ", "")
    assert tiny_bundle.version in pages[0]


def test_every_page_of_a_pdf_says_research_use(examined, tiny_bundle):
    pages = pdf_text(scan_pdf([*examined, Examined(BROKEN)] * 2, tiny_bundle, made=NOW))
    assert len(pages) == 4
    assert all("Research use only. Not a medical device" in page for page in pages)


def test_the_scan_as_stored_is_left_out_where_it_is_not_given(examined, tiny_bundle):
    hidden = [Examined(examined[0].prediction)]
    page = scan_html(hidden, tiny_bundle, made=NOW)
    assert len(re.findall(r'<img class="view"', page)) == 2
    shown, without = (PdfReader(io.BytesIO(scan_pdf(some, tiny_bundle, made=NOW)))
                      for some in (examined, hidden))  # fmt: skip
    assert len(without.pages[0].images) == len(shown.pages[0].images) - 1


def test_a_page_stands_alone_and_escapes_names(tiny_bundle):
    page = scan_html([Examined(BROKEN)], tiny_bundle, made=NOW)
    assert not re.search(r"<(script|link|iframe|object|embed)\b", page)
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:)?//", page)
    assert "Größe 脳 &lt;b&gt;.png" in page
    assert "<b>.png" not in page


def test_a_scan_that_could_not_be_read_is_in_the_report_with_its_error(tiny_bundle):
    assert "is not an image" in scan_html([Examined(BROKEN)], tiny_bundle, made=NOW)
    text = pdf_text(scan_pdf([Examined(BROKEN)], tiny_bundle, made=NOW))[0]
    assert "is not an image" in text
    assert "Größe ?" in text


def test_the_twin_gives_the_predictions_back(examined, tiny_bundle, tmp_path):
    some = [*examined, Examined(BROKEN)]
    written = write_scan_report(some, tiny_bundle, out=tmp_path / "deep" / "r.pdf", made=NOW)
    twin = json.loads(written[1].read_text())
    assert [path.name for path in written] == ["r.pdf", "r.json"]
    found = [from_document(row) for row in twin["predictions"]]
    assert found[0].tumor_probability == examined[0].prediction.tumor_probability
    assert found[1] == BROKEN
    assert twin["bundle"]["sha256"] == tiny_bundle.sha256
    attached = PdfReader(written[0]).attachments["predictions.json"][0]
    assert json.loads(attached) == twin


def test_the_same_answers_give_the_same_files(examined, tiny_bundle):
    for make in (scan_html, scan_pdf):
        assert make(examined, tiny_bundle, made=NOW) == make(examined, tiny_bundle, made=NOW)


@pytest.mark.parametrize(("name", "count"), [("report.docx", 1), ("report.pdf", MAX_SCANS + 1)])
def test_what_cannot_be_a_report_is_refused_before_anything_is_predicted(tmp_path, name, count):
    with pytest.raises(ReportError):
        check_report(tmp_path / name, count)


def test_a_large_scan_is_shown_small_and_a_flat_one_as_it_is():
    large = stored_image(Scan(np.random.default_rng(0).normal(size=(1500, 700)), "large"))
    assert large.shape == (LONGEST, 239)
    assert stored_image(Scan(np.full((20, 30), 7.0, np.float32), "flat")).shape == (20, 30)


@pytest.mark.parametrize("name", ["r.html", "r.PDF"])
def test_predict_writes_a_report_beside_the_table(head, tiny_bundle, tmp_path, name):
    cv2.imwrite(str(tmp_path / "slice.png"), head)
    (tmp_path / "broken.png").write_bytes(b"nothing")
    done = CliRunner().invoke(app, [
        "predict", str(tmp_path / "slice.png"), str(tmp_path / "broken.png"), "--bundle",
        str(tiny_bundle.folder), "--out", str(tmp_path / "p.csv"), "--report", str(tmp_path / name),
    ])  # fmt: skip
    assert done.exit_code == 3
    assert (tmp_path / "p.csv").is_file()
    assert (tmp_path / name).is_file()
    assert len(json.loads((tmp_path / "r.json").read_text())["predictions"]) == 2
