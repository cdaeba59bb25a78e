"""The store: what goes in comes out, nobody else's does, and the trail shows every change."""

import stat
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tumorlens.errors import NotStoredError, ReviewError, StoreError
from tumorlens.records import Heatmap, Prediction
from tumorlens.services.store import (
    NewPrediction,
    Review,
    Selection,
    Store,
    expire_predictions,
    find_predictions,
    get_prediction,
    heatmap_of,
    iter_predictions,
    latest_reviews,
    open_store,
    reviews_of,
    save_predictions,
    save_review,
    verify,
)
from tumorlens.services.store.database import Table, is_writable

ANSWER = Prediction(
    path="slice", modality="mri", tumor_probability=1 / 3, decision="tumor", type="glioma",
    type_probabilities={"glioma": 1.0}, threshold=0.15, bundle="small@012345678901",
)  # fmt: skip
HEATMAP = Heatmap(np.eye(3, dtype=np.float32), np.arange(64, dtype=np.uint8).reshape(8, 8))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "deep" / "store.sqlite"))


def new(owner: str = "ann", answer: Prediction = ANSWER, **more: object) -> NewPrediction:
    return NewPrediction(
        answer, input_sha256="a" * 64, bundle_sha256="b" * 64, owner=owner, source="http", **more
    )


def tampered(store: Store, *statements: str) -> None:
    with store.writing() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_a_prediction_comes_back_as_it_went_in(store: Store):
    (id,) = save_predictions(store, [new(timings={"total": 3.25})])
    found = get_prediction(store, id)
    assert found.prediction == ANSWER
    assert found.timings == {"total": 3.25}
    assert found.created_at.endswith("Z")


def test_the_scan_is_not_kept_unless_told(store: Store):
    answer = replace(ANSWER, heatmap=HEATMAP)
    left, kept = save_predictions(store, [new(answer=answer), new(answer=answer, keep=True)])
    assert get_prediction(store, left).prepared is None
    assert np.array_equal(get_prediction(store, kept).prepared, HEATMAP.prepared)


def test_a_heatmap_can_be_drawn_later_without_the_scan(store: Store):
    (id,) = save_predictions(store, [new(answer=replace(ANSWER, heatmap=HEATMAP))])
    heatmap = heatmap_of(get_prediction(store, id))
    assert heatmap is not None
    assert np.array_equal(heatmap.evidence, HEATMAP.evidence)
    assert not heatmap.prepared.any()


def test_two_owners_do_not_see_one_another(store: Store):
    (id,) = save_predictions(store, [new("ann")])
    save_predictions(store, [new("bob")])
    assert [found.owner for found in find_predictions(store, Selection(owner="bob"))] == ["bob"]
    with pytest.raises(NotStoredError):
        get_prediction(store, id, owner="bob")


def test_pages_follow_one_another_without_gap_or_repeat(store: Store):
    ids = save_predictions(store, [new() for _ in range(7)])
    first = find_predictions(store, limit=3)
    second = find_predictions(store, limit=10, before=first[-1].number)
    assert [row.id for row in first + second] == ids[::-1]
    assert [row.id for row in iter_predictions(store)] == ids[::-1]


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (Selection(decision="no tumor"), 1),
        (Selection(decision="tumor", owner="ann"), 1),
        (Selection(modality="ct"), 0),
        (Selection(bundle=ANSWER.bundle), 2),
        (Selection(input_sha256="c" * 64), 0),
        (Selection(since="2020-01-01T00:00:00Z"), 2),
        (Selection(until="2020-01-01T00:00:00Z"), 0),
        (Selection(source="batch"), 0),
    ],
)
def test_a_selection_finds_what_it_says(store: Store, selection: Selection, count: int):
    save_predictions(store, [new(), new("bob", replace(ANSWER, decision="no tumor"))])
    assert len(find_predictions(store, selection)) == count


def test_saving_the_same_prediction_again_changes_nothing(store: Store):
    item = new()
    save_predictions(store, [item])
    save_predictions(store, [item, new()])
    assert len(find_predictions(store)) == 2
    assert verify(store).entries == 2


def test_a_reader_who_agrees_takes_over_the_answer(store: Store):
    (id,) = save_predictions(store, [new()])
    review = save_review(store, Review(id, "ann", "agree"))
    assert (review.decision, review.type) == ("tumor", "glioma")
    assert reviews_of(store, id) == [review]


def test_the_latest_review_of_each_answer_counts(store: Store):
    first, second = save_predictions(store, [new(), new()])
    save_review(store, Review(first, "ann", "agree"))
    last = save_review(store, Review(first, "ann", "correct", "no tumor", reason="artifact"))
    assert latest_reviews(store, [first, second]) == {first: last}


