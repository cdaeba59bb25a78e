"""The figures along many thresholds that a dashboard's slider moves over."""

import numpy as np
import pytest
from sklearn.metrics import recall_score
from support.made_answers import able_answers, all_rows, scored

from tumorlens.json_records import to_json
from tumorlens.study.evaluation.detection import threshold_sweep


def test_every_threshold_has_the_rates_that_scikit_learn_counts():
    answers = able_answers(4, 150, each=2)
    found = to_json(threshold_sweep(answers, all_rows(answers)))
    for i, threshold in enumerate(found["threshold"]):
        flagged = answers.scores >= threshold
        assert found["sensitivity"][i] == pytest.approx(
            recall_score(answers.truth, flagged), abs=1e-5
        )
        assert found["specificity"][i] == pytest.approx(
            recall_score(~answers.truth, ~flagged), abs=1e-5
        )


def test_the_bundles_own_threshold_is_among_them():
    answers = able_answers(5)
    assert answers.threshold in to_json(threshold_sweep(answers, all_rows(answers)))["threshold"]


def test_a_score_that_equals_the_threshold_is_flagged():
    answers = scored([True, False], [0.5, 0.2], threshold=0.5)
    found = to_json(threshold_sweep(answers, all_rows(answers)))
    assert found["sensitivity"][found["threshold"].index(0.5)] == 1.0


def test_intervals_hold_the_figure():
    answers = able_answers(6, 150, each=3, skill=1.0)
    found = to_json(threshold_sweep(answers, all_rows(answers)))
    low, value, high = (
        np.array(found[f"specificity{end}"], float) for end in ("_low", "", "_high")
    )
    assert ((low <= value) & (value <= high)).all()
    assert (high > low).any()


def test_one_class_alone_has_no_rate_of_the_other():
    answers = scored([True, True], [0.9, 0.4])
    found = to_json(threshold_sweep(answers, all_rows(answers)))
    assert set(found["specificity"]) == {None}
    assert found["n_healthy"] == 0
