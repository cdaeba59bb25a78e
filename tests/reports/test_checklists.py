"""Checklists hold every item of their guideline, filled from the run or said to be open."""

from dataclasses import replace

import pytest

from tumorlens.models.bundle import load_bundle
from tumorlens.reports.evaluation.checklists import (
    CLAIM,
    GUIDELINES,
    NOT_ESTABLISHED,
    TRIPOD_AI,
    fill,
)
from tumorlens.study.evaluation.checklist_answers import ANSWERS, checklist_answers

SPLIT = {"fingerprint": "0123456789abcdef", "n": 40, "share": 0.0}
ROW = {"n": 40, "n_tumor": 20, "n_healthy": 20, "n_groups": 35, "threshold": 0.4, "auc": 0.9,
       "auc_low": 0.8, "auc_high": 0.95, "sensitivity": 0.9, "specificity": 0.7}  # fmt: skip
FIGURES = {
    "n": 41, "unreadable": 1, "part": "test", "split": SPLIT, "intervals": "95 %",
    "datasets": {"multimodal": 41}, "labels": {"ct_tumor": 21, "ct_healthy": 20},
    "detection": {"all": ROW, "ct": ROW}, "decisions": {"tumor": 39, "out of scope": 1},
    "threshold_choice": {"aim": "sensitivity >= 0.98", "part": "validation", "n": 50},
    "subgroups": {"data set": {"multimodal": {"detection": ROW}}},
    "failures": {kind: {"total": 2, "with_conflict": 1}
                 for kind in ("false_negatives", "false_positives")},
    "localisation": None, "explanation": None, "robustness": {"n": 40},
}  # fmt: skip


def test_every_item_of_both_guidelines_is_there_once_in_order():
    assert [item.number for item in CLAIM] == [str(k) for k in range(1, 45)]
    assert len(TRIPOD_AI) == len({item.number for item in TRIPOD_AI}) == 52
    assert {item.number.rstrip("abcdefg") for item in TRIPOD_AI} == {str(k) for k in range(1, 28)}


def test_every_answer_an_item_names_can_be_given_and_every_answer_is_asked_for():
    asked = {item.answer for items in GUIDELINES.values() for item in items} - {""}
    assert asked == set(ANSWERS)


@pytest.mark.parametrize(
    ("number", "told"),
    [("1", "residual"), ("12", "1 of 41 scans could not be read"), ("19", "0123456789abcdef"),
     ("28", "AUC"), ("32", "multimodal: AUC 0.900 (0.800-0.950, n=40)"),
     ("38", "sensitivity 0.900 (n=20)"), ("39", "2 missed tumors and 2 false alarms")],
)  # fmt: skip
def test_items_are_filled_from_the_run(number, told):
    rows = fill(checklist_answers(FIGURES, load_bundle()))["CLAIM 2024"]
    row = next(row for row in rows if row["number"] == number)
    assert told in row["answer"]
    assert row["established"]


@pytest.mark.parametrize("number", ["2", "13", "16", "33", "36", "44"])
def test_what_a_run_cannot_know_is_not_established(number):
    rows = fill(checklist_answers(FIGURES, load_bundle()))["CLAIM 2024"]
    row = next(row for row in rows if row["number"] == number)
    assert NOT_ESTABLISHED in row["answer"]
    assert not row["established"]


def test_a_set_that_was_not_trained_on_is_external():
    subgroups = {"data set": {"other": {"detection": ROW}}}
    figures = FIGURES | {"datasets": {"other": 41}, "subgroups": subgroups}
    found = checklist_answers(figures, load_bundle())
    assert found["external"].startswith("other: AUC")
    assert NOT_ESTABLISHED in found["internal"]


def test_a_bundle_that_recorded_nothing_leaves_its_items_open(tiny_bundle):
    bare = replace(tiny_bundle, details={})
    found = checklist_answers(FIGURES, bare)
    assert found["model"] == found["training"] == found["external"] == NOT_ESTABLISHED
    assert found["performance"] != NOT_ESTABLISHED