@pytest.mark.parametrize(
    "wrong",
    [
        {"verdict": "maybe"},
        {"verdict": "agree", "decision": "no tumor"},
        {"verdict": "correct", "decision": "no tumor"},
        {"verdict": "correct", "decision": "fine", "reason": "r"},
        {"verdict": "correct", "decision": "tumor", "type": "zebra", "reason": "r"},
        {"verdict": "correct", "decision": "no tumor", "type": "glioma", "reason": "r"},
        {"verdict": "correct", "decision": "tumor", "reason": "r" * 2001},
    ],
)
def test_a_review_that_makes_no_sense_is_refused(store: Store, wrong: dict):
    (id,) = save_predictions(store, [new()])
    with pytest.raises(ReviewError):
        save_review(store, Review(id, "ann", **wrong))
    assert reviews_of(store, id) == []


def test_a_review_of_the_answer_of_another_owner_is_refused(store: Store):
    (id,) = save_predictions(store, [new("ann")])
    with pytest.raises(NotStoredError):
        save_review(store, Review(id, "bob", "agree"), owner="bob")


def test_an_untouched_trail_verifies(store: Store):
    (id,) = save_predictions(store, [new() for _ in range(3)])[:1]
    save_review(store, Review(id, "ann", "agree"))
    verdict = verify(store)
    assert (verdict.entries, verdict.problems) == (4, ())


@pytest.mark.parametrize("verb", ["UPDATE audit_trail SET actor = 'x'", "DELETE FROM audit_trail"])
def test_the_database_refuses_to_change_the_trail(store: Store, verb: str):
    save_predictions(store, [new()])
    with pytest.raises(StoreError):
        tampered(store, verb)
    with pytest.raises(DBAPIError), store.engine.begin() as connection:
        connection.execute(text(verb))


NO_TRIGGERS = ("DROP TRIGGER audit_trail_no_update", "DROP TRIGGER audit_trail_no_delete")


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ("UPDATE audit_trail SET actor = 'x' WHERE number = 2", "entry 2 was altered"),
        ("DELETE FROM audit_trail WHERE number = 2", "missing"),
        ("DELETE FROM audit_trail WHERE number = 3", "should end with entry 3"),
        ("UPDATE predictions SET document = replace(document, 'tumor', 'tumour')", "altered"),
        ("DELETE FROM predictions WHERE number = 1", "retention did not remove it"),
    ],
)
def test_every_tampering_shows(store: Store, change: str, finding: str):
    save_predictions(store, [new() for _ in range(3)])
    tampered(store, *NO_TRIGGERS, change)
    assert any(finding in problem for problem in verify(store).problems)


def test_what_retention_removed_is_no_tampering(store: Store):
    ids = save_predictions(store, [new(), new()])
    save_review(store, Review(ids[0], "ann", "agree"))
    assert expire_predictions(store, before="2999-01-01T00:00:00Z") == 2
    assert find_predictions(store) == []
    assert reviews_of(store, ids[0]) == []
    assert verify(store).problems == ()


def test_writers_in_several_threads_keep_one_chain(store: Store):
    def write() -> None:
        for _ in range(10):
            save_predictions(store, [new()])

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    verdict = verify(store)
    assert (verdict.entries, verdict.problems) == (40, ())


def test_a_store_opens_again_with_everything_in_it(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    first = open_store(url)
    save_predictions(first, [new()])
    first.close()
    assert len(find_predictions(open_store(url))) == 1


@pytest.mark.parametrize("is_replaced", [False, True])
def test_nothing_is_written_into_a_file_that_was_taken_away(store: Store, is_replaced: bool):
    save_predictions(store, [new()])
    assert is_writable(store)
    file = Path(store.engine.url.database or "")
    file.rename(file.with_name("moved"))
    if is_replaced:
        file.write_bytes(file.with_name("moved").read_bytes())
    with pytest.raises(StoreError, match="removed or replaced"):
        save_predictions(store, [new()])
    assert not is_writable(store)


def test_a_store_without_room_for_an_answer_is_not_ready(store: Store, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert not is_writable(store)


def test_only_its_owner_may_read_the_file(store: Store):
    file = Path(store.engine.url.database or "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_migrations_end_where_the_tables_are(store: Store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_a_store_of_a_later_version_is_refused(store: Store):
    tampered(store, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="Update tumorlens"):
        open_store(store.engine.url.database or "")


@pytest.mark.parametrize("url", ["mysql://a:b@c/d", "://", "oracle://x"])
def test_a_url_of_another_database_is_refused(url: str):
    with pytest.raises(StoreError):
        open_store(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path):
    file = tmp_path / "notes.sqlite"
    file.write_text("not a database, but long enough to look like one at first" * 40)
    with pytest.raises(StoreError):
        open_store(str(file))
