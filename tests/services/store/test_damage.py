"""A row that is damaged is an error of that row, and a connection that failed is not used again."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select
from support.tampering import FOUR, JOB, ONE, TWO, fill

from tumorlens.errors import NotStoredError
from tumorlens.records import PreparedScan, Unusable
from tumorlens.services.store import (
    Store,
    find_predictions,
    get_prediction,
    heatmap_of,
    open_store,
    verify,
)
from tumorlens.services.store.database import PredictionRow
from tumorlens.services.store.export import history_table
from tumorlens.services.store.history import iter_job
from tumorlens.services.store.jobs import waiting_scans
from tumorlens.services.store.keys import create_key


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = open_store(str(tmp_path / "store.sqlite"))
    fill(opened)
    return opened


def damage(store: Store, change: str, *given: object) -> None:
    with sqlite3.connect(store.engine.url.database or "") as connection:
        connection.execute(change, given)


@pytest.mark.parametrize(
    "document",
    ["", "{}", "[]", "not JSON", "[" * 100_000, '{"schema_version": 1}', b"\xff\xfe", b"\x00"],
    ids=lambda text: repr(text)[:24],
)
def test_a_damaged_answer_is_an_error_of_that_row_alone(store: Store, document: str | bytes):
    damage(store, "UPDATE predictions SET document = ? WHERE id = ?", document, ONE)
    found = {row.id: row for row in find_predictions(store)}
    assert len(found) == 4
    assert "is damaged in the store" in found[ONE].prediction.error
    assert found[ONE].prediction.bundle == "small@012345678901"
    assert found[ONE].damaged == ("document",)
    assert found[TWO].prediction.error == ""
    assert get_prediction(store, ONE) is not None
    assert len("".join(history_table(store, found.values())).splitlines()) == 5


def test_numbers_that_are_none_are_damage(store: Store):
    damage(store, "UPDATE predictions SET document = replace(document, '0.9', 'NaN')")
    assert all(row.prediction.error for row in find_predictions(store))


@pytest.mark.parametrize("value", ["x", 7, b"", b"\x93NUMPY\x01\x00\xff\xff"], ids=repr)
@pytest.mark.parametrize("column", ["evidence", "prepared"])
def test_a_damaged_image_leaves_the_answer(store: Store, column: str, value: object):
    damage(store, f"UPDATE predictions SET {column} = ? WHERE id = ?", value, ONE)
    found = get_prediction(store, ONE)
    assert (found.prediction.decision, found.damaged) == ("tumor", (column,))
    with pytest.raises(NotStoredError, match="damaged"):
        heatmap_of(found)


def test_an_evidence_map_that_claims_to_be_huge_allocates_nothing(store: Store):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**6}, {10**6})}}\n".encode()
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    damage(store, "UPDATE predictions SET evidence = ? WHERE id = ?", data, ONE)
    assert get_prediction(store, ONE).damaged == ("evidence",)


@pytest.mark.parametrize("text", ["CAST(X'ff' AS TEXT)", "X'ff'", "7"])
@pytest.mark.parametrize("column", ["bundle", "source", "timings", "created_at", "input_sha256"])
def test_text_that_is_none_takes_no_other_row_with_it(store: Store, column: str, text: str):
    damage(store, f"UPDATE predictions SET {column} = {text} WHERE id = ?", ONE)
    assert len(find_predictions(store)) == 4
    assert verify(store).problems == (f"prediction {ONE} was altered",)


def test_a_damaged_answer_of_a_batch_is_one_of_its_rows(store: Store):
    damage(store, "UPDATE predictions SET document = '' WHERE id = ?", FOUR)
    assert ["damaged" in row.prediction.error for row in iter_job(store, JOB)] == [True]


def test_a_damaged_scan_that_waits_holds_up_no_other(store: Store):
    damage(store, "UPDATE job_scans SET pixels = 'x' WHERE position = 1")
    first, second = waiting_scans(store)
    assert isinstance(first.scan, Unusable)
    assert "is damaged in the store" in first.scan.reason
    assert isinstance(second.scan, PreparedScan)
    assert np.array_equal(second.scan.pixels.ravel(), np.arange(64) + 2)


def test_a_connection_that_saw_an_exception_is_not_used_again(store: Store):
    held = []

    def fail() -> None:
        with store.reading() as connection:
            held.append(connection.execute(select(PredictionRow.__table__)))
            held.append(held[0].fetchone())
            raise ZeroDivisionError  # the cursor is open, and somebody keeps it

    with pytest.raises(ZeroDivisionError):
        fail()
    damage(store, "DELETE FROM predictions WHERE id = ?", ONE)
    assert len(find_predictions(store)) == 3
    assert create_key(store, "after")
