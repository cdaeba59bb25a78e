"""Facts about the answers for whole series in the store."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from tumorlens.predictions.series_answer import SeriesPrediction
from tumorlens.services.store import NewSeries, find_series, open_store, save_series, verify
from tumorlens.services.store.audit_log import days_ago
from tumorlens.services.store.history import expire_predictions

ANSWER = SeriesPrediction(
    series="series-0123456789ab", modality="mri", plane="axial", slices=2, judged=2,
    out_of_scope=0.0, curve=(0.25, None), longest_run_slices=1, longest_run_mm=5.0, threshold=0.5,
    bundle="tiny@0", score=0.75, maximum=0.75, peak_slice=1, type="glioma", probability=0.875,
    decision="tumor", reasons=("a reason",),
)  # fmt: skip
NEW = NewSeries(ANSWER, "dicom:CT_1", "dicom", "f" * 64, id="1" * 32, description="Ax T1")
COLUMNS = ("created_at", "owner", "source", "series", "modality", "decision", "bundle",
           "bundle_sha256", "description", "document")  # fmt: skip


@pytest.fixture
def store(tmp_path):
    opened = open_store(str(tmp_path / "store.db"))
    yield opened
    opened.close()


def test_an_answer_comes_back_as_it_was_and_once(store):
    for _ in range(2):
        save_series(store, [NEW])
    (found,) = find_series(store)
    assert (found.answer, found.owner, found.description) == (ANSWER, "dicom:CT_1", "Ax T1")


def test_series_are_listed_by_owner_and_source_newest_first(store):
    save_series(store, [NEW, replace(NEW, id="2" * 32), replace(NEW, id="3" * 32, owner="key")])
    assert [one.id[0] for one in find_series(store, owner="dicom:CT_1")] == ["2", "1"]
    assert [one.id[0] for one in find_series(store, limit=2)] == ["3", "2"]
    assert [one.id[0] for one in find_series(store, before=2)] == ["1"]
    assert find_series(store, source="http") == []


@pytest.mark.parametrize("column", COLUMNS)
def test_a_changed_column_is_noticed(store, column):
    save_series(store, [NEW])
    assert verify(store).problems == ()
    with store.writing() as connection:
        connection.execute(text(f"UPDATE series SET {column} = 'other'"))
    assert verify(store).problems == (f"series {NEW.id} was altered",)


def test_a_damaged_answer_takes_no_other_with_it(store):
    save_series(store, [NEW, replace(NEW, id="2" * 32)])
    with store.writing() as connection:
        connection.execute(text("UPDATE series SET document = '{' WHERE number = 1"))
    whole, damaged = find_series(store)
    assert whole.answer == ANSWER
    assert damaged.answer.reasons == ("is damaged in the store",)


def test_retention_removes_series_too(store):
    save_series(store, [NEW])
    expire_predictions(store, before=days_ago(-1))
    assert find_series(store) == []
    assert verify(store).problems == ()
