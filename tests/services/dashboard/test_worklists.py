"""Worklists: bounded, kept on disk only where that was chosen, each reader's own."""

import gc
import zlib
from dataclasses import replace

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tumorlens.predictions.series_answer import SeriesPrediction
from tumorlens.records import Prediction
from tumorlens.services.dashboard import viewer, worklists
from tumorlens.services.dashboard.results import KeptSlice, Result, encode_pixels
from tumorlens.services.dashboard.worklists import Lease, Worklists

PIXELS = np.arange(400, dtype=np.float32).reshape(20, 20)
ANSWER = SeriesPrediction("s", "ct", "axial", 2, 2, 0.0, (0.1, 0.9), 1, 5.0, 0.5, "b@1")


def result(name: str, pixels: np.ndarray = PIXELS) -> Result:
    kept = KeptSlice(
        Prediction(name, tumor_probability=0.25, decision="no tumor", threshold=0.5, slice=1),
        encode_pixels(pixels), values=(-5.0, 0.5), modality="ct", spacing_mm=(2.0, 1.0),
        orientation=(1, 0, 0, 0, 1, 0), evidence=np.eye(4, dtype=np.float32),
        prepared=encode_pixels(PIXELS % 256), matrix=np.eye(3)[:2], mask=encode_pixels(PIXELS * 0),
    )  # fmt: skip
    return Result(name, f"{name}-digest", kept.prediction, (kept,), ANSWER, truth="ct_tumor")


@pytest.fixture
def held(tmp_path) -> Worklists:
    return Worklists(tmp_path / "worklists")


def filled(held: Worklists, *names: str) -> str:
    made = held.add("me", "Monday")
    held.add_results("me", made.id, [result(name) for name in names], {f"{names[0]}-digest": "id"})
    return made.id


def test_a_worklist_that_is_not_kept_leaves_nothing_on_disk(held, tmp_path):
    filled(held, "a", "b")
    assert list(tmp_path.rglob("*")) == []


def test_one_that_is_kept_is_there_after_a_restart_as_it_was(held, tmp_path):
    id = filled(held, "a", "b")
    held.change("me", id, kept=True)
    held.add_results("me", id, [result("c")], {"c-digest": "id2"})
    (again,) = Worklists(tmp_path / "worklists").of("me")
    assert (again.name, again.is_kept) == ("Monday", True)
    assert again.stored_ids == {"a-digest": "id", "c-digest": "id2"}
    assert [one.name for one in again.results] == ["a", "b", "c"]
    found, before = again.results[0], result("a")
    assert (found.answer, found.truth, found.prediction) == (
        before.answer, before.truth, before.prediction,
    )  # fmt: skip
    one, other = found.slices[0], before.slices[0]
    for name in ("prediction", "pixels", "values", "modality", "spacing_mm", "orientation",
                 "prepared", "mask"):  # fmt: skip
        assert getattr(one, name) == getattr(other, name)
    assert (one.evidence == other.evidence).all()
    assert (one.matrix == other.matrix).all()


def test_results_for_one_that_another_tab_removed_are_not_lost(held):
    id = filled(held, "a")
    held.remove("me", id)
    assert held.add_results("me", id, [result("b")], {"b-digest": "id"}) == 0
    found = held.get("me", id)
    assert ([one.name for one in found.results], found.is_kept) == (["b"], False)


def test_one_that_another_tab_removed_is_not_made_again_by_a_new_name(held, tmp_path):
    id = filled(held, "a")
    held.remove("me", id)
    held.change("me", id, name="Tuesday", kept=True)
    assert held.get("me", id) is None
    assert list(tmp_path.rglob("*")) == []


def test_only_its_owner_may_look_into_the_folder_of_one_that_is_kept(held, tmp_path):
    held.change("me", filled(held, "a"), kept=True)
    for path in (tmp_path / "worklists").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (tmp_path / "worklists").stat().st_mode & 0o077 == 0


def test_one_that_is_kept_no_more_is_taken_from_the_disk_and_stays_in_memory(held, tmp_path):
    id = filled(held, "a")
    held.change("me", id, kept=True)
    held.change("me", id, kept=False)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert len(held.get("me", id).results) == 1


def test_a_damaged_file_takes_no_other_scan_with_it(held, tmp_path):
    id = filled(held, "a", "b")
    held.change("me", id, kept=True)
    path = next((tmp_path / "worklists").rglob("a*.zip"))
    path.write_bytes(path.read_bytes()[:50])
    (again,) = Worklists(tmp_path / "worklists").of("me")
    assert [one.name for one in again.results] == ["b"]


