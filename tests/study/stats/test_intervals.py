"""Intervals by bootstrap over groups cover, also where cases of a group are alike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tumorlens.study.stats.intervals import (
    bootstrap,
    bootstrap_shares,
    differences_not_collapsed,
    not_collapsed,
    wilson,
)


def clustered(seed: int, *, groups: int = 40, each: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Values around 0 whose groups share most of their deviation."""
    rng = np.random.default_rng(seed)
    shared = np.repeat(rng.normal(0, 1, groups), each)
    return shared + rng.normal(0, 0.4, groups * each), np.repeat(np.arange(groups), each)


def mean_interval(values: np.ndarray, groups: np.ndarray, **options) -> tuple[float, float]:
    found = bootstrap(lambda w: {"mean": w @ values / w.sum(1)}, groups, **options)
    return float(found["mean_low"]), float(found["mean_high"])


def test_the_group_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(100):
        low, high = mean_interval(*clustered(seed, groups=80), resamples=200, seed=seed)
        covered += low <= 0 <= high
    assert 88 <= covered <= 100


def test_taking_cases_for_independent_covers_far_too_rarely():
    covered = 0
    for seed in range(60):
        values, groups = clustered(seed)
        low, high = mean_interval(values, np.arange(len(groups)), resamples=200, seed=seed)
        covered += low <= 0 <= high
    assert covered < 45


def test_the_group_interval_is_wider_than_the_case_interval_on_clustered_data():
    values, groups = clustered(0)
    low, high = mean_interval(values, groups)
    low_case, high_case = mean_interval(values, np.arange(len(groups)))
    assert high - low > 1.5 * (high_case - low_case)


def test_the_interval_encloses_the_figure_and_comes_with_it():
    found = bootstrap(lambda w: {"a": w.sum(1), "b": -w.sum(1)}, np.arange(30))
    assert list(found) == ["a", "b", "a_low", "a_high", "b_low", "b_high"]
    assert found["a"] == found["a_low"] == found["a_high"] == 30, "equal groups: always 30 cases"


def test_a_group_is_drawn_whole():
    groups = np.array(["x", "x", "y", "y", "y", "z"])
    seen = []

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        seen.extend(weights)
        return {"n": weights.sum(1)}

    bootstrap(statistics, groups, resamples=50)
    assert len(seen) == 51
    assert (seen[0] == 1).all()
    for weights in seen:
        assert weights[0] == weights[1]
        assert weights[2] == weights[3] == weights[4]
        assert weights[[0, 2, 5]].sum() == 3, "as many groups as there are"


def test_the_same_seed_gives_the_same_interval():
    values, groups = clustered(3)
    assert mean_interval(values, groups, seed=1) == mean_interval(values, groups, seed=1)
    assert mean_interval(values, groups, seed=1) != mean_interval(values, groups, seed=2)


def test_resamples_that_cannot_show_a_figure_are_left_out():
    truth = np.array([1, 0, 0, 0, 0, 0])

    def share_of_first(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"f": np.where(weights @ truth, 0.5, np.nan)}

    found = bootstrap(share_of_first, np.arange(6), resamples=100)
    assert found["f_low"] == found["f_high"] == 0.5


@pytest.mark.parametrize("groups", [[], [4, 4, 4]])
def test_one_group_or_none_has_no_interval(groups):
    found = bootstrap(lambda w: {"n": w.sum(1)}, np.array(groups, int))
    assert found["n"] == len(groups)
    assert np.isnan([found["n_low"], found["n_high"]]).all()


def test_a_share_that_no_resample_moves_has_the_interval_of_its_groups():
    found = bootstrap(lambda w: {"share": w.sum(1) / w.sum(1)}, np.repeat(np.arange(12), 5))
    assert found["share_low"] == found["share_high"] == 1
    widened = not_collapsed(found, {"share": 12})
    assert (widened["share_low"], widened["share_high"]) == wilson(12, 12)
    assert widened["share_low"] == pytest.approx(0.7575, abs=1e-4)


def test_a_share_that_moves_keeps_its_interval():
    found = bootstrap(lambda w: {"share": w[:, 0] / w.sum(1)}, np.arange(9))
    assert not_collapsed(found, {"share": 9})["share_high"] == found["share_high"]


def test_each_of_many_shares_that_no_resample_moves_gets_its_own_interval():
    still, moved = np.ones(8, bool), np.arange(8) < 4
    found = bootstrap(lambda w: {"share": w @ np.stack([still, moved], 1) / 8}, np.arange(8))
    widened = not_collapsed(found, {"share": np.array([6, 8])})
    assert (widened["share_low"][0], widened["share_high"][0]) == wilson(6, 6)
    assert widened["share_low"][1] == found["share_low"][1]


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (81, 263), (29, 29), (1, 1)])
def test_wilson_agrees_with_scipy(hits, n):
    wanted = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def test_wilson_of_nothing_is_not_a_number():
    assert np.isnan(wilson(0, 0)).all()


@settings(max_examples=30)
@given(rows=st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 4)), min_size=1,
                     max_size=20))  # fmt: skip
def test_shares_are_means_of_hits_within_intervals_of_a_width(rows):
    hits, others, groups = (np.array(column) for column in zip(*rows, strict=True))
    found = bootstrap_shares(groups, hits=hits, others=others)
    for name, column in (("hits", hits), ("others", others)):
        assert found[name] == pytest.approx(np.mean(column))
        assert found[f"{name}_low"] < found[f"{name}_high"]


def test_what_is_not_known_counts_in_no_share():
    found = bootstrap_shares(np.arange(4), hits=np.array([1.0, 0.0, np.nan, np.nan]))
    assert found["hits"] == 0.5
    assert np.isnan(bootstrap_shares(np.arange(2), hits=np.full(2, np.nan))["hits"])


def test_a_difference_that_no_resample_moves_gets_the_interval_of_newcombe():
    # 56 of 70 less 48 of 80 (Newcombe, 1998, table II a): 0.2000 (0.0524-0.3339).
    found = {"gap": 0.2, "gap_low": 0.2, "gap_high": 0.2}
    for name, hits, n in (("a", 56, 70), ("b", 48, 80)):
        low, high = wilson(hits, n)
        found |= {name: hits / n, f"{name}_low": low, f"{name}_high": high}
    widened = differences_not_collapsed(found, {"gap": ("a", "b")})
    assert float(widened["gap_low"]) == pytest.approx(0.0524, abs=1e-4)
    assert float(widened["gap_high"]) == pytest.approx(0.3339, abs=1e-4)


def test_a_difference_that_resamples_move_keeps_its_interval():
    ends = {"a": 1.0, "a_low": 0.8, "a_high": 1.0, "b": 0.5, "b_low": 0.3, "b_high": 0.7}
    found = ends | {"gap": 0.5, "gap_low": 0.4, "gap_high": 0.6}
    widened = differences_not_collapsed(found, {"gap": ("a", "b")})
    assert (widened["gap_low"], widened["gap_high"]) == (0.4, 0.6)
