"""Whoever changes the store shows: by the trail, by its signature, by a head kept elsewhere."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from support.tampering import TAMPERINGS, fill, recompute, tampered

from tumorlens.errors import StoreError
from tumorlens.records import Prediction
from tumorlens.services.store import NewPrediction, Store, get_head, open_store, save_predictions
from tumorlens.services.store.audit_log import (
    Event,
    append,
    check_signed,
    days_ago,
    export_head,
    lock_head,
    start_signing,
)
from tumorlens.services.store.database import read_audit_key
from tumorlens.services.store.keys import create_key, find_key
from tumorlens.services.store.verification import (
    read_heads,
    read_heads_file,
    verify,
    verify_connection,
)

KEY, OTHER_KEY = "ab" * 32, "cd" * 32


def new() -> NewPrediction:
    return NewPrediction(Prediction("x", decision="tumor"), "a" * 64, "b" * 64, "ann", "http")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = open_store(str(tmp_path_factory.mktemp("signed") / "s.sqlite"), audit_key=KEY)
    fill(store)
    yield store
    store.close()


@pytest.fixture
def plain(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "plain.sqlite"))


@pytest.fixture
def own(tmp_path: Path) -> Store:
    """A signed store that a test may spoil."""
    store = open_store(str(tmp_path / "own.sqlite"), audit_key=KEY)
    save_predictions(store, [new(), new()])
    return store


def test_a_store_that_nobody_changed_verifies(signed: Store):
    verdict = verify(signed)
    assert verdict.problems == verdict.notes == ()
    assert verdict.entries == verdict.head.number == 10


@pytest.mark.parametrize("name", TAMPERINGS)
def test_every_tampering_shows(signed: Store, name: str):
    with tampered(signed, name) as connection:
        assert verify_connection(connection).problems


def test_a_trail_that_was_made_anew_to_fit_shows_by_its_signature_alone(signed: Store):
    noticed, without_key = set(), set()
    for name in TAMPERINGS:
        with tampered(signed, name) as connection:
            recompute(connection)
            if verify_connection(connection).problems:
                noticed.add(name)
            connection.execution_options(tumorlens_audit_key=b"")
            if verify_connection(connection).problems:
                without_key.add(name)
    assert noticed == set(TAMPERINGS)
    assert without_key == set()


def test_an_older_copy_of_the_whole_store_shows_by_a_head_kept_elsewhere(own: Store):
    file = Path(own.engine.url.database or "")
    own.close()  # all of it is in the one file then
    shutil.copy(file, file.with_name("copy.sqlite"))
    save_predictions(own, [new()])
    kept = get_head(own)
    copy = open_store(str(file.with_name("copy.sqlite")), audit_key=KEY)
    assert verify(copy).problems == ()
    assert verify(own, expected=read_heads(str(kept))).problems == ()
    assert verify(copy, expected=read_heads(str(kept))).problems == (
        "entry 3, kept elsewhere, is not there",
    )
    wrong = [(1, "f" * 64)]
    assert "entry 1 is not the one that was kept" in verify(own, expected=wrong).problems[0]


def test_a_service_that_goes_on_signs_no_chain_that_somebody_else_made(own: Store):
    with own.writing() as connection:
        connection.execute(text("UPDATE audit_head SET signature = ''"))
    save_predictions(own, [new()])
    assert "the head before entry 3 was not signed" in verify(own).problems[0]


def test_a_trail_is_signed_from_the_entry_that_says_so(plain: Store):
    save_predictions(plain, [new()])
    file = plain.engine.url.database or ""
    store = open_store(file, audit_key=KEY)
    with pytest.raises(StoreError, match="audit-trail sign"):
        check_signed(store)
    start_signing(store)
    check_signed(store)
    save_predictions(store, [new()])
    verdict = verify(store)
    assert verdict.problems == ()
    assert "signed since entry 2" in verdict.notes[0]


def test_another_key_takes_over_by_an_entry(own: Store):
    store = open_store(own.engine.url.database or "", audit_key=OTHER_KEY)
    assert verify(store).problems == ("the head is not signed with this key",)
    start_signing(store)
    assert verify(store).problems == ()


def test_without_the_key_a_signed_trail_takes_no_entry(own: Store):
    store = open_store(own.engine.url.database or "")
    with pytest.raises(StoreError, match="TUMORLENS_AUDIT_KEY"):
        save_predictions(store, [new()])
    verdict = verify(store)
    assert verdict.problems == ()
    assert "was not checked" in verdict.notes[0]
    with pytest.raises(StoreError, match="openssl"):
        start_signing(store)


def test_a_key_is_read_from_its_digits_or_from_a_file(tmp_path: Path):
    (tmp_path / "key").write_text(KEY + "\n")
    assert read_audit_key(KEY) == read_audit_key(str(tmp_path / "key")) == bytes.fromhex(KEY)
    assert read_audit_key("") == b""


@pytest.mark.parametrize("wrong", ["ab" * 31, "nowhere", "abc" * 22 + "x"])
def test_a_key_that_is_none_is_refused_without_being_shown(tmp_path: Path, wrong: str):
    with pytest.raises(StoreError, match="openssl") as caught:
        read_audit_key(wrong)
    assert wrong not in str(caught.value)
    (tmp_path / "key").write_text(wrong)
    with pytest.raises(StoreError, match="64 hex digits") as caught:
        read_audit_key(str(tmp_path / "key"))
    assert wrong not in str(caught.value)


def test_exported_heads_are_found_again(own: Store, tmp_path: Path):
    file = tmp_path / "heads.txt"
    first = export_head(own, file)
    save_predictions(own, [new()])
    second = export_head(own, file)
    kept = read_heads_file(file)
    assert kept == [(first.number, first.hash), (second.number, second.hash)]
    assert verify(own, expected=kept).problems == ()
    file.write_text("nothing")
    for missing in (file, tmp_path / "nowhere"):
        with pytest.raises(StoreError):
            read_heads_file(missing)


def event_at(store: Store, at: str) -> None:
    with store.writing() as connection:
        append(connection, lock_head(connection), [Event("ann", "tested", "x")], at=at)


def test_a_clock_that_went_back_is_noted(plain: Store):
    for hours in (3, 5, 4):
        event_at(plain, days_ago(hours / 24))
    verdict = verify(plain)
    assert verdict.problems == ()
    assert "entry 2 is 7,200 s earlier than the one before it" in verdict.notes


def test_a_trail_from_the_future_is_noted(plain: Store):
    event_at(plain, days_ago(-1))
    assert any("ahead of the clock" in note for note in verify(plain).notes)


def test_an_expired_key_stays_so_when_the_clock_is_set_back(plain: Store):
    _, secret = create_key(plain, "ward", days=1)
    assert find_key(plain, secret)
    event_at(plain, days_ago(-2))  # the trail has seen a time after its end
    assert find_key(plain, secret) is None


def test_progress_is_told(own: Store):
    told = []
    verify(own, progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 2)]
