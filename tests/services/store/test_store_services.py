"""Keys, batches and group commits of the store."""

import csv
import io
import threading
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError

from tumorlens.errors import (
    ApiKeyError,
    NotStoredError,
    StoreError,
    StoreFullError,
    TooManyJobsError,
)
from tumorlens.records import Prediction, PreparedScan
from tumorlens.services.store import (
    NewPrediction,
    Review,
    Store,
    commit_queue,
    expire_predictions,
    find_predictions,
    iter_predictions,
    open_store,
    save_predictions,
    save_review,
    verify,
)
from tumorlens.services.store.audit_log import days_ago, entries
from tumorlens.services.store.commit_queue import CommitQueue
from tumorlens.services.store.database import KeyRow
from tumorlens.services.store.export import HISTORY_COLUMNS, history_table
from tumorlens.services.store.history import iter_job
from tumorlens.services.store.jobs import (
    JobScan,
    NewJob,
    cancel_job,
    check_unfinished,
    get_job,
    save_answers,
    save_job,
    waiting_scans,
)
from tumorlens.services.store.keys import create_key, find_key, has_valid_key, list_keys, revoke_key

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store.sqlite"))


def new(**more: Any) -> NewPrediction:
    answer = more.pop("answer", Prediction("slice", decision="tumor", tumor_probability=0.9))
    return NewPrediction(
        answer, input_sha256="a" * 64, bundle_sha256="b" * 64, owner="ann", source="http", **more
    )


def test_a_key_is_found_by_its_secret_alone(store: Store):
    key, secret = create_key(store, "ward", scopes=frozenset({"read", "predict"}))
    assert find_key(store, secret) == key
    for wrong in (secret[:-1], secret + "x", secret.upper(), "", key.id, f"tlk_{key.id}_"):
        assert find_key(store, wrong) is None


def test_only_the_hash_of_a_key_is_stored(store: Store):
    key, secret = create_key(store, "ward")
    with store.reading() as connection:
        row = connection.execute(KeyRow.__table__.select()).one()
    assert secret.removeprefix(f"tlk_{key.id}_") not in str(row)


def test_a_revoked_and_an_expired_key_are_not_found(store: Store):
    key, secret = create_key(store, "ward")
    revoke_key(store, key.id)
    assert find_key(store, secret) is None
    assert find_key(store, create_key(store, "late", days=-1)[1]) is None
    assert len(list_keys(store)) == 2
    with pytest.raises(ApiKeyError):
        revoke_key(store, key.id)


@pytest.mark.parametrize("scopes", [set(), {"write"}, {"read", "root"}])
def test_a_key_with_unknown_scopes_is_refused(store: Store, scopes: set):
    with pytest.raises(ApiKeyError):
        create_key(store, "ward", scopes=frozenset(scopes))


def test_what_is_done_with_keys_is_in_the_trail(store: Store):
    key, _ = create_key(store, "ward")
    revoke_key(store, key.id)
    assert [(e.event.action, e.event.subject) for e in entries(store)] == [
        ("key created", key.id),
        ("key revoked", key.id),
    ]
    assert verify(store).problems == ()


def job_of(count: int) -> NewJob:
    scans = [
        PreparedScan(f"scan {i}", PIXELS + i, ("a note",), modality="ct") for i in range(count)
    ]
    job = NewJob("ann", [JobScan(i, scan, "c" * 64) for i, scan in enumerate(scans)], [])
    failed = new(answer=Prediction("bad", error="no"), job=job.id, position=count)
    return NewJob(job.owner, job.waiting, [failed], id=job.id)


def test_a_waiting_scan_comes_back_as_it_was(store: Store):
    job = job_of(2)
    save_job(store, job)
    waiting = waiting_scans(store)
    assert [item.position for item in waiting] == [0, 1]
    assert np.array_equal(waiting[1].scan.pixels, PIXELS + 1)
    assert (waiting[1].scan.notes, waiting[1].owner) == (("a note",), "ann")
    assert waiting[1].scan.modality == "ct"
    found = get_job(store, job.id)
    assert (found.state, found.total, found.answered, found.failed) == ("running", 3, 1, 1)


