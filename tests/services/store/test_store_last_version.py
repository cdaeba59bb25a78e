"""A store that the last version wrote: it opens, verifies and exports as it did."""

import csv
import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tumorlens.services.store import (
    Selection,
    Store,
    find_predictions,
    get_prediction,
    iter_predictions,
    open_store,
    reviews_of,
    verify,
)
from tumorlens.services.store.export import history_table
from tumorlens.services.store.jobs import get_job, waiting_scans
from tumorlens.services.store.keys import find_key, list_keys

DUMP = Path(__file__).parents[2] / "support" / "last_version" / "store.sql"
FIRST = "0" * 31 + "1"
JOB = "3" * 32
KEY = "fbd165caf00b"
SECRET = "tlk_fbd165caf00b_pt5Sdr-szDLzJvYy2SnSnWjouoxRlNoT4_UGjbFGBL8"
HEAD = "7a0a76856ffbbbd3757fc0f3a3eb81e34eecc3c9c4fac85005639994c2771f0d"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    file = tmp_path_factory.mktemp("last") / "store.sqlite"
    with sqlite3.connect(file) as connection:
        connection.executescript(DUMP.read_text())
    opened = open_store(str(file))
    yield opened
    opened.close()


def test_its_audit_trail_verifies_to_the_same_hash(store: Store):
    verdict = verify(store)
    assert (verdict.entries, verdict.head.hash, verdict.problems) == (10, HEAD, ())


def test_its_predictions_belong_to_who_asked(store: Store):
    assert [row.number for row in find_predictions(store, Selection(owner=KEY))] == [4, 3, 1]
    assert [row.source for row in find_predictions(store, Selection(owner="local"))] == [
        "dashboard"
    ]


def test_a_prediction_has_its_numbers_its_evidence_and_its_image(store: Store):
    found = get_prediction(store, FIRST, owner=KEY)
    assert found.prediction.tumor_probability == 0.85 / 0.97
    assert found.prediction.atoms["mri_glioma"] == 0.6
    assert found.timings == {"prepare": 3.25, "predict": 2.5}
    assert np.array_equal(found.evidence, np.eye(3))
    assert np.array_equal(found.prepared, np.arange(64).reshape(8, 8))


def test_its_reviews_are_in_their_order(store: Store):
    assert [(row.verdict, row.decision) for row in reviews_of(store, FIRST)] == [
        ("agree", "tumor"),
        ("correct", "no tumor"),
    ]


def test_its_key_opens_and_its_revoked_key_does_not(store: Store):
    key = find_key(store, SECRET)
    assert key is not None
    assert (key.id, key.scopes) == (KEY, {"predict", "read"})
    assert [bool(key.revoked_at) for key in list_keys(store)] == [False, True]


def test_its_batch_goes_on_where_it_was(store: Store):
    job = get_job(store, JOB, owner=KEY)
    assert (job.state, job.total, job.answered, job.failed) == ("running", 3, 2, 1)
    (waiting,) = waiting_scans(store)
    assert (waiting.position, waiting.scan.path, waiting.owner) == (1, "scan 1", KEY)
    assert np.array_equal(waiting.scan.pixels, np.arange(64).reshape(8, 8) + 1)


def test_its_history_exports_with_the_latest_reviews(store: Store):
    text = "".join(history_table(store, iter_predictions(store)))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["owner"] for row in rows] == [KEY, KEY, "local", KEY]
    assert rows[2]["path"] == "'=1+1.png"
    assert (rows[3]["review"], rows[3]["review_reason"]) == ("correct", "motion artifact")
