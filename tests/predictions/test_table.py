"""Facts about predictions.csv."""

import os
from dataclasses import replace

import pytest

from tumorlens.files import read_table
from tumorlens.predictions.document import COLUMNS, table_row, write_predictions
from tumorlens.records import Prediction

MRI = Prediction(
    path="a.png",
    modality="mri",
    modality_probability=0.987654321,
    tumor_probability=0.75,
    decision="tumor",
    type="glioma",
    type_probabilities={"glioma": 0.5, "meningioma": 0.3, "pituitary": 0.2},
    threshold=0.25,
    bundle="tiny@0123456789ab",
)
FAILED = Prediction("b.png", bundle="tiny@0123456789ab", error="is empty. Export it again.")


def test_the_columns_are_the_contract():
    assert ", ".join(COLUMNS) == (
        "path, series, slice, modality, modality_probability, tumor_probability, decision, type, "
        "p_glioma, p_meningioma, p_pituitary, threshold, bundle, notes, error"
    )


def test_the_header_of_the_file_is_the_contract(tmp_path):
    write_predictions([], tmp_path / "predictions.csv")
    assert (tmp_path / "predictions.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_a_prediction_is_one_row():
    assert table_row(MRI) == {
        "path": "a.png",
        "series": "",
        "slice": "",
        "modality": "mri",
        "modality_probability": "0.987654",
        "tumor_probability": "0.750000",
        "decision": "tumor",
        "type": "glioma",
        "p_glioma": "0.500000",
        "p_meningioma": "0.300000",
        "p_pituitary": "0.200000",
        "threshold": "0.250000",
        "bundle": "tiny@0123456789ab",
        "notes": "",
        "error": "",
    }


def test_what_was_tolerated_while_reading_is_in_the_row():
    noted = replace(MRI, notes=("first of 3 frames read", "named PNG, is TIFF"))
    assert table_row(noted)["notes"] == "first of 3 frames read; named PNG, is TIFF"


def test_a_failure_is_a_row_with_its_error_and_nothing_made_up():
    row = table_row(FAILED)
    known = {name for name, value in row.items() if value}
    assert known == {"path", "bundle", "error"}
    assert row["error"] == "is empty. Export it again."


def test_a_probability_of_zero_is_not_empty():
    assert table_row(Prediction("a", tumor_probability=0.0))["tumor_probability"] == "0.000000"


def test_rows_stand_in_the_order_of_the_predictions(tmp_path):
    write_predictions([FAILED, MRI, FAILED], tmp_path / "new" / "predictions.csv")
    assert [r["path"] for r in read_table(tmp_path / "new" / "predictions.csv")] == [
        "b.png", "a.png", "b.png"]  # fmt: skip


@pytest.mark.parametrize(
    "path",
    ["a,b.png", 'quoted "name".png', "two\nlines.png", "köpf/脳.png", " blank ", "=1+1.png",
     os.fsdecode(b"not \xff unicode.png")],
)  # fmt: skip
def test_every_path_comes_back_from_the_file(tmp_path, path):
    out = tmp_path / "predictions.csv"
    write_predictions([Prediction(path, error="two\nlines, too"), MRI], out)
    assert [row["path"] for row in read_table(out)] == [path, "a.png"]
    assert read_table(out)[0]["error"] == "two\nlines, too"


def test_a_table_that_fails_half_way_leaves_what_stood_there(tmp_path):
    out = tmp_path / "predictions.csv"
    write_predictions([MRI], out)
    before = out.read_bytes()

    def failing():
        yield FAILED
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_predictions(failing(), out)
    assert out.read_bytes() == before
