"""Two bundles on the same scans are told apart where they differ, and only there."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import roc_auc_score
from support.made_answers import able_answers, scored

from tumorlens.json_records import to_json
from tumorlens.study.evaluation.detection import compare, mcnemar


def test_a_bundle_does_not_differ_from_itself():
    answers = able_answers(0)
    found = to_json(compare(answers, answers))["all"]
    assert found["auc_difference"] == found["auc_difference_low"] == 0
    assert found["mcnemar"]["all"] == {"n": 200, "own_only": 0, "against_only": 0, "p": 1.0}
    assert found["delong"]["p"] is None, "a difference that cannot vary has no p-value"


def test_differences_are_those_of_the_figures():
    a, b = able_answers(1, skill=3.0), able_answers(1, skill=1.0)
    found = to_json(compare(a, b))
    for name, rows in a.rows().items():
        areas = [roc_auc_score(x.truth[rows], x.scores[rows]) for x in (a, b)]
        assert found[name]["auc_difference"] == pytest.approx(areas[0] - areas[1], abs=1e-9)
        assert found[name]["delong"]["difference"] == pytest.approx(areas[0] - areas[1], abs=1e-9)
        assert found[name]["auc_against"] == pytest.approx(areas[1], abs=1e-9)


def test_the_better_bundle_is_found():
    found = to_json(compare(able_answers(2, skill=4.0), able_answers(2, skill=0.5)))["all"]
    assert found["auc_difference_low"] > 0
    assert found["delong"]["p"] < 1e-3
    assert found["mcnemar"]["all"]["p"] < 1e-3


def test_each_bundle_is_taken_at_its_own_threshold():
    answers = scored([1, 1, 0, 0], [0.6, 0.7, 0.2, 0.3])
    found = to_json(compare(answers, replace(answers, threshold=0.9)))["all"]
    assert found["sensitivity_difference"] == 1.0
    assert found["mcnemar"]["tumor"]["own_only"] == 2
    assert found["mcnemar"]["healthy"]["p"] == 1.0


def test_pairing_makes_the_interval_narrower_than_two_apart():
    a = able_answers(3, n=400)
    b = replace(a, probabilities=0.97 * a.probabilities + 0.03 / 6)
    found = to_json(compare(a, b))["all"]
    assert found["auc_difference_high"] - found["auc_difference_low"] < 0.02


@pytest.mark.parametrize(("own", "other"), [(0, 0), (1, 0), (8, 2), (5, 5), (0, 12)])
def test_mcnemars_p_is_the_exact_binomial_one(own, other):
    right = np.array([True] * own + [False] * other + [True] * 7)
    against = np.array([False] * own + [True] * other + [True] * 7)
    found = mcnemar(right, against)
    assert (found["own_only"], found["against_only"]) == (own, other)
    wanted = min(1.0, 2 * binom.cdf(min(own, other), own + other, 0.5))
    assert found["p"] == pytest.approx(wanted, abs=1e-9)