def test_a_scan_of_a_job_is_answered_once_whoever_answers_it(store: Store):
    job = job_of(2)
    save_job(store, job)
    answers = [new(job=job.id, position=position) for position in (0, 1)]
    save_answers(store, answers)
    save_answers(store, [replace(answer, id=f"{i}" * 32) for i, answer in enumerate(answers)])
    assert get_job(store, job.id).state == "done"
    assert waiting_scans(store) == []
    assert [row.position for row in iter_job(store, job.id)] == [0, 1, 2]


def test_a_job_of_another_owner_is_not_there(store: Store):
    job = job_of(1)
    save_job(store, job)
    with pytest.raises(NotStoredError):
        get_job(store, job.id, owner="bob")


def test_owners_take_turns_whoever_came_first(store: Store):
    save_job(store, job_of(3))
    save_job(store, replace(job_of(2), owner="bob"))
    owners = [item.owner for item in waiting_scans(store, limit=4)]
    assert owners == ["ann", "bob", "ann", "bob"]


def test_a_canceled_batch_keeps_its_answers_and_waits_no_more(store: Store):
    job = job_of(2)
    save_job(store, job)
    save_answers(store, [new(job=job.id, position=0)])
    with pytest.raises(NotStoredError):
        cancel_job(store, job.id, actor="bob", owner="bob")
    found = cancel_job(store, job.id, actor="ann", owner="ann")
    assert (found.state, found.answered, found.total) == ("canceled", 2, 3)
    assert waiting_scans(store) == []
    assert verify(store).problems == ()
    assert [e.event.action for e in entries(store)][-1] == "job canceled"


def test_a_batch_that_is_done_is_not_canceled(store: Store):
    job = job_of(0)
    save_job(store, job)
    assert cancel_job(store, job.id, actor="ann").state == "done"


def test_an_owner_may_have_so_many_unfinished_batches(store: Store):
    save_job(store, job_of(1), max_unfinished=1)
    save_job(store, replace(job_of(1), owner="bob"), max_unfinished=1)
    with pytest.raises(TooManyJobsError, match="1 unfinished"):
        save_job(store, job_of(1), max_unfinished=1)
    with pytest.raises(TooManyJobsError):
        check_unfinished(store, "ann", max_unfinished=1)
    check_unfinished(store, "ann", max_unfinished=2)
    assert verify(store).entries == 4


def test_a_store_knows_whether_some_key_opens_it(store: Store):
    assert not has_valid_key(store)
    key, _ = create_key(store, "ward")
    create_key(store, "late", days=-1)
    assert has_valid_key(store)
    revoke_key(store, key.id)
    assert not has_valid_key(store)


def test_retention_takes_jobs_with_what_waits(store: Store):
    save_job(store, job_of(2))
    expire_predictions(store, before=days_ago(-1))
    assert waiting_scans(store) == []


