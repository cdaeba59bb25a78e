"""Controls that must be at chance are, and one that gives the label away is seen."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.made_answers import able_answers, scored

from tumorlens.json_records import to_json
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Case
from tumorlens.study.data.index import read_cases
from tumorlens.study.evaluation.controls import (
    control_figures,
    deal,
    fact_rows,
    rim,
    shuffled_rows,
)
from tumorlens.study.evaluation.labeled_predictions import label_predictions
from tumorlens.study.phantom import write_phantoms


@pytest.fixture(scope="module")
def measured(tiny_bundle, tmp_path_factory):
    """Phantoms whose CT tumors alone are bright in the corners of the file, and their controls."""
    root = write_phantoms(tmp_path_factory.mktemp("set") / "set", per_class=8, seed=3, side=80)
    cases = read_cases(root)
    for case in cases:
        if case.label == "ct_tumor":
            pixels = cv2.imread(str(case.path), cv2.IMREAD_GRAYSCALE)
            pixels[:3] = 60
            cv2.imwrite(str(case.path), pixels)
    answers = label_predictions(
        cases, Predictor(tiny_bundle).predict([c.path for c in cases]), tiny_bundle
    )
    return answers, to_json(control_figures(cases, answers, tiny_bundle))


def row_of(rows, control, task, detail=""):
    return next(row for row in rows if row["control"] == control and row["task"] == task
                and detail in row["detail"])  # fmt: skip


def test_dealt_labels_are_the_same_labels_in_whole_runs():
    groups = np.repeat(np.arange(40), 5)
    truth = np.repeat(np.arange(40) % 3 == 0, 5)
    dealt = deal(truth, groups, np.random.default_rng(0))
    assert dealt.sum() == truth.sum()
    assert all(len(set(dealt[groups == g])) == 1 for g in range(40))
    assert (dealt != truth).any()


def test_shuffled_labels_are_at_chance_however_able_the_model():
    for row in to_json(shuffled_rows(able_answers(0, n=600, skill=5.0, each=3))):
        assert row["auc"] == pytest.approx(0.5, abs=0.03)
        assert row["auc_low"] < 0.5 < row["auc_high"]
        assert row["p"] == pytest.approx(1 / 201)


def test_shuffled_labels_spread_more_where_groups_are_large():
    def width(each: int) -> float:
        rng = np.random.default_rng(1)
        truth = np.repeat(np.arange(240 // each) % 2 == 0, each)
        shared = np.repeat(rng.random(240 // each), each)
        groups = np.repeat(np.arange(240 // each), each)
        row = to_json(shuffled_rows(scored(truth, shared, groups=groups.astype(str))))[0]
        return row["auc_high"] - row["auc_low"]

    assert width(12) > 2 * width(1)


def test_a_model_that_knows_nothing_has_no_small_p():
    answers = able_answers(2, skill=0.0)
    assert all(row["p"] > 0.01 for row in to_json(shuffled_rows(answers)))


def test_one_class_alone_says_why_there_is_no_figure():
    row = to_json(shuffled_rows(scored([1, 1, 1], [0.2, 0.5, 0.9])))[0]
    assert (row["auc"], row["p"], row["reason"]) == (None, None, "only one class")


def test_the_rim_keeps_the_outline_and_nothing_of_the_middle():
    prepared = np.zeros((100, 100), np.uint8)
    cv2.circle(prepared, (50, 50), 45, 200, -1)
    cv2.circle(prepared, (50, 50), 20, 0, -1)  # dark ventricles are no outside
    found = rim(prepared)
    assert (found[30:70, 30:70] == 0).all()
    assert found[50, 6] == 200
    assert (found > 0).sum() < 0.5 * (prepared > 0).sum()


@pytest.mark.parametrize("value", [0, 255])
def test_a_blank_or_full_picture_has_a_rim_too(value):
    found = rim(np.full((64, 64), value, np.uint8))
    assert found[32, 32] == 0
    assert found[0, 0] == value


def test_every_control_stands_beside_the_models_own_figure(measured):
    answers, rows = measured
    assert {row["task"] for row in rows} == {"ct", "mri", "type"}
    for row in rows:
        assert row["model"]["n"] == row["n"]
    assert {row["control"] for row in rows} >= {"labels shuffled", "brain blanked",
                                                "tree on all facts of the file"}  # fmt: skip
    assert row_of(rows, "brain blanked", "ct")["n"] == (answers.modalities == "ct").sum()


def test_a_planted_border_is_seen_as_stored_and_gone_when_prepared(measured):
    rows = measured[1]
    family = "tree on border, mean and black share"
    stored = row_of(rows, family, "ct", "stored")
    assert stored["auc"] > 0.9
    assert row_of(rows, family, "ct", "prepared")["auc"] < stored["auc"]


def test_a_fact_that_gives_the_label_away_is_seen_where_it_is_known():
    n = 120
    truth = np.arange(n) % 2 == 0
    answers = scored(truth, np.linspace(0, 1, n))
    sequences = np.where(np.arange(n) < 80, np.where(truth, "flair", "t1"), "scan")
    cases = [
        Case(Path(f"{i}_{sequence}.png"), f"s/{i}", label, "s", level=0.5 if i % 3 else 0.2)
        for i, (sequence, label) in enumerate(zip(sequences, answers.labels, strict=True))
    ]
    rows = [
        row for row in to_json(fact_rows(cases, answers, planes=["axial"] * n))
        if row["task"] == "mri"
    ]  # fmt: skip
    assert [row["control"] for row in rows] == ["sequence alone", "level in the head alone"]
    sequence, level = rows
    assert (sequence["n"], sequence["model"]["n"]) == (80, 80), "the others state none"
    assert sequence["auc"] == pytest.approx(1)
    assert level["auc"] < 0.7


def test_a_file_that_went_away_does_not_end_the_controls(tiny_bundle, tmp_path):
    cases = read_cases(write_phantoms(tmp_path / "set", per_class=2, seed=4, side=80))
    answers = label_predictions(
        cases, Predictor(tiny_bundle).predict([c.path for c in cases]), tiny_bundle
    )
    gone = [replace(cases[0], path=tmp_path / "gone.png"), *cases[1:]]
    found = row_of(to_json(control_figures(gone, answers, tiny_bundle)), "brain blanked", "ct")
    assert found["n"] == (answers.modalities == "ct").sum() - 1
