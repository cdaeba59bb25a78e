"""Calibration, net benefit and risk against coverage do what their definitions say."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import brier_score_loss
from support.made_answers import (
    able_answers,
    make_answers,
    one_atom,
    random_answers,
    scored,
)

from tumorlens.json_records import to_json
from tumorlens.labels import tumor_probability
from tumorlens.predictions.decision import softmax
from tumorlens.study.evaluation.decision import (
    abstention_figures,
    calibration_figures,
    decision_figures,
    net_benefit,
    risk_coverage,
)

CLOSE = {"abs": 1e-9}


@pytest.mark.parametrize("t", [0.1, 0.3, 0.5, 0.9])
def test_net_benefit_is_counted_as_defined(t):
    answers = able_answers(0)
    found = to_json(net_benefit(answers))
    at = found["threshold"].index(t)
    flagged = answers.scores >= t
    tp, fp = (answers.truth & flagged).sum(), (~answers.truth & flagged).sum()
    assert found["model"][at] == pytest.approx((tp - fp * t / (1 - t)) / 200, abs=1e-9)
    prevalence = answers.truth.mean()
    assert found["all"][at] == pytest.approx(prevalence - (1 - prevalence) * t / (1 - t), abs=1e-9)


def test_noise_is_nowhere_better_than_both_and_skill_is():
    rng = np.random.default_rng(0)
    noise = scored(rng.random(300) < 0.5, rng.random(300))
    assert len(to_json(net_benefit(noise))["better_than_both"]) < 10
    assert len(to_json(net_benefit(able_answers(1, skill=5.0)))["better_than_both"]) > 50


def test_one_class_alone_has_no_net_benefit():
    assert to_json(net_benefit(scored([1, 1], [0.2, 0.9]))) is None


def test_the_surest_answers_come_first_and_all_have_the_whole_error():
    answers = scored([1, 1, 0, 0], [0.99, 0.4, 0.45, 0.02])
    found = to_json(risk_coverage(answers))
    assert found["coverage"] == [0.25, 0.5, 0.75, 1.0]
    assert found["risk"] == pytest.approx([0, 0, 1 / 3, 1 / 4], abs=1e-6)
    assert found["errors"] == 1
    assert found["best"] <= found["aurc"]


def test_scores_of_exactly_0_and_1_are_the_surest():
    found = to_json(risk_coverage(scored([1, 0, 1], [1.0, 0.0, 0.3])))
    assert found["risk"] == pytest.approx([0, 0, 1 / 3], abs=1e-6)


def test_abstention_counts_the_answers_given_and_their_errors():
    answers = scored([1, 1, 0, 0, 0], [0.9, 0.1, 0.6, 0.1, 0.5],
                     decisions=["tumor", "no tumor", "out of scope", "no tumor",
                                "uncertain"])  # fmt: skip
    found = to_json(abstention_figures(answers))
    assert found["abstained"] == pytest.approx(2 / 5)
    assert found["error"] == pytest.approx(1 / 3)
    assert found["by_truth"]["healthy"] == {"out of scope": 1, "no tumor": 1, "uncertain": 1}


def test_where_nothing_was_answered_there_is_no_error():
    found = to_json(abstention_figures(scored([1, 0], [0.5, 0.5], decisions=["uncertain"] * 2)))
    assert (found["abstained"], found["error"]) == (1.0, None)


def test_the_figures_of_one_scan_are_there():
    assert to_json(decision_figures(scored([1], [0.7])))["risk_coverage"]["risk"] == [0]


# --- calibration ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_brier_score_agrees_with_scikit_learn(seed):
    answers = random_answers(seed)
    wanted = brier_score_loss(answers.truth, answers.scores)
    assert to_json(calibration_figures(answers))["brier"] == pytest.approx(wanted, **CLOSE)


@pytest.mark.parametrize("n", [7, 80, 200])
def test_the_calibration_error_is_the_mean_gap_of_equal_bins(n):
    answers = random_answers(2, n=n)
    order = np.argsort(answers.scores, kind="stable")
    total = 0.0
    for bin_ in np.array_split(order, min(15, n)):
        total += abs(answers.scores[bin_].sum() - answers.truth[bin_].sum())
    found = to_json(calibration_figures(answers))
    assert found["ece"] == pytest.approx(total / n, **CLOSE)
    assert sum(row["n"] for row in found["bins"]) == found["n"] == n


def test_answers_that_are_sure_and_right_are_calibrated():
    answers = make_answers(["ct_tumor", "ct_healthy"], one_atom("ct_tumor", "ct_healthy"))
    found = to_json(calibration_figures(answers))
    assert (found["ece"], found["brier"]) == (0, 0)


def test_a_bundle_without_a_temperature_has_no_before():
    found = to_json(calibration_figures(able_answers(0)))
    assert (found["calibrated"], found["before"]) == (False, None)


def test_before_is_what_the_network_said_without_its_temperature():
    logits = np.random.default_rng(5).normal(0, 3, (200, 6))
    answers = able_answers(5)
    warm = replace(answers, probabilities=softmax(logits, 2.5), temperature=2.5)
    cold = replace(answers, probabilities=softmax(logits, 1.0))
    assert warm.uncalibrated == pytest.approx(tumor_probability(cold.probabilities), abs=1e-12)
    before = to_json(calibration_figures(warm))["before"]
    after = to_json(calibration_figures(cold))
    assert {k: v for k, v in before.items() if k != "bins"} == pytest.approx(
        {k: after[k] for k in before if k != "bins"}, rel=1e-9
    )


def test_every_bin_has_its_count_and_an_interval_around_its_share():
    found = to_json(calibration_figures(able_answers(6)))
    assert sum(row["n"] for row in found["bins"]) == found["n"] == 200
    for row in found["bins"]:
        assert row["observed_low"] <= row["observed"] <= row["observed_high"]


def test_probabilities_that_hold_have_a_small_error_and_a_slope_around_1():
    rng = np.random.default_rng(11)
    odds = rng.normal(0, 1.5, 4000)
    scores, truth = expit(odds), rng.random(4000) < expit(odds)
    found = to_json(calibration_figures(scored(truth, scores)))
    assert found["ece"] < 0.03
    assert found["slope_low"] < 1 < found["slope_high"]