def test_what_many_threads_submit_is_all_written(store: Store):
    commits = CommitQueue(store)
    futures = []

    def submit_many() -> None:
        futures.extend(commits.submit(new()) for _ in range(25))

    threads = [threading.Thread(target=submit_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    commits.close()
    ids = {future.result(timeout=0) for future in futures}
    assert ids == {row.id for row in find_predictions(store, limit=200)}
    assert len(ids) == 100


def test_many_answers_share_one_transaction(store: Store, monkeypatch: pytest.MonkeyPatch):
    groups: list[int] = []
    is_first, gate = True, threading.Event()

    def slow(opened: Store, items: Any) -> list[str]:
        nonlocal is_first
        if is_first:
            is_first = False
            gate.wait(10)
        groups.append(len(items))
        return save_predictions(opened, items)

    monkeypatch.setattr(commit_queue, "save_predictions", slow)
    commits = CommitQueue(store)
    futures = [commits.submit(new()) for _ in range(20)]
    gate.set()
    wait(futures)
    assert sum(groups) == 20
    assert len(groups) <= 3


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that waits for others longer than any test does."""
    monkeypatch.setattr(commit_queue, "GATHER_SECONDS", 60.0)


@pytest.mark.usefixtures("patient")
def test_an_answer_waits_for_another_that_is_in_work(store: Store):
    groups: list[int] = []
    commits = CommitQueue(store, in_work=lambda: 2, on_commit=lambda count, _: groups.append(count))
    first = commits.submit(new())
    wait([first], timeout=0.2)
    assert not first.done()
    wait([first, commits.submit(new())], timeout=10)
    commits.close()
    assert groups == [2]


@pytest.mark.usefixtures("patient")
def test_an_answer_that_is_alone_is_written_at_once(store: Store):
    assert CommitQueue(store, in_work=lambda: 1).submit(new()).result(timeout=10)


@pytest.mark.usefixtures("patient")
def test_what_waits_for_others_is_written_when_the_service_stops(store: Store):
    commits = CommitQueue(store, in_work=lambda: 9)
    submitted = commits.submit(new())
    commits.close()
    assert submitted.result(timeout=0)


def test_a_submitted_answer_is_not_taken_back(store: Store):
    commits = CommitQueue(store)
    submitted = commits.submit(new())
    assert not submitted.cancel()
    assert submitted.result(timeout=10)


def test_one_row_that_cannot_be_written_does_not_take_the_others_with_it(store: Store):
    bad = new(answer=Prediction("bad", tumor_probability=float("nan")))
    commits = CommitQueue(store)
    futures = [commits.submit(item) for item in (new(), bad, new())]
    commits.close()
    assert [future.exception(0) is None for future in futures] == [True, False, True]
    assert len(find_predictions(store)) == 2


def passing_error() -> StoreError:
    error = StoreError("store", "failed", "Wait.")
    error.__cause__ = OperationalError("", {}, Exception("database is locked"))
    return error


def test_a_passing_failure_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch):
    failures = [passing_error(), passing_error()]

    def flaky(opened: Store, items: Any) -> list[str]:
        if failures:
            raise failures.pop()
        return save_predictions(opened, items)

    monkeypatch.setattr(commit_queue, "save_predictions", flaky)
    assert CommitQueue(store).submit(new()).result(timeout=10)
    assert len(find_predictions(store)) == 1


def test_a_full_disk_is_said_at_once(store: Store, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> list[str]:
        raise StoreFullError("store", "is full", "Free space.")

    monkeypatch.setattr(commit_queue, "save_predictions", full)
    with pytest.raises(StoreFullError):
        CommitQueue(store).submit(new()).result(timeout=10)


def exported(store: Store, **options: Any) -> list[dict[str, str]]:
    text = "".join(history_table(store, iter_predictions(store), **options))
    return list(csv.DictReader(io.StringIO(text)))


def test_the_history_has_a_row_for_each_answer_with_its_latest_review(store: Store):
    first, second = save_predictions(store, [new(), new()])
    save_review(store, Review(first, "ann", "agree"))
    last = save_review(store, Review(first, "bob", "correct", "no tumor", reason="artifact"))
    unreviewed, reviewed = exported(store)
    assert tuple(reviewed) == HISTORY_COLUMNS
    assert (unreviewed["id"], unreviewed["review"], unreviewed["reviewed_at"]) == (second, "", "")
    assert (reviewed["id"], reviewed["owner"], reviewed["source"]) == (first, "ann", "http")
    assert (reviewed["review"], reviewed["reviewed_at"]) == ("correct", last.created_at)
    assert (reviewed["reviewed_decision"], reviewed["review_reason"]) == ("no tumor", "artifact")


def test_text_that_a_spreadsheet_would_run_is_neutralized(store: Store):
    (id,) = save_predictions(store, [new(answer=Prediction("=cmd()", decision="tumor"))])
    save_review(store, Review(id, "ann", "correct", "no tumor", reason="@sum(1)"))
    (row,) = exported(store)
    assert (row["path"], row["review_reason"]) == ("'=cmd()", "'@sum(1)")


def test_names_of_files_that_only_the_caller_knows_are_in_the_history(store: Store):
    save_predictions(store, [new()])
    assert exported(store, names={"a" * 64: "+mine.png"})[0]["path"] == "'+mine.png"
