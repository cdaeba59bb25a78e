"""Slope and intercept agree with other fits."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from tumorlens.study.stats.calibration import fit_line


def drawn(seed: int, n: int = 4000, *, slope: float = 1.0, intercept: float = 0.0):
    """Scores, and truths drawn with a given slope and intercept on their log odds."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 1.5, n)
    return expit(odds), rng.random(n) < expit(intercept + slope * odds)


@pytest.mark.parametrize("seed", range(4))
def test_slope_and_intercept_agree_with_scikit_learn(seed):
    scores, truth = drawn(seed, 300, slope=0.6, intercept=0.3)
    found = fit_line(scores, truth)
    fit = LogisticRegression(C=np.inf, tol=1e-12, solver="newton-cholesky", max_iter=1000)
    fit.fit(logit(scores)[:, None], truth)
    assert found["slope"] == pytest.approx(fit.coef_[0, 0], abs=1e-7)
    assert found["intercept"] == pytest.approx(fit.intercept_[0], abs=1e-7)


def test_the_offset_makes_the_mean_of_the_probabilities_that_of_the_truth():
    scores, truth = drawn(1, 500, intercept=0.8)
    found = fit_line(scores, truth)
    assert expit(logit(scores) + found["offset"]).mean() == pytest.approx(truth.mean(), abs=1e-9)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, 0.0), (1.5, -0.7)])
def test_the_fit_finds_what_was_put_in_within_its_interval(slope, intercept):
    found = fit_line(*drawn(8, slope=slope, intercept=intercept))
    assert found["slope_low"] < slope < found["slope_high"]
    assert found["intercept_low"] < intercept < found["intercept_high"]


@pytest.mark.parametrize(
    ("truth", "scores"),
    [([1, 1], [0.2, 0.9]), ([0, 1], [0.1, 0.9]), ([1, 0, 1], [0.5, 0.5, 0.5]), ([], [])],
)
def test_where_no_line_can_be_fitted_there_is_none(truth, scores):
    found = fit_line(np.array(scores, float), np.array(truth, bool))
    assert np.isnan(found["slope"])


def test_scores_of_exactly_0_and_1_do_not_break_the_fit():
    scores, truth = drawn(3, 200)
    found = fit_line(np.append(scores, [0.0, 1.0]), np.append(truth, [False, True]))
    assert np.isfinite(found["slope"])
