"""The candidate search finds what comparing all with all would find."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tumorlens.study.audit.duplicates.candidates import MAX_PARTNERS, candidate_pairs

DISTANCE = 32
N = 3000
TURNS = 8
Rows = set[tuple[int, int, int]]


def random_hashes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 2**64, (*shape, 4), dtype=np.uint64)


def flipped(hashes: np.ndarray, rng: np.random.Generator, most: int) -> np.ndarray:
    """Hashes [n, 4] that differ in 0 to `most` bits from those given."""
    bits = np.zeros((len(hashes), 256), np.uint8)
    for row in bits:
        row[rng.permutation(256)[: rng.integers(0, most + 1)]] = 1
    return hashes ^ np.packbits(bits, axis=1).view(np.uint64)


def all_compared(
    turned: np.ndarray, stored: np.ndarray, distance: int, *, is_one_list: bool
) -> Rows:
    found: Rows = set()
    for i, hashes in enumerate(turned):
        bits = np.bitwise_count(hashes[:, None] ^ stored).sum(-1)
        for turn, j in np.argwhere(bits <= distance).tolist():
            if j > i or (j != i and not is_one_list):
                found.add((i, j, turn))
    return found


def as_rows(found: tuple[np.ndarray, ...]) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in found), strict=True))


@pytest.fixture(scope="module")
def copies() -> tuple[np.ndarray, np.ndarray]:
    """Hashes [n, 8, 4] of which the second half are turned copies up to 48 bits from the first."""
    rng = np.random.default_rng(5)
    turned = random_hashes(rng, N, TURNS)
    half = np.arange(N // 2)
    sources = turned[half, rng.integers(0, TURNS, N // 2)]
    turned[N // 2 :, 0] = flipped(sources, rng, 48)
    return turned, np.ascontiguousarray(turned[:, 0])


@pytest.fixture(scope="module", params=[True, False], ids=["one list", "two lists"])
def searched(copies, request) -> tuple[list[tuple[int, int, int]], Rows]:
    """What is found and what there is, in one list or between two views."""
    turned, stored = copies
    is_one_list = request.param
    if not is_one_list:
        stored = stored[::-1].copy()
    found = candidate_pairs(turned, stored, distance=DISTANCE, is_one_list=is_one_list)
    return as_rows(found), all_compared(turned, stored, DISTANCE, is_one_list=is_one_list)


def test_nearly_every_pair_within_the_distance_is_listed(searched):
    found, wanted = searched
    assert len(wanted) > N // 4
    assert len(wanted & set(found)) >= 0.99 * len(wanted)


def test_no_pair_beyond_the_distance_is_listed(searched):
    found, wanted = searched
    assert set(found) <= wanted


def test_each_pair_is_listed_once_and_in_order(searched):
    found, _ = searched
    assert found == sorted(set(found))


def test_one_list_gives_i_before_j_and_two_lists_give_both(copies):
    turned, stored = copies
    one = as_rows(candidate_pairs(turned, stored, distance=DISTANCE))
    both = as_rows(candidate_pairs(turned, stored, distance=DISTANCE, is_one_list=False))
    assert all(i < j for i, j, _ in one)
    assert {row for row in both if row[0] < row[1]} == set(one)
    unturned = {(i, j) for i, j, turn in both if turn == 0}
    assert unturned == {(j, i) for i, j in unturned}, "distance has no direction"


def test_a_picture_is_no_copy_of_itself():
    hashes = np.repeat(random_hashes(np.random.default_rng(1), 5, 1), TURNS, axis=1)
    for is_one_list in (True, False):
        found = candidate_pairs(hashes, hashes[:, 0].copy(), distance=9, is_one_list=is_one_list)
        assert as_rows(found) == []


def test_the_distance_is_counted_over_all_words():
    hashes = np.zeros((2, 1, 4), np.uint64)
    hashes[1, 0] = [0b1, 0b11, 1 << 63, 0b1]
    stored = hashes[:, 0].copy()
    assert as_rows(candidate_pairs(hashes, stored, distance=5)) == [(0, 1, 0)]
    assert as_rows(candidate_pairs(hashes, stored, distance=4)) == []


def test_a_pair_is_listed_for_each_orientation_that_fits():
    hashes = np.repeat(random_hashes(np.random.default_rng(2), 1, 1), 2, axis=0)
    turned = np.concatenate([hashes, ~hashes, hashes], axis=1)
    found = as_rows(candidate_pairs(turned, hashes[:, 0].copy(), distance=3))
    assert found == [(0, 1, 0), (0, 1, 2)]


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_pictures_have_no_pairs(n):
    hashes = random_hashes(np.random.default_rng(3), n, TURNS)
    found = candidate_pairs(hashes, hashes[:, 0].copy(), distance=DISTANCE)
    assert [column.shape for column in found] == [(0,)] * 3


def test_the_same_seed_lists_the_same_pairs(copies):
    turned, stored = copies
    first = candidate_pairs(turned, stored, distance=48, tables=4, seed=7)
    again = candidate_pairs(turned, stored, distance=48, tables=4, seed=7)
    other = candidate_pairs(turned, stored, distance=48, tables=4, seed=8)
    assert as_rows(first) == as_rows(again) != as_rows(other)


def test_more_tables_miss_less(copies):
    turned, stored = copies
    few = as_rows(candidate_pairs(turned, stored, distance=48, tables=2))
    many = as_rows(candidate_pairs(turned, stored, distance=48, tables=16))
    assert set(few) < set(many), "the tables of one seed are drawn in the same order"


def test_of_very_many_alike_each_has_a_limited_number_and_chains_connect_all():
    n = MAX_PARTNERS + 500
    hashes = np.repeat(random_hashes(np.random.default_rng(4), 1, 1), n, axis=0)
    i, j, _ = candidate_pairs(hashes, hashes[:, 0].copy(), distance=DISTANCE)
    assert np.bincount(i).max() == MAX_PARTNERS
    graph = coo_array((np.ones(len(i), bool), (i, j)), shape=(n, n))
    assert connected_components(graph, directed=False)[0] == 1
