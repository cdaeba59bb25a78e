"""Areas and rates agree with scikit-learn, DeLong with its definition and the bootstrap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score
from support.made_answers import scored

from tumorlens.json_records import to_json
from tumorlens.study.stats.discrimination import (
    areas,
    delong,
    detection_statistics,
    matched_area,
    rates,
)
from tumorlens.study.stats.intervals import bootstrap


def two_classes(seed: int, n: int = 60, *, apart: float = 1.0, tied: bool = False):
    """Truth and two scores that agree in part."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3 == 0
    shared = rng.normal(0, 1, n)
    scores = [apart * truth + shared + rng.normal(0, 0.7, n) for _ in range(2)]
    return truth, *(np.round(s) if tied else s for s in scores)


def by_definition(truth, *scores):
    """The covariance of DeLong et al. (1988), pair by pair."""
    placed = []
    for score in scores:
        gap = score[truth][:, None] - score[~truth]
        won = (gap > 0) + 0.5 * (gap == 0)
        placed.append((won.mean(1), won.mean(0)))
    of_positive, of_negative = (np.array([p[k] for p in placed]) for k in range(2))
    s10, s01 = np.atleast_2d(np.cov(of_positive)), np.atleast_2d(np.cov(of_negative))
    return s10 / of_positive.shape[1] + s01 / of_negative.shape[1]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_areas_and_covariance_agree_with_scikit_learn_and_the_definition(seed, tied):
    truth, *scores = two_classes(seed, tied=tied)
    found = delong(truth, *scores)
    assert found.auc == pytest.approx([roc_auc_score(truth, s) for s in scores], abs=1e-9)
    assert found.covariance == pytest.approx(by_definition(truth, *scores), abs=1e-12)


def test_a_table_small_enough_for_pen_and_paper():
    truth = np.array([1, 1, 1, 0, 0], bool)
    found = delong(truth, np.array([3.0, 2.0, 1.0, 1.5, 0.5]))
    # Shares of healthy below: 1, 1, 1/2; shares of tumors above: 2/3, 1.
    assert found.auc[0] == pytest.approx(5 / 6)
    assert found.covariance[0, 0] == pytest.approx((1 / 12) / 3 + (1 / 18) / 2)


def test_the_interval_is_that_of_the_bootstrap_where_cases_are_independent():
    truth, score, _ = two_classes(3, n=600)
    drawn = bootstrap(lambda w: {"auc": areas(truth, score, w)["auc"]}, np.arange(600))
    found = delong(truth, score).interval()
    bounds = float(drawn["auc_low"]), float(drawn["auc_high"])
    assert found == pytest.approx(bounds, abs=0.008)


def test_nine_in_ten_and_more_of_the_intervals_hold_the_true_area():
    # Unit normals one apart: the area is the normal distribution at 1/sqrt(2).
    covered = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        truth = np.arange(120) % 2 == 0
        low, high = delong(truth, truth + rng.normal(0, 1, 120)).interval()
        covered += low <= 0.7602499 <= high
    assert 0.92 <= covered / 300 <= 0.98


def test_two_like_scores_seldom_differ_and_two_unlike_ones_do():
    p = [delong(*two_classes(seed, n=200)).difference()[3] for seed in range(200)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.04)
    truth, good, _ = two_classes(1, n=200, apart=3.0)
    noise = np.random.default_rng(0).normal(0, 1, 200)
    gap, low, high, p_value = delong(truth, good, noise).difference()
    assert 0 < low < gap < high
    assert p_value < 1e-6


@pytest.mark.parametrize(
    ("truth", "scores"),
    [([1, 1, 1], [1, 2, 3]), ([0, 0], [1, 2]), ([], []), ([1, 0, 0], [1, 2, 3])],
)
def test_too_few_of_a_class_have_no_interval(truth, scores):
    found = delong(np.array(truth, bool), np.array(scores, float))
    assert np.isnan(found.interval()).all()


def test_a_perfect_area_has_no_interval_of_this_kind_and_its_figures_say_null():
    from tumorlens.study.evaluation.detection import detection_figures

    answers = scored([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1])
    found = to_json(detection_figures(answers, np.ones(4, bool)))
    assert found["auc"] == 1
    assert found["auc_delong_low"] is found["auc_delong_high"] is None
    assert 0 < found["sensitivity_low"] < 0.5, "two of two is not certainty"


