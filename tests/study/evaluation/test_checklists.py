"""Checklists hold every item of their guideline, filled from the run or said to be open."""

from dataclasses import replace
from pathlib import Path

import pytest

from tumorlens.models.bundle import load_bundle
from tumorlens.models.performance import Provenance
from tumorlens.reports.evaluation import (
    EvaluationResult,
    Robustness,
    SplitFacts,
    read_result,
)
from tumorlens.study.evaluation.checklists import NOT_ESTABLISHED, fill_checklists, read_table

STORED = Path(__file__).parents[2] / "support" / "study" / "evaluation" / "evaluation.json"


@pytest.fixture(scope="module")
def result() -> EvaluationResult:
    """An evaluation of 36 scans, as of one of the sets that the shipped bundle trained on."""
    found = read_result(STORED)
    own = next(iter(load_bundle().provenance.data.cases["train"])).split("/")[0]
    return as_of_set(found, own)


def as_of_set(result: EvaluationResult, name: str) -> EvaluationResult:
    groups = dict(result.subgroups) | {
        "data set": {name: next(iter(result.subgroups["data set"].values()))}
    }
    split = SplitFacts("0123456789abcdef", 36, 0.0)
    return replace(result, datasets={name: 36}, subgroups=groups, unreadable=1, split=split)


def answers(result, bundle, guideline="CLAIM 2024"):
    return {row.number: row for row in fill_checklists(result, bundle)[guideline]}


def test_every_item_of_both_guidelines_is_there_once_in_order():
    items = read_table()["items"]
    claim, tripod = ([row[0] for row in items[name]] for name in ("CLAIM 2024", "TRIPOD+AI"))
    assert claim == [str(k) for k in range(1, 45)]
    assert len(tripod) == len(set(tripod)) == 52
    assert {number.rstrip("abcdefg") for number in tripod} == {str(k) for k in range(1, 28)}


def test_every_answer_an_item_names_can_be_given_and_every_answer_is_asked_for():
    table = read_table()
    asked = {row[2] for items in table["items"].values() for row in items} - {""}
    assert asked == set(table["answers"])


@pytest.mark.parametrize(
    ("number", "told"),
    [("1", "efficientnet"), ("12", "1 of 36 scans could not be read"), ("19", "0123456789abcdef"),
     ("28", "AUC"), ("32", ": AUC 0.997 (0.979-1.000, n=36)"),
     ("38", "sensitivity 1.000 (0.862-1.000, n=24)"), ("39", "missed tumors and"),
     ("15", NOT_ESTABLISHED)],
)  # fmt: skip
def test_items_are_filled_from_the_run(result, number, told):
    row = answers(result, load_bundle())[number]
    assert told in row.answer
    assert row.established == (told != NOT_ESTABLISHED)


@pytest.mark.parametrize("number", ["2", "13", "16", "33", "36", "44"])
def test_what_a_run_cannot_know_is_not_established(result, number):
    row = answers(result, load_bundle())[number]
    assert NOT_ESTABLISHED in row.answer
    assert not row.established


def test_a_set_that_was_not_trained_on_is_external(result):
    found = answers(as_of_set(result, "other"), load_bundle())
    assert found["33"].answer.startswith("other: AUC")
    assert NOT_ESTABLISHED in found["32"].answer


def test_without_a_split_nothing_says_how_data_were_parted(result):
    found = answers(replace(result, split=SplitFacts()), load_bundle())
    assert found["19"].answer == found["20"].answer == f"{NOT_ESTABLISHED}: no split was given"


def test_a_bundle_that_recorded_nothing_leaves_its_items_open(result, tiny_bundle):
    found = answers(result, replace(tiny_bundle, provenance=Provenance()))
    assert found["22"].answer == found["25"].answer == NOT_ESTABLISHED
    assert not found["33"].established
    assert found["37"].established


def test_every_fact_that_an_answer_names_is_known_of_a_whole_bundle(result):
    templates = read_table()["answers"]
    whole = replace(result, robustness=Robustness(36, 36, ()))
    table = fill_checklists(whole, load_bundle())
    names = {(name, row[0]): row[2] for name, rows in read_table()["items"].items() for row in rows}
    found = {names[name, row.number]: row.answer for name, rows in table.items() for row in rows}
    lost = [name for name in templates if found[name] == NOT_ESTABLISHED]
    assert lost == []
