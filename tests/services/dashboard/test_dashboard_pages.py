"""Every page, run as Streamlit runs it: what it shows, and what a reader can do on it."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import pytest
import streamlit as st
from streamlit.components.v2.component_manager import BidiComponentManager
from streamlit.testing.v1 import AppTest
from support.stored_study import copy_study, page

from tumorlens.predictions.predictor import Predictor
from tumorlens.reports.scan.content import Examined
from tumorlens.reports.scan.report import scan_html
from tumorlens.services.dashboard import reader, session
from tumorlens.services.dashboard.layout import PAGES
from tumorlens.services.dashboard.pages import audit, explore, performance
from tumorlens.services.dashboard.pages.scan import predictions_csv
from tumorlens.services.dashboard.results import Result, cases_csv, doubt, ordered
from tumorlens.services.dashboard.session import history_csv
from tumorlens.services.dashboard.uploads import predict_examples
from tumorlens.services.dashboard.viewer import view_of
from tumorlens.services.dashboard.worklists import Worklist
from tumorlens.services.scan_reader import ScanReader
from tumorlens.services.spool import State, write_state
from tumorlens.services.store.history import Selection, find_predictions
from tumorlens.services.store.reviews import Review, reviews_by_prediction
from tumorlens.settings import load_settings
from tumorlens.study.phantom.volumes import draw_volume, write_dicom

STUDY_PAGES = ("explore", "audit", "performance", "hypotheses")
PARTS = {"explore": explore.PARTS, "audit": audit.PARTS, "performance": performance.PARTS}
WARNINGS = {"en": "Research use only.", "es": "Solo para investigación."}


@pytest.fixture(scope="module", autouse=True)
def without_components() -> Iterator[None]:
    """Streamlit reads the metadata of every package for each page it tests; pages use none."""
    with pytest.MonkeyPatch.context() as patch:
        name = "discover_and_register_components"
        patch.setattr(BidiComponentManager, name, lambda *_arguments, **_options: None)
        yield


@pytest.fixture(scope="module")
def predicted(tiny_bundle) -> tuple[Predictor, tuple[Result, ...]]:
    """What every dashboard of this module shares: the network, and the phantoms' answers."""
    predictor = Predictor(tiny_bundle)
    return predictor, predict_examples(predictor)


@pytest.fixture(scope="module")
def scan_reader() -> Iterator[ScanReader]:
    """The process that reads what is dropped, started once for all dashboards of this module."""
    made = ScanReader(load_settings({}).read_limits)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def shared(tmp_path, predicted, scan_reader, monkeypatch) -> Iterator[Callable[[], session.Shared]]:
    """A dashboard of its own for each test: a new store and the stored study."""
    predictor, examples = predicted
    monkeypatch.setenv("TUMORLENS_STORE", str(tmp_path / "store.sqlite"))
    monkeypatch.setenv("TUMORLENS_WORKLISTS", str(tmp_path / "worklists"))
    monkeypatch.setenv("TUMORLENS_KEEP_NAMES", "yes")
    monkeypatch.setenv("TUMORLENS_STUDIES", str(copy_study(tmp_path / "study")))
    monkeypatch.setattr(session, "load_predictor", lambda *_arguments: predictor)
    monkeypatch.setattr(session, "predict_examples", lambda _predictor: examples)
    monkeypatch.setattr(session, "ScanReader", lambda _limits: scan_reader)
    session._load.cache_clear()
    yield session.load_shared
    session.load_shared().store.close()
    session._load.cache_clear()