@pytest.mark.parametrize("seed", range(3))
def test_weighted_areas_agree_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth, scores = rng.random(90) < 0.4, rng.integers(0, 12, 90) / 12
    weights = rng.integers(0, 4, (5, 90)).astype(float)
    found = areas(truth, scores, weights)
    for row in range(5):
        auc = roc_auc_score(truth, scores, sample_weight=weights[row])
        precision = average_precision_score(truth, scores, sample_weight=weights[row])
        assert found["auc"][row] == pytest.approx(auc, abs=1e-9)
        assert found["average_precision"][row] == pytest.approx(precision, abs=1e-9)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3)), min_size=2))
def test_the_area_of_a_class_without_weight_is_not_a_number(rows):
    truth, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    truth, used = truth.astype(bool), weights > 0
    found = areas(truth, scores.astype(float), weights[None].astype(float))["auc"][0]
    if truth[used].all() or not truth[used].any():
        assert np.isnan(found)
    else:
        known = roc_auc_score(truth[used], scores[used], sample_weight=weights[used])
        assert found == pytest.approx(known)


def test_scores_that_are_not_known_count_in_no_area():
    truth, scores, _ = two_classes(0)
    weights = np.random.default_rng(0).integers(0, 3, (2, 60)).astype(float)
    holed = np.where(np.arange(60) % 7 == 0, np.nan, scores)
    known = np.isfinite(holed)
    wanted = areas(truth[known], scores[known], weights[:, known])
    assert areas(truth, holed, weights)["auc"].tolist() == wanted["auc"].tolist()


def test_rates_of_many_thresholds_are_those_of_each_alone():
    truth, scores, _ = two_classes(1)
    weights = np.random.default_rng(1).integers(0, 3, (4, 60)).astype(float)
    at = np.array([-1.0, 0.2, 9.0])
    many = rates(truth, scores[:, None] >= at, weights)
    for k, threshold in enumerate(at):
        flagged = scores >= threshold
        for name, own in rates(truth, flagged, weights).items():
            assert many[name][:, k] == pytest.approx(own, nan_ok=True)
    sensitivity = recall_score(truth, scores >= 0.2, sample_weight=weights[0])
    precision = precision_score(truth, scores >= 0.2, sample_weight=weights[0])
    assert many["sensitivity"][0, 1] == pytest.approx(sensitivity)
    assert many["precision"][0, 1] == pytest.approx(precision)


def test_no_interval_of_a_perfect_answer_is_without_width():
    truth = np.arange(20) % 2 == 0
    found = detection_statistics(
        truth,
        truth * 0.8,
        thresholds=np.array([0.5, 0.9]),
        groups=np.arange(20),
        prevalences=(0.1,),
    )
    for name in ("auc", "average_precision", "sensitivity", "specificity", "f1", "ppv", "npv"):
        known = np.isfinite(found[name])
        assert known.any()
        assert (found[f"{name}_low"] < found[f"{name}_high"])[known].all(), name


def test_what_goes_along_with_the_level_alone_wins_no_matched_pair():
    rng = np.random.default_rng(0)
    truth = rng.random(600) < 0.5
    at = np.where(truth, rng.normal(0.5, 0.1, 600), rng.random(600)).clip(0, 1)
    groups = rng.integers(0, 60, 600)
    score = -np.abs(at - 0.5)
    everywhere = matched_area(truth, score, at=at, within=1.0, groups=groups)
    matched = matched_area(truth, score, at=at, within=0.01, groups=groups)
    assert everywhere.value > 0.7
    assert matched.low < 0.5 < matched.high
    assert everywhere.value == pytest.approx(roc_auc_score(truth, score))
    assert matched.n < everywhere.n == truth.sum() * (~truth).sum()


def test_matched_pairs_are_won_by_what_tells_the_classes_apart():
    truth = np.array([True, False, True, False])
    at = np.array([0.1, 0.1, 0.9, 0.9])
    found = matched_area(truth, np.array([2.0, 1.0, 5.0, 4.0]), at=at, within=0.05, groups=at)
    assert (found.value, found.n) == (1.0, 2)
    assert found.low < 1.0


def test_without_both_classes_there_is_no_matched_pair():
    found = matched_area(np.ones(3, bool), np.ones(3), at=np.ones(3), within=1.0, groups=np.ones(3))
    assert (found.value, found.n) == (None, 0)
