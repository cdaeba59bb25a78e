"""Records go to JSON and come back as they were."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from tumorlens.json_records import counted_on, from_json, stored_as, to_json, write_json
from tumorlens.records import Estimate


@dataclass(frozen=True)
class Row:
    name: str
    auc: Estimate
    note: str | None = None


@dataclass(frozen=True)
class Whole:
    n: int
    rows: tuple[Row, ...] = field(metadata=stored_as("lines"))
    by_name: Mapping[str, Mapping[str, Row | None]] = field(default_factory=dict)


ROW = Row("a", Estimate(0.9, 0.8, 0.95, 40))
FLAT = {"name": "a", "auc": 0.9, "auc_low": 0.8, "auc_high": 0.95, "n": 40, "note": None}


def test_an_estimate_stands_flat_in_its_record():
    assert to_json(ROW) == FLAT


def test_what_was_written_is_read_again(tmp_path):
    whole = Whole(3, (ROW,), {"x": {"y": ROW, "z": None}})
    write_json(whole, tmp_path / "deep" / "w.json")
    stored = json.loads((tmp_path / "deep" / "w.json").read_text())
    assert stored["lines"] == [FLAT]
    assert from_json(Whole, stored) == whole


def test_unknown_keys_are_left_out_and_missing_ones_take_their_default():
    found = from_json(Row, {"name": "a", "auc": None, "n": 3, "later": 1})
    assert found == Row("a", Estimate(None, None, None, 3))


def test_what_is_no_such_record_is_refused():
    with pytest.raises(TypeError):
        from_json(Row, {"name": "a"})


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.nan, None),
        (np.float32(np.inf), None),
        (np.int64(3), 3),
        (np.array([1.5, np.nan]), [1.5, None]),
        ({1: (np.bool_(True), "x")}, {"1": [True, "x"]}),
    ],
)
def test_numbers_become_what_json_holds(value, plain):
    assert to_json(value) == plain


@dataclass(frozen=True)
class Curve:
    n: int
    n_tumor: int
    sensitivity: Estimate = field(metadata=counted_on("n_tumor"))
    overlap: tuple[Estimate, ...] = ()


def test_an_estimate_may_be_counted_on_another_number_of_its_record():
    curve = Curve(9, 4, Estimate(0.5, 0.2, 0.8, 4))
    assert to_json(curve) | {"n": 9, "n_tumor": 4, "sensitivity": 0.5} == to_json(curve)
    assert from_json(Curve, to_json(curve)) == curve


def test_many_estimates_are_three_lists():
    curve = Curve(9, 4, Estimate(0.5, 0.2, 0.8, 4), (Estimate(0.1, 0.0, 0.3, 9),) * 2)
    assert to_json(curve)["overlap_high"] == [0.3, 0.3]
    assert from_json(Curve, to_json(curve)) == curve
