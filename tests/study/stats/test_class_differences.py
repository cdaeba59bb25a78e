"""Mean images of groups differ by more than chance where they do, and effects are SciPy's."""

import numpy as np
import pytest
from scipy import stats

from tumorlens.study.stats import class_differences
from tumorlens.study.stats.class_differences import (
    compare_groups,
    group_means,
    holm,
    rank_correlation,
)

RNG = np.random.default_rng(8)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def _same_noise_in_any_order():
    RNG.bit_generator.state = START


def units(count: int, name: str, *, bright: float = 0.0) -> dict[str, np.ndarray]:
    pixels = RNG.normal(100, 10, (count, 60))
    pixels[:, :5] += bright
    pixels[:, -1] = 0  # background
    return {f"{name}{i}": row for i, row in enumerate(pixels)}


def test_a_difference_is_found_where_it_is_and_nowhere_else():
    found = compare_groups(units(30, "a"), units(40, "b", bright=15), permutations=200)
    assert np.flatnonzero(found.significant).tolist() == [0, 1, 2, 3, 4]
    assert (found.t[:5] > 0).all()
    assert (np.abs(found.t[:5]) >= found.threshold).all()
    assert (found.n_first, found.n_second) == (30, 40)


def test_the_statistic_is_students_t():
    first, second = units(12, "a"), units(9, "b", bright=5)
    found = compare_groups(first, second, permutations=1)
    known = stats.ttest_ind(list(second.values()), list(first.values())).statistic[:-1]
    assert np.allclose(found.t[:-1], known)


def test_background_that_never_varies_is_never_significant():
    found = compare_groups(units(10, "a"), units(10, "b"), permutations=50)
    assert (found.t[-1], found.p[-1]) == (0, 1)


def test_equal_classes_are_told_apart_as_rarely_as_promised():
    false = sum(
        compare_groups(units(12, "a"), units(12, "b"), permutations=99, seed=i).significant.any()
        for i in range(100)
    )
    assert false <= 12  # 5 expected; more than 12 in 0.2 % of such runs


def test_no_p_is_below_what_the_relabelings_can_show():
    found = compare_groups(units(20, "a"), units(20, "b", bright=80), permutations=99)
    assert found.p.min() == 0.01


def test_heads_that_stand_in_both_classes_swap_as_pairs():
    """A shift of 3 in heads that differ by 40 shows only when each is held against itself."""
    heads = RNG.normal(100, 40, (25, 1)) + RNG.normal(0, 1, (25, 30))
    first = {f"head {i}": row for i, row in enumerate(heads)}
    second = {f"head {i}": row + 3 + RNG.normal(0, 1, 30) for i, row in enumerate(heads)}
    strangers = {f"other {name}": row for name, row in second.items()}
    assert compare_groups(first, second, permutations=200).significant.all()
    assert not compare_groups(first, strangers, permutations=200).significant.any()


def test_relabelings_keep_the_pairs_and_the_sizes():
    sides = np.array([False] * 4 + [True] * 6)
    pairs = np.array([[0, 4], [1, 5]])
    drawn = class_differences._relabeled(sides, pairs, count=300, rng=np.random.default_rng(0))
    assert (drawn.sum(1) == 6).all()
    assert (drawn[:, [0, 1]] != drawn[:, [4, 5]]).all()
    assert drawn.any(0).all()
    assert not drawn.all(0).any()


@pytest.mark.parametrize("counts", [(0, 5), (5, 1), (1, 1)])
def test_too_few_groups_are_not_tested(counts):
    assert compare_groups(units(counts[0], "a"), units(counts[1], "b")) is None


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
