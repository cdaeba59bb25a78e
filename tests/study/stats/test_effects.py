"""Effects, corrected p-values and rank correlations, held against SciPy."""

import numpy as np
import pytest
from scipy import stats

from tumorlens.study.stats.effects import group_means, holm, rank_correlation


def test_group_means_leave_unknown_values_out():
    values = np.array([[1.0, np.nan], [3.0, 4.0], [5.0, np.nan]])
    found = group_means(values, np.array(["a", "a", "b"]))
    assert np.array_equal(found, [[2, 4], [5, np.nan]], equal_nan=True)


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([], []),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, None, 0.6], [1.0, None, 1.0]),
        ([0.02], [0.02]),
    ],
)
def test_holm_corrects_for_the_number_of_comparisons(p, expected):
    assert holm(p) == pytest.approx(expected)


def test_rank_correlation_is_spearmans():
    values = np.random.default_rng(2).normal(size=(30, 13)).round(1)
    expected = stats.spearmanr(values).statistic
    assert np.allclose(rank_correlation(values), expected)


def test_rows_that_grow_together_correlate_fully():
    values = np.exp(np.arange(20))[:, None] * np.ones(13)
    assert np.allclose(rank_correlation(values), 1)
