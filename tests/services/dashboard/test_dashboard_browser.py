"""The dashboard in a browser: from the first scan to the downloaded file."""

import csv
import io
import json
import re
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.stored_study import copy_study

pytest.importorskip("playwright", reason="Playwright is not installed")
from playwright.sync_api import Browser, Page, TimeoutError, expect
from support.browser_dashboard import (
    CHROMIUM,
    PATIENCE,
    Running,
    chromium,
    dashboard,
    drop,
    open_page,
    settle,
)
from support.waiting import wait_until

from tumorlens.services.dashboard.layout import PAGES
from tumorlens.services.dashboard.texts import translator
from tumorlens.services.dashboard.uploads import EXAMPLES
from tumorlens.study.phantom import draw_phantom
from tumorlens.study.phantom.volumes import draw_volume, write_dicom

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
LARGE = 65 * 2**20


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("home")
    study = copy_study(tmp_path_factory.mktemp("studies") / "study")
    with dashboard(home, "--study", str(study)) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser, running) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    opened = context.new_page()
    open_page(opened, running.url)
    yield opened
    context.close()


@pytest.fixture(scope="module")
def visit(browser, running) -> Iterator[Callable[[str], Page]]:
    """One page for tests that only look; another page is chosen from the menu, without a reload."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    opened = context.new_page()
    open_page(opened, running.url)

    def choose(name: str) -> Page:
        title = translator("en")(f"page.{name}")
        opened.get_by_role("link", name=title, exact=True).click()
        expect(opened).to_have_url(re.compile(f"/{'' if name == 'read' else name}$"))
        # Its address changes before anything is drawn.
        heading = opened.get_by_role("heading", level=1, name=title, exact=True)
        expect(heading).to_have_count(1)
        settle(opened)
        return opened

    yield choose
    context.close()


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("phantoms")
    drawn = [draw_phantom("mri", "meningioma", seed=s, plane="axial", side=96) for s in range(3)]
    paths = []
    for number in range(50):
        pixels = np.roll(drawn[number % 3].pixels, number // 3, axis=1)
        path = folder / f"phantom-{number:02d}.png"
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        paths.append(path)
    return paths


def uploads_held(running: Running) -> float:
    """The bytes of uploads that Streamlit says it holds."""
    text = urllib.request.urlopen(f"{running.url}/_stcore/metrics").read().decode()
    rows = [line for line in text.splitlines() if "UploadedFileManager" in line]
    assert rows, text
    return sum(float(line.rsplit(" ", 1)[1]) for line in rows)


def see(page: Page, text: str) -> None:
    """Wait for words, and until nothing of the run before stands beside them."""
    expect(page.get_by_text(text).first).to_be_visible()
    settle(page)


def most_slices(page: Page, asked: Sequence[str]) -> int:
    """Count the slices that were asked for of one scan; events come in while the page waits."""
    page.wait_for_timeout(50)
    slices = {url for url in asked if re.search(r"/\d+$", url)}
    return max(Counter(url.rsplit("/", 1)[0] for url in slices).values(), default=0)


def table_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def download(page: Page, name: str) -> bytes:
    """Take a file home; a click that met a page still moving is made again, as a reader would."""
    button = page.get_by_role("button", name=name)
    for _ in range(4):
        settle(page)
        try:
            with page.expect_download(timeout=PATIENCE / 4) as found:
                button.click()
        except TimeoutError:
            continue
        return Path(found.value.path()).read_bytes()
    raise AssertionError(f"{name}: no file came after four clicks")


def test_a_reader_goes_from_a_scan_to_an_answer_a_review_and_the_files(page):
    drop(page, EXAMPLES / "phantom_mri_meningioma.png")
    see(page, "1 / 1")
    expect(page.locator(".tl-views canvas").first).to_be_visible()
    for drawn in (r"Probability of a tumor", r"meningioma \d"):  # its scale, the bars of types
        expect(page.get_by_role("img", name=re.compile(drawn))).to_be_visible()
    page.keyboard.press("a")
    see(page, "You agreed")

    from pypdf import PdfReader

    report = "".join(p.extract_text() for p in PdfReader(io.BytesIO(download(page, "PDF"))).pages)
    assert "phantom_mri_meningioma" in report
    assert "Research use only" in report
    assert b"<html" in download(page, "HTML")
    queued = table_of(download(page, "Table of the queue"))
    assert [row["path"] for row in queued] == ["phantom_mri_meningioma.png"]
    page.get_by_text("History of this browser").click()
    history = table_of(download(page, "History (CSV)"))
    assert [(row["path"], row["review"]) for row in history] == [
        ("phantom_mri_meningioma.png", "agree")
    ]
    assert history[0]["tumor_probability"] == queued[0]["tumor_probability"]


def test_slices_of_one_series_are_scrolled_without_a_server_and_nothing_is_asked_elsewhere(
    page, tmp_path
):
    write_dicom(draw_volume("ct", "healthy", seed=2, side=96), tmp_path / "ct", seed=2)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    drop(page, *sorted((tmp_path / "ct").iterdir())[:6])
    see(page, "6 slices")
    viewer = page.locator(".tl-viewer[data-slice]")
    expect(viewer.locator(".tl-strip")).to_be_visible()
    wait_until(lambda: most_slices(page, asked) == 6, "all slices to be fetched ahead")
    before, at = len(asked), int(viewer.get_attribute("data-slice") or 0)
    viewer.locator("canvas").first.hover()
    page.mouse.wheel(0, 100 if at < 6 else -100)
    expect(viewer).to_have_attribute("data-slice", str(at + 1 if at < 6 else at - 1))
    assert viewer.locator("canvas").first.bounding_box()["width"] >= 700
    assert len(asked) == before
    assert [url for url in asked if not re.match(r"(http|ws)://localhost|blob:|data:", url)] == []


def test_a_history_is_there_after_a_reload_and_not_in_another_browser(page, browser, running):
    drop(page, EXAMPLES / "phantom_ct_tumor.png")
    see(page, "1 / 1")
    other = browser.new_context(locale="en-US").new_page()
    open_page(other, running.url)
    drop(other, EXAMPLES / "phantom_ct_healthy.png")
    see(other, "1 / 1")
    for opened, own in ((page, "phantom_ct_tumor.png"), (other, "phantom_ct_healthy.png")):
        open_page(opened, running.url)
        opened.get_by_text("History of this browser").click()
        rows = table_of(download(opened, "History (CSV)"))
        assert [row["path"] for row in rows] == [own]
    other.context.close()


def test_fifty_files_with_a_bad_one_are_all_answered_and_none_stays(
    page, running, phantoms, tmp_path
):
    bad = tmp_path / "+1+1.png"  # a spreadsheet would add it up
    bad.write_text("no image", encoding="utf-8")
    drop(page, *phantoms, bad)
    see(page, "1 / 51")
    see(page, "Queue: 51")
    queued = [row["path"] for row in table_of(download(page, "Table of the queue"))]
    assert queued == [*(path.name for path in phantoms), "'+1+1.png"]
    page.get_by_text("+1+1.png").first.click()
    see(page, "is not a PNG")
    text = urllib.request.urlopen(f"{running.url}/_stcore/metrics").read().decode()
    held = [
        line
        for line in text.splitlines()
        if "UploadedFileManager" in line or "uploaded_file" in line
    ]
    assert all(float(line.rsplit(" ", 1)[1]) == 0 for line in held if not line.startswith("#"))


def test_each_of_fifty_presses_at_twenty_a_second_reviews_a_scan(page, phantoms):
    drop(page, *phantoms)
    see(page, "1 / 50")
    expect(page.locator(".tl-viewer[data-slice]")).to_be_visible()
    page.evaluate(
        """() => { for (let k = 0; k < 50; k++) setTimeout(() => document.body.dispatchEvent(
            new KeyboardEvent('keydown', {key: 'a', bubbles: true, composed: true})), 50 * k); }"""
    )
    expect(page.locator(".tl-count")).to_have_text("50 of 50 reviewed")
    expect(page.locator(".tl-reader[data-pending='0']")).to_be_visible()
    see(page, "50 / 50")
    page.reload()  # the worklist is there, and every review
    see(page, "50 / 50")
    expect(page.locator(".tl-count")).to_have_text("50 of 50 reviewed")
    page.get_by_text("History of this browser").click()
    rows = table_of(download(page, "History (CSV)"))
    assert [row["review"] for row in rows] == ["agree"] * 50


def test_presses_that_wait_for_a_drawing_outlive_a_reload(page, phantoms):
    drop(page, *phantoms[:7])
    see(page, "1 / 7")
    expect(page.locator(".tl-viewer[data-slice]")).to_be_visible()
    waiting = page.evaluate(
        """() => { for (let k = 0; k < 5; k++) document.body.dispatchEvent(
            new KeyboardEvent('keydown', {key: 'a', bubbles: true, composed: true}));
            return JSON.parse(sessionStorage.getItem('tumorlens-events')).waiting.length; }"""
    )
    assert waiting == 5
    page.reload()
    expect(page.locator(".tl-count")).to_have_text("5 of 7 reviewed")
    see(page, "6 / 7")


def test_presses_count_when_the_reader_comes_back_from_another_page(page, phantoms):
    drop(page, *phantoms[:7])
    see(page, "1 / 7")
    for done in (1, 2, 3):
        page.keyboard.press("a")
        expect(page.locator(".tl-count")).to_have_text(f"{done} of 7 reviewed")
    expect(page.locator(".tl-reader[data-pending='0']")).to_be_visible()
    page.get_by_role("link", name=translator("en")("page.explore"), exact=True).click()
    expect(page.locator(".tl-reader")).to_have_count(0)
    page.get_by_role("link", name=translator("en")("page.read"), exact=True).click()
    see(page, "4 / 7")
    page.keyboard.press("a")
    expect(page.locator(".tl-count")).to_have_text("4 of 7 reviewed")
    expect(page.locator(".tl-reader[data-pending='0']")).to_be_visible()
    page.reload()
    expect(page.locator(".tl-count")).to_have_text("4 of 7 reviewed")


def test_agree_keeps_the_focus_and_each_answer_is_announced_once(page, phantoms):
    drop(page, *phantoms[:4])
    see(page, "1 / 4")
    expect(page.locator(".tl-viewer[data-slice]")).to_be_visible()
    page.locator(".tl-hidden[role=status]").evaluate(
        """live => { window.said = [live.textContent]; new MutationObserver(() =>
            window.said.push(live.textContent)).observe(live, {childList: true}); }"""
    )
    agree = page.get_by_role("button", name="Agree (A)")
    agree.focus()
    for done in (1, 2):
        page.keyboard.press("Enter")
        expect(page.locator(".tl-count")).to_have_text(f"{done} of 4 reviewed")
    expect(page.locator(".tl-reader[data-pending='0']")).to_be_visible()
    settle(page)
    assert agree.evaluate("button => button.matches(':focus-visible')")
    assert agree.evaluate("button => parseFloat(getComputedStyle(button).outlineWidth)") >= 2
    said = page.evaluate("window.said")
    assert [text.split(":")[0] for text in said] == [path.name for path in phantoms[:3]]
    assert page.locator(".tl-said").get_attribute("aria-live") == "off"  # the viewer's own


def test_the_language_of_the_page_is_that_of_the_document_and_is_kept(page, running):
    assert page.evaluate("document.documentElement.lang") == "en"
    page.get_by_text("ES", exact=True).click()
    see(page, "Solo para investigación")
    assert page.evaluate("document.documentElement.lang") == "es"
    again = page.context.new_page()
    open_page(again, running.url)
    see(again, "Solo para investigación")


def test_a_file_above_the_cap_is_refused_with_words(page, tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(b"\x89PNG" + bytes(LARGE))
    drop(page, path)
    see(page, "64.0MB")
    see(page, "1 / 6")


def test_a_scan_leaves_nothing_on_the_disk_of_the_server(page, running, phantoms):
    drop(page, phantoms[0])
    see(page, "1 / 1")
    marker = phantoms[0].read_bytes()[60:160]
    files = [path for path in running.home.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if marker in path.read_bytes()] == []


def test_moving_the_threshold_moves_the_figures(visit):
    page = visit("performance")
    figure = page.locator("[data-testid=stMetricValue]").first
    before = figure.inner_text()
    thumb = page.get_by_role("slider", name="threshold")
    thumb.focus()
    for _ in range(25):
        page.keyboard.press("ArrowRight")
    settle(page)
    expect(figure).not_to_have_text(before)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_one_title_and_no_serious_finding_of_axe_in_either_theme(visit, name):
    from axe_playwright_python.sync_playwright import Axe

    page, serious = visit(name), []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(500)  # until the theme has followed
        settle(page)
        serious += [
            (scheme, row["id"], [node["target"] for node in row["nodes"]][:3])
            for row in Axe().run(page).response["violations"]
            if row["impact"] in ("serious", "critical")
        ]
    page.emulate_media(color_scheme="light")
    assert serious == [], json.dumps(serious, indent=1)
    assert page.locator("h1").count() == 1