class FakeBrowser:
    """Stands for the component: keeps what it was given, and sends events as it does."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self._waiting: list[dict[str, Any]] = []
        self._number = 0

    def mount(self, *, data, key, default, on_events_change) -> None:
        self.data = data
        if self._waiting:
            events, self._waiting = self._waiting, []
            session.follow({"tab": "one", "list": events})
            st.rerun()

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.data["rows"]

    def press(self, at: AppTest, *acts: str) -> AppTest:
        """Press keys one after the other, each on the scan that is shown then, and run the page."""
        keys = [row["key"] for row in self.rows]
        current = keys.index(self.data["current"])
        for act in acts:
            step = -1 if act == "previous" else 1
            following = min(current + 1, len(keys) - 1) if act == "agree" else current + step
            following %= len(keys)
            self._number += 1
            event = {"n": self._number, "act": act, "key": keys[current], "next": keys[following]}
            self._waiting.append(event)
            current = following
        return at.run()


@pytest.fixture(autouse=True)
def browser(monkeypatch) -> FakeBrowser:
    made = FakeBrowser()
    monkeypatch.setattr(reader, "_component", lambda: made.mount)
    return made


@pytest.fixture
def png(head) -> bytes:
    return cv2.imencode(".png", head)[1].tobytes()


def text_of(at: AppTest) -> str:
    shown = [*at.title, *at.header, *at.markdown, *at.caption, *at.info, *at.error, *at.warning]
    return "\n".join(str(item.value) for item in shown)


def worklist_of(at: AppTest) -> Worklist:
    return session.load_shared().worklists.of(at.session_state["owner"])[0]


def results_of(at: AppTest) -> tuple[Result, ...]:
    return worklist_of(at).results


def table_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def _decision_of(at: AppTest):
    return next(box for box in at.selectbox if (box.key or "").startswith("own_decision"))


def drop(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    at.file_uploader[0].set_value([(name, data, "image/png") for name, data in files])
    return at.run()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_drawn_in_every_language_under_the_line_on_research_use(name):
    at = page(name)
    for language, warning in WARNINGS.items():
        at.session_state["language"] = language
        at.run()
        assert not at.exception
        assert not at.error
        assert warning in text_of(at)


@pytest.mark.parametrize("name", PARTS)
def test_every_part_of_a_page_is_drawn(name):
    at = page(name)
    for part in PARTS[name]:
        at.session_state[f"{name}_part"] = part
        at.run()
        assert not at.exception, part
        assert at.segmented_control(key=f"{name}_part").value == part


@pytest.mark.parametrize("name", STUDY_PAGES)
def test_a_page_without_a_study_says_how_to_make_one(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TUMORLENS_STUDIES", "")
    session._load.cache_clear()
    at = page(name).run()
    assert not at.exception
    assert any("tumorlens demo" in block.value for block in at.code)


def test_a_record_of_another_schema_is_words_and_no_crash(tmp_path):
    (tmp_path / "study/audit/audit.json").write_text('{"schema": 99}', encoding="utf-8")
    at = page("audit").run()
    assert not at.exception
    assert "has schema 99" in at.error[0].value


def test_the_first_page_shows_phantoms_before_anything_was_dropped(browser):
    at = page("read").run()
    assert len(browser.rows) == 6
    assert "no patient" in text_of(at)
    assert not browser.data["isOwn"]


def test_a_dropped_scan_is_answered_and_stored(shared, png, browser):
    at = drop(page("read").run(), ("mine.png", png))
    assert not at.exception
    assert [row["name"] for row in browser.rows] == ["mine.png"]
    stored = find_predictions(shared().store)
    assert [row.prediction.path for row in stored] == ["mine.png"]
    assert stored[0].source == "dashboard"


def test_a_text_file_named_as_an_image_is_refused_and_the_others_are_answered(png, browser):
    at = drop(page("read").run(), ("text.png", b"hello"), ("good.png", png))
    assert not at.exception
    assert "is not a PNG" in at.error[0].value
    assert [row["canAgree"] for row in browser.rows] == [False, True]


def test_nothing_of_an_upload_stays_in_the_uploader(png):
    at = drop(page("read").run(), ("mine.png", png))
    assert at.file_uploader[0].value in (None, [])


def test_next_and_previous_walk_through_the_queue_and_around_its_end(browser):
    at = page("read").run()
    keys = [row["key"] for row in browser.rows]
    browser.press(at, "next")
    assert browser.data["current"] == keys[1]
    browser.press(at, "previous", "previous")
    assert browser.data["current"] == keys[-1]


def test_agreeing_is_stored_and_shown(shared, png, browser):
    at = drop(page("read").run(), ("mine.png", png))
    browser.press(at, "agree")
    assert not at.exception
    assert "You agreed" in text_of(at)


def test_a_correction_needs_a_reason(shared, png):
    at = drop(page("read").run(), ("mine.png", png))
    store = next(button for button in at.button if button.label == "Store")
    store.click().run()
    assert "the answer that was given" in at.error[0].value
    form = _decision_of(at)
    other = "no tumor" if form.value != "no tumor" else "uncertain"
    form.set_value(other)
    next(button for button in at.button if button.label == "Store").click().run()
    assert "corrects without a reason" in at.error[0].value
    at.text_area[0].set_value("Motion")
    next(button for button in at.button if button.label == "Store").click().run()
    assert f"You corrected to {other}" in text_of(at)


def test_the_form_of_a_correction_is_empty_at_the_next_scan(png, browser):
    at = drop(page("read").run(), ("one.png", png), ("two.png", png[:-1] + b" "))
    at.text_area[0].set_value("Motion").run()
    _decision_of(at).set_value("out of scope").run()
    browser.press(at, "next")
    assert at.text_area[0].value == ""
    second = results_of(at)[1].prediction
    assert _decision_of(at).value == second.decision


def test_each_press_agrees_to_its_own_scan_once_also_when_it_is_sent_again(png, browser):
    at = drop(page("read").run(), *((f"{k}.png", png + bytes(k)) for k in range(4)))
    browser.press(at, "agree", "agree", "agree")
    assert [row["isDone"] for row in browser.rows] == [True, True, True, False]
    assert browser.data["current"] == browser.rows[3]["key"]
    browser._number = 0  # the page was reloaded before it was told that all were followed
    browser.press(at, "agree")
    ids = list(worklist_of(at).stored_ids.values())
    found = reviews_by_prediction(session.load_shared().store, ids)
    assert [len(found.get(id, ())) for id in ids] == [1, 1, 1, 0]


def test_a_scan_that_could_not_be_read_is_passed_by_without_a_review(png, browser):
    at = drop(page("read").run(), ("bad.png", b"no image"), ("good.png", png))
    browser.press(at, "agree", "agree")
    assert [row["isDone"] for row in browser.rows] == [False, True]


def test_what_was_reviewed_is_marked_counted_and_goes_home_as_labels(png, browser):
    at = drop(page("read").run(), ("one.png", png), ("two.png", png[:-1] + b" "))
    browser.press(at, "agree")
    assert [row["isDone"] for row in browser.rows] == [True, False]
    one = results_of(at)[0]
    review = Review("id", "me", "correct", decision="tumor", type="glioma", reason="seen")
    rows = table_of(cases_csv(results_of(at), {one.digest: review}))
    label = "mri_glioma" if one.prediction.modality == "mri" else "ct_tumor"
    row = {"path": "one.png", "label": label, "modality": one.prediction.modality, "slices": ""}
    assert rows == [row]


def test_the_most_doubtful_comes_first_where_that_is_asked_for(browser):
    at = page("read").run()
    at.selectbox(key="sort").set_value("doubt").run()
    results = {one.key: one for one in session.load_shared().examples}
    listed = [doubt(one) for one in ordered(tuple(results.values()), "doubt", ())]
    assert listed == sorted(listed, reverse=True)
    assert browser.rows[0]["name"] == ordered(tuple(results.values()), "doubt", ())[0].name


def test_the_report_holds_the_word_of_the_reader(shared, png, predicted):
    made = datetime.now(UTC)
    examined = [Examined(predicted[1][0].prediction, reader="Corrected to no tumor: an artifact")]
    html = scan_html(examined, predicted[0].bundle, made=made)
    assert "Corrected to no tumor: an artifact" in html


def test_out_of_scope_shows_no_probability_no_type_and_no_comparison(
    png, predicted, monkeypatch, browser
):
    predictor, _ = predicted
    bundle = predictor.bundle
    scope = replace(bundle.ood_reference, limit=-1.0)
    monkeypatch.setattr(predictor, "bundle", replace(bundle, ood_reference=scope))
    at = drop(page("read").run(), ("strange.png", png))
    shown = text_of(at)
    assert "Out of scope" in shown
    for word in ("Probability of a tumor", "Type if there", "validation scans with a"):
        assert word not in shown
    assert browser.rows[0]["figure"] == ""


def series_files(folder: Path, *, seed: int = 2) -> list[tuple[str, bytes]]:
    write_dicom(draw_volume("ct", "glioma", seed=seed, side=64), folder, seed=seed)
    return [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


def test_a_series_is_one_row_with_one_answer_and_is_agreed_to_once(shared, tmp_path, browser):
    at = drop(page("read").run(), *series_files(tmp_path / "ct"))
    assert not at.exception
    assert [row["slices"] for row in browser.rows] == [24]
    assert "of 24 slices" in text_of(at)
    browser.press(at, "agree")
    assert "You agreed" in text_of(at)
    assert [row.source for row in find_predictions(shared().store)] == ["dashboard"]


def test_a_series_out_of_scope_says_why_and_shows_no_figure(
    tmp_path, predicted, monkeypatch, browser
):
    bundle = predicted[0].bundle
    scope = replace(bundle.ood_reference, limit=-1.0)
    monkeypatch.setattr(predicted[0], "bundle", replace(bundle, ood_reference=scope))
    at = drop(page("read").run(), *series_files(tmp_path / "ct"))
    shown = text_of(at)
    assert "100% of the slices are out of scope" in shown
    assert "judge it without the network" in shown
    assert browser.rows[0]["figure"] == ""
    for word in ("score", "probability of a tumor", "best seen as"):
        assert word not in shown
    assert view_of(results_of(at)[0])["curve"] == [None] * 24


def test_a_series_that_arrived_at_the_node_is_taken_into_the_worklist(
    tmp_path, monkeypatch, browser
):
    folder = tmp_path / "spool" / "done" / "a"
    write_dicom(draw_volume("ct", "glioma", seed=2, side=64), folder / "slices", seed=2)
    write_state(folder, State("CT_1"))
    monkeypatch.setenv("TUMORLENS_SPOOL", str(tmp_path / "spool"))
    session._load.cache_clear()
    at = page("read").run()
    at.multiselect[0].set_value([at.multiselect[0].options[0]]).run()
    next(button for button in at.button if "Take into" in button.label).click().run()
    assert not at.exception
    assert [row["slices"] for row in browser.rows] == [24]


def test_what_a_folder_says_is_uncovered_after_the_guess_alone(png, browser):
    at = page("read").run()
    at.file_uploader[0].set_value([("set/yes/a.png", png, "image/png")])
    at.run()
    assert "Its label is" not in text_of(at)
    browser.press(at, "agree")
    assert "Its label is **tumor**" in text_of(at)


def test_a_worklist_is_there_for_a_second_tab_of_the_browser_and_for_no_other(shared, png, browser):
    at = drop(page("read").run(), ("mine.png", png))
    second = page("read")
    second.session_state["owner"] = at.session_state["owner"]
    second.run()
    assert [row["name"] for row in browser.rows] == ["mine.png"]
    page("read").run()
    assert not browser.data["isOwn"]


def test_two_browsers_do_not_see_one_anothers_history(shared, png):
    one = drop(page("read").run(), ("one.png", png))
    other = drop(page("read").run(), ("other.png", png))
    owners = {at.session_state["owner"] for at in (one, other)}
    assert len(owners) == 2
    for at, name in ((one, "one.png"), (other, "other.png")):
        mine = find_predictions(shared().store, Selection(owner=at.session_state["owner"]))
        assert [row.prediction.path for row in mine] == [name]
        assert [list(row.values())[1] for row in at.dataframe[0].value.to_dict("records")] == [name]


def test_the_history_as_csv_has_times_answers_and_reviews(shared, png, browser):
    at = drop(page("read").run(), ("mine.png", png))
    browser.press(at, "agree")
    table = table_of(history_csv(at.session_state["owner"], {}))
    assert table[0]["created_at"].endswith("Z")
    assert table[0]["review"] == "agree"
    assert float(table[0]["tumor_probability"]) == pytest.approx(
        find_predictions(shared().store)[0].prediction.tumor_probability, abs=1e-6
    )


@pytest.mark.parametrize("keeps_names", ["yes", "no"])
def test_no_name_of_a_file_is_a_formula_in_what_is_taken_home(png, monkeypatch, keeps_names):
    monkeypatch.setenv("TUMORLENS_KEEP_NAMES", keeps_names)
    session._load.cache_clear()
    names = ["=cmd|' /C calc'!A0.png", "+1+1.png"]
    at = drop(page("read").run(), (names[0], png), (names[1], png[:-1] + b" "))
    results = results_of(at)
    owner, by_digest = at.session_state["owner"], {r.digest: r.name for r in results}
    queue = table_of(predictions_csv(results))
    history = table_of(history_csv(owner, by_digest))
    for table in (queue, history):
        assert {row["path"] for row in table} == {f"'{name}" for name in names}


def test_a_store_that_keeps_no_names_is_given_none_and_the_page_still_shows_them(
    shared, png, monkeypatch
):
    monkeypatch.setenv("TUMORLENS_KEEP_NAMES", "no")
    session._load.cache_clear()
    at = drop(page("read").run(), ("Jane_Doe.png", png))
    assert "Jane" not in find_predictions(shared().store)[0].prediction.path
    assert "Jane_Doe.png" in at.dataframe[0].value.to_string()


def test_answers_older_than_is_wished_are_removed(shared, png, monkeypatch):
    drop(page("read").run(), ("old.png", png))
    monkeypatch.setenv("TUMORLENS_RETENTION_DAYS", "30")
    session._load.cache_clear()
    monkeypatch.setattr(session, "days_ago", lambda _days: "9999")
    assert session.expire(shared()) == 1
    assert find_predictions(shared().store) == []


def test_moving_the_threshold_moves_the_rates_and_the_sentence():
    at = page("performance").run()
    before = [metric.value for metric in at.metric]
    slider = at.select_slider(key="threshold-all")
    slider.set_value(float(slider.options[-1])).run()
    assert not at.exception
    assert [metric.value for metric in at.metric] != before


def test_a_lower_prevalence_lowers_the_positive_predictive_value():
    at = page("performance").run()
    at.select_slider(key="prevalence").set_value(0.5).run()
    high = float(at.metric[2].value)
    at.select_slider(key="prevalence").set_value(0.01).run()
    assert float(at.metric[2].value) < high


def test_every_hypothesis_of_the_record_is_shown_with_its_verdict(tmp_path):
    record = json.loads((tmp_path / "study/explore/explore.json").read_text(encoding="utf-8"))
    shown = text_of(page("hypotheses").run())
    for row in record["hypotheses"]:
        assert f"**{row['id']}**" in shown
