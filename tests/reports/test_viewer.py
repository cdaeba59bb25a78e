"""Facts about the viewer: what it is given, and what it does in a browser, without a server."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from tumorlens.images.listing import list_series
from tumorlens.images.readers import find_scans, read_scan
from tumorlens.predictions.predictor import Predictor
from tumorlens.predictions.series_answer import SeriesAnswers
from tumorlens.predictions.series_rows import iter_predict_series
from tumorlens.records import Heatmap, Prediction, Scan
from tumorlens.reports.scan.content import Examined
from tumorlens.reports.scan.report import scan_html
from tumorlens.reports.viewer.content import ViewedSlice, viewer_content, viewers
from tumorlens.study.phantom.volumes import draw_volume, write_dicom

pytest.importorskip("playwright")
from support.browser_dashboard import CHROMIUM, chromium

in_a_browser = pytest.mark.skipif(not CHROMIUM, reason="needs chromium")
HU = np.arange(-200, 200, dtype=np.float32).reshape(20, 20)
HEATMAP = Heatmap(np.eye(4, dtype=np.float32), np.zeros((64, 64), np.uint8), np.eye(3)[:2] * 2)


def viewed(pixels=HU, **changes) -> ViewedSlice:
    scan = Scan(pixels, "a", modality="ct", spacing_mm=(2.0, 1.0))
    found = Prediction("a", tumor_probability=0.9, decision="tumor", heatmap=HEATMAP)
    return ViewedSlice(scan, replace(found, **changes))


def test_whole_numbers_keep_their_values():
    (found,) = viewer_content([viewed()], name="a")["slices"]
    assert (found["low"], found["step"]) == (-200.0, 1.0)
    assert found["mm"] == [2.0, 1.0]


def test_evidence_lies_over_the_slice_by_the_way_back_from_the_prepared_image():
    (found,) = viewer_content([viewed()], name="a")["slices"]
    assert found["heat"]["matrix"] == [[0.5, 0, 0], [0, 0.5, 0]]


def test_out_of_scope_shows_no_probability_and_no_evidence():
    (found,) = viewer_content([viewed(decision="out of scope")], name="a")["slices"]
    assert (found["probability"], found["heat"]) == (None, None)


def test_ct_starts_in_the_window_of_the_brain_and_offers_others():
    found = viewer_content([viewed()], name="a")
    assert found["window"] == (40.0, 80.0)
    assert list(found["presets"]) == ["brain", "subdural", "stroke", "bone"]


def test_a_long_series_is_shrunk_to_what_a_browser_holds():
    big = viewed(np.zeros((4000, 4000), np.float32))
    found = viewer_content([big, big], name="a")
    assert found["isShrunk"]
    assert sum(s["width"] * s["height"] for s in found["slices"]) <= 24_100_000


def test_an_image_without_a_header_has_no_letters_and_its_own_viewer():
    (found,) = viewers([Prediction("x/b.png")], [Scan(HU, "b.png")])
    assert found["name"] == "b.png"
    assert found["slices"][0]["letters"] is None


@pytest.fixture(scope="module")
def page(tmp_path_factory, tiny_bundle):
    """A report of a phantom series, open in a browser, and every request that it made."""
    folder = tmp_path_factory.mktemp("viewer")
    write_dicom(draw_volume("ct", "glioma", seed=2, side=96), folder / "ct", seed=2)
    files = find_scans([folder / "ct"])
    listing = list_series(files)
    bundle = replace(tiny_bundle, ood_reference=replace(tiny_bundle.ood_reference, limit=2.0))
    answers = SeriesAnswers(listing.series, bundle, all_series=False)
    rows = iter_predict_series(Predictor(bundle), files, listing, heatmaps=True)
    found = list(answers.listen(rows))
    scans = [None if p.error else read_scan(p.path) for p in found]
    shown = viewers(found, scans, series=listing.series, answers=list(answers.found.values()))
    html = scan_html([Examined(found[0])], bundle, made=datetime.now(UTC), viewers=shown)
    (folder / "report.html").write_text(html)
    with chromium() as browser:
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        asked: list[str] = []
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(f"file://{folder}/report.html")
        opened.wait_for_selector(".tl-viewer[data-slice]")
        yield opened, asked


def state(page) -> dict[str, float]:
    """Return what the viewer shows after it has drawn all that was asked."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 30)))")
    return {
        name: float(page.locator(".tl-viewer").get_attribute(f"data-{name}"))
        for name in ("slice", "width", "zoom")
    }


@in_a_browser
def test_the_wheel_goes_through_slices_and_the_strip_jumps(page):
    opened, _ = page
    view = opened.locator(".tl-views canvas").first
    before = state(opened)["slice"]
    view.hover()
    opened.mouse.wheel(0, 100)
    assert state(opened)["slice"] == before + 1
    strip = opened.locator(".tl-strip")
    edge = strip.bounding_box()
    strip.click(position={"x": edge["width"] * 4.5 / 24, "y": 20})
    assert state(opened)["slice"] == 5
    assert strip.get_attribute("aria-valuenow") == "5"
    assert "Slice 5 of 24" in opened.locator(".tl-said").inner_text()


@in_a_browser
def test_dragging_changes_the_window_and_a_preset_sets_it(page):
    opened, _ = page
    edge = opened.locator(".tl-views canvas").first.bounding_box()
    opened.mouse.move(edge["x"] + 300, edge["y"] + 300)
    opened.mouse.down()
    opened.mouse.move(edge["x"] + 400, edge["y"] + 300)
    opened.mouse.up()
    assert state(opened)["width"] == pytest.approx(80 * np.exp(100 / 250))
    opened.locator(".tl-tools select").select_option("bone")
    assert state(opened)["width"] == 2800


@in_a_browser
def test_keys_zoom_and_reset_work_and_a_second_view_shows_the_slice_alone(page):
    opened, _ = page
    view = opened.locator(".tl-views canvas").first
    view.focus()
    before = state(opened)["slice"]
    opened.keyboard.press("ArrowUp")
    assert state(opened)["slice"] == before + 1
    opened.get_by_role("button", name="Zoom in").click()
    assert state(opened)["zoom"] == 1.25
    opened.get_by_role("button", name="Reset").click()
    assert state(opened) == {"slice": before + 1, "width": 80, "zoom": 1}
    opened.get_by_role("button", name="Two views").click()
    state(opened)
    assert opened.locator(".tl-views canvas").nth(1).is_visible()


@in_a_browser
def test_the_slice_is_large_and_nothing_is_asked_of_a_server(page):
    opened, asked = page
    assert opened.locator(".tl-views").bounding_box()["width"] >= 700
    assert [url for url in asked if not url.startswith("file:")] == []
    assert "Research use only" in opened.locator(".tl-line").inner_text()


def test_a_name_cannot_end_the_script_that_holds_it(tiny_bundle):
    content = viewer_content([viewed()], name="</script><b>x")
    html = scan_html([], tiny_bundle, made=datetime.now(UTC), viewers=[content])
    assert "</script><b>" not in html
    start = html.index('id="viewer-0">') + len('id="viewer-0">')
    assert json.loads(html[start : html.index("</script>", start)])["name"] == "</script><b>x"
