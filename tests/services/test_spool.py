"""Facts about what the node keeps on disk, and where results go."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tumorlens.errors import SettingsError, StoreFullError
from tumorlens.services import spool as spool_module
from tumorlens.services.node.routes import destinations, read_routes
from tumorlens.services.spool import (
    UNFINISHED_S,
    Spool,
    dead_series,
    read_state,
    series_folders,
    write_state,
)

ADDED = {"caller": "CT_1", "series": "1.2.3", "instance": "1.2.3.4"}
ROUTES = """
[[route]]
from = "CT_1"
to = ["A@127.0.0.1:104"]
[[route]]
modality = "mri"
description = "*t1*"
to = ["A@127.0.0.1:104", "https://pacs.example/dicom-web"]
"""


@pytest.fixture
def spool(tmp_path) -> Spool:
    return Spool(tmp_path / "spool", max_bytes=1000)


def files(spool: Spool, stage: str) -> list[Path]:
    return sorted((spool.root / stage).rglob("*.dcm"))


def test_an_instance_that_comes_twice_is_kept_once(spool):
    spool.add(b"first", **ADDED)
    spool.add(b"again", **ADDED)
    (kept,) = files(spool, "series")
    assert kept.read_bytes() == b"again"


def test_no_name_on_disk_says_whose_series_it_is(spool):
    spool.add(b"x", caller="CT_1", series="1.2.840.MILLER", instance="../../1.2.3")
    names = [path.name for path in spool.root.rglob("*")]
    assert not any("MILLER" in name or "1.2" in name for name in names)
    assert len(files(spool, "series")) == 1


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_nobody_but_its_owner_looks_into_a_spool(tmp_path):
    (tmp_path / "spool").mkdir(mode=0o755)
    spool = Spool(tmp_path / "spool", max_bytes=1000)
    assert spool.root.stat().st_mode & 0o777 == 0o700


def test_a_series_is_complete_after_a_quiet_time(spool):
    spool.add(b"x", **ADDED)
    assert spool.complete(quiet_s=60) == []
    (folder,) = spool.complete(quiet_s=0)
    assert read_state(folder).caller == "CT_1"
    assert spool.due(answered=False) == [folder]


def test_series_of_other_senders_stay_apart(spool):
    for caller in ("CT_1", "CT_2"):
        spool.add(b"x", **{**ADDED, "caller": caller})
    assert len(spool.complete(quiet_s=0)) == 2


def test_what_comes_late_makes_a_series_of_its_own(spool):
    spool.add(b"x", **ADDED)
    (first,) = spool.complete(quiet_s=0)
    spool.add(b"y", **{**ADDED, "instance": "1.2.3.5"})
    (second,) = spool.complete(quiet_s=0)
    assert first != second


def test_what_was_not_whole_is_gone_some_time_after_a_kill_and_the_rest_is_there(
    spool, monkeypatch
):
    clock = time.time
    spool.add(b"x", **ADDED)
    (spool.root / "incoming" / "half").write_bytes(b"ha")
    (spool.root / "series" / ".half" / "slices").mkdir(parents=True)
    again = Spool(spool.root, max_bytes=1000)
    monkeypatch.setattr(spool_module.time, "time", lambda: clock() + 2 * UNFINISHED_S)
    again.discard_unfinished()
    assert not any((spool.root / "incoming").iterdir())
    assert not any((spool.root / "series").glob(".*"))
    assert len(again.complete(quiet_s=0)) == 1


def test_what_a_service_beside_the_node_is_writing_now_stays_when_the_node_starts(spool):
    left = [spool.root / "incoming" / "half", spool.root / "series" / ".half"]
    left[0].write_bytes(b"ha")
    left[1].mkdir()
    Spool(spool.root, max_bytes=1000).discard_unfinished()
    assert all(path.exists() for path in left)


def test_a_series_that_is_taken_away_while_bytes_are_counted_refuses_no_slice(spool, monkeypatch):
    """Remove a folder just before the count looks into it."""
    gone = spool.root / "done" / "gone"
    gone.mkdir()
    scandir = os.scandir

    def racing(path=".") -> object:
        if Path(path) == gone:
            gone.rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", racing)
    monkeypatch.setattr(spool_module, "MEASURE_S", -1.0)
    spool.add(b"x", **ADDED)
    assert len(files(spool, "series")) == 1


def test_a_series_that_is_taken_away_meanwhile_goes_on_in_a_new_folder(spool, monkeypatch):
    """Place a slice just after the node, in another process, has moved the folder."""
    whole, taken = spool._folder_of, []

    def folder_of(caller: str, series: str) -> Path:
        folder = whole(caller, series)
        if not taken:
            taken.append(folder.rename(spool.root / "work" / "taken"))
        return folder

    monkeypatch.setattr(spool, "_folder_of", folder_of)
    spool.add(b"x", **ADDED)
    assert len(files(spool, "series")) == 1


def test_a_series_is_answered_first_and_sent_then(spool):
    spool.add(b"x", **ADDED)
    (folder,) = spool.complete(quiet_s=0)
    assert spool.due(answered=True) == []
    write_state(folder, replace(read_state(folder), is_answered=True))
    assert (spool.due(answered=False), spool.due(answered=True)) == ([], [folder])


def test_what_an_orphan_writes_into_a_series_that_is_done_is_no_series(spool):
    (spool.root / "work" / "ab-cd" / "objects").mkdir(parents=True)
    assert spool.due(answered=False) == []
    assert not any((spool.root / "work").iterdir())


def test_a_full_spool_takes_nothing_until_there_is_room(spool):
    spool.add(bytes(700), **ADDED)
    with pytest.raises(StoreFullError, match="of 1,000 bytes"):
        spool.add(bytes(400), **{**ADDED, "instance": "2"})
    (folder,) = spool.complete(quiet_s=0)
    spool.finish(folder, keep_s=0)
    spool.add(bytes(400), **{**ADDED, "instance": "2"})
    assert len(files(spool, "series")) == 1


def test_a_series_that_is_kept_is_listed_until_its_time_is_over(spool):
    spool.add(b"x", **ADDED)
    (folder,) = spool.complete(quiet_s=0)
    spool.finish(folder, keep_s=60)
    spool.expire_done(keep_s=60)
    assert series_folders(spool.root) == [("done", spool.root / "done" / folder.name)]
    assert spool.due(answered=True) == []
    spool.expire_done(keep_s=0)
    assert series_folders(spool.root) == []


def test_a_disk_without_room_leaves_no_half_file(spool, monkeypatch):
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        spool.add(b"x", **ADDED)
    assert not any((spool.root / "incoming").iterdir())
    assert files(spool, "series") == []


def test_a_failure_waits_longer_each_time_and_then_for_a_person(spool):
    spool.add(b"x", **ADDED)
    (folder,) = spool.complete(quiet_s=0)
    waits = []
    for _ in range(2):
        spool.postpone(folder, "no answer", first_s=10, max_attempts=3)
        waits.append(read_state(folder).not_before)
    assert 8 < waits[1] - waits[0] < 12  # 20 s instead of 10 s
    assert spool.due(answered=False) == []
    spool.postpone(folder, "no answer", first_s=10, max_attempts=3)
    ((dead, state),) = dead_series(spool.root)
    assert (dead.name, state.attempts, state.reason) == (folder.name, 3, "no answer")
    assert spool.retry_dead() == 1
    assert [path.name for path in spool.due(answered=False)] == [folder.name]


def test_results_go_to_every_place_of_the_rules_that_are_met(tmp_path):
    (tmp_path / "r.toml").write_text(ROUTES)
    routes = read_routes(tmp_path / "r.toml")
    web = "https://pacs.example/dicom-web"

    def to(caller: str, modality: str, description: str) -> tuple[str, ...]:
        facts = {"caller": caller, "modality": modality, "description": description}
        return tuple(map(str, destinations(routes, **facts)))

    assert to("CT_1", "ct", "head") == ("A@127.0.0.1:104",)
    assert to("CT_1", "mri", "Ax T1 post") == ("A@127.0.0.1:104", web)
    assert to("MR_1", "ct", "t1") == ()


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("[[route", "is no TOML"),
        ("", "holds no"),
        ('[[route]]\nform = "CT_1"\nto = ["A@h:1"]', "form = 'CT_1'"),
        ("[[route]]\nto = []", "leads nowhere"),
        ('[[route]]\nto = ["A"]', "is no destination"),
        ('route = ["A@h:1"]', "holds no ..route.."),
        ('[[route]]\nmodality = "MR"\nto = ["A@h:1"]', "modality 'MR'"),
        ('[[route]]\nto = ["A@h:1"]\ntls = {cert = "x"}', "holds tls ="),
        ('[[route]]\nto = ["A@h:1"]\ntls = {ca = "x"}', "cannot be used for TLS"),
        ('[[route]]\nto = ["A@h:1"]\ntls = {key = "x"}', "lacks its counterpart"),
        ('[[route]]\nto = ["https://a:b@h/d", "https://c:d@h/d"]', "with different logins"),
    ],
)
def test_rules_that_are_none_are_an_error_at_the_start(tmp_path, text, fact):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(SettingsError, match=fact):
        read_routes(tmp_path / "r.toml")