def test_readers_do_not_see_one_anothers_worklists(held):
    id = filled(held, "a")
    assert held.get("other", id) is None
    assert held.find("other", result("a").key) is None
    assert held.find("me", result("a").key) is not None


def test_what_no_tab_has_open_is_forgotten_after_a_while(held, monkeypatch):
    id, lease = filled(held, "a"), Lease()
    held.use("me", id, lease)
    monkeypatch.setattr(worklists, "IDLE_S", -1.0)
    assert held.forget_idle() == 0
    del lease
    gc.collect()
    assert held.forget_idle() == 1
    assert held.get("me", id) is None


def test_a_kept_one_is_still_listed_when_it_was_idle_beside_one_that_is_open(held, monkeypatch):
    kept, open_, lease = filled(held, "a"), filled(held, "b"), Lease()
    held.change("me", kept, kept=True)
    held.use("me", open_, lease)
    monkeypatch.setattr(worklists, "IDLE_S", -1.0)
    held.forget_idle()
    assert held.get("me", kept).results
    del lease
    gc.collect()
    held.forget_idle()
    assert [one.id for one in held.of("me")] == [kept]


def test_kept_ones_that_nobody_opens_go_with_the_answers_that_are_too_old(held, tmp_path):
    held.change("me", filled(held, "a"), kept=True)
    assert held.forget_unused(1) == 0
    assert held.forget_unused(-1) == 1
    assert Worklists(tmp_path / "worklists").of("me")[0].results == ()


def test_a_kept_one_that_is_damaged_goes_too_when_it_is_too_old(held, tmp_path):
    id = filled(held, "a")
    held.change("me", id, kept=True)
    folder = tmp_path / "worklists" / "me" / id
    (folder / "worklist.json").write_text("{")
    again = Worklists(tmp_path / "worklists")
    assert again.forget_unused(-1) == 1
    assert not folder.exists()


def test_a_worklist_takes_no_more_bytes_than_it_may(held, monkeypatch):
    monkeypatch.setattr(worklists, "MAX_BYTES", result("a").size * 2)
    made = held.add("me", "")
    lost = held.add_results("me", made.id, [result(name) for name in "abcd"], {})
    assert lost == 2


def test_those_without_a_tab_make_room_for_others(held, monkeypatch):
    first, second = filled(held, "a", "b"), filled(held, "c")
    monkeypatch.setattr(worklists, "MAX_TOTAL_BYTES", result("a").size * 2)
    lease = Lease()
    held.use("me", second, lease)
    held.add_results("me", second, [result("d")], {})
    assert held.get("me", first) is None
    assert len(held.get("me", second).results) == 2


# --- what a browser fetches --------------------------------------------------------------------


@pytest.fixture
def client(held, monkeypatch) -> TestClient:
    class Shared:
        examples = ()
        worklists = held

    monkeypatch.setattr(viewer, "load_shared", lambda: Shared)
    monkeypatch.setattr(viewer, "is_reviewed", lambda owner, one: one.name == "seen")
    return TestClient(Starlette(routes=viewer.ROUTES))


def test_a_browser_gets_the_view_of_a_scan_and_its_pixels_in_their_own_units(held, client):
    filled(held, "a")
    place = f"/reader/{held.token('me')}/{result('a').key}"
    view = client.get(place).json()
    assert (view["isCt"], view["curve"]) == (True, [0.1])
    assert (view["slices"][0]["low"], view["slices"][0]["step"]) == (-5.0, 0.5)
    packed = client.get(f"{place}/0")
    stored = np.frombuffer(zlib.decompress(packed.content), "<u2").reshape(20, 20)
    assert (np.diff(stored.ravel().astype(int)) >= 0).all()
    assert packed.headers["cache-control"] == "no-store"


def test_nobody_gets_a_scan_by_the_token_of_another_reader(held, client):
    filled(held, "a")
    key = result("a").key
    assert client.get(f"/reader/{held.token('other')}/{key}").status_code == 404
    assert client.get(f"/reader/{'x' * 43}/{key}").status_code == 404
    assert client.get(f"/reader/{held.token('me')}/{key}/7").status_code == 404


@pytest.mark.parametrize(("name", "shows"), [("seen", True), ("open", False)])
def test_the_mask_of_a_scan_is_given_once_its_reader_has_said_what_he_sees(
    held, client, name, shows
):
    filled(held, name)
    view = client.get(f"/reader/{held.token('me')}/{result(name).key}").json()
    assert ("mask" in view["slices"][0]) == shows


def test_out_of_scope_a_view_holds_no_probability_and_no_evidence(held, client):
    scope = replace(result("a"), answer=replace(ANSWER, decision="out of scope"))
    found = viewer.view_of(scope)["slices"][0]
    assert (found["probability"], found["heat"]) == (None, None)
