"""Which images may be the same, among a million, without comparing all with all.

Locality-sensitive hashing by bit sampling (Indyk and Motwani, 1998): two hashes that differ in
few of their bits agree on a random sample of them more often than strangers do. Each of many
tables sorts the images by another sample; only those that fall together are compared whole.
The nearer two hashes have to be, the larger the samples may be, and the fewer strangers meet.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit
from numpy.typing import NDArray

TABLES = 64
MAX_PARTNERS = 2000  # of one image in one table; chains of copies connect what lies beyond
MISSED = 0.01  # share of the pairs at the largest distance that no table brings together
_MAX_BITS = 24
_SPARE_BITS = 6  # drawers for each image; more would cost time and part no more strangers
Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def candidate_pairs(
    turned: NDArray[np.uint64],
    stored: NDArray[np.uint64],
    *,
    distance: int,
    is_one_list: bool = True,
    tables: int = TABLES,
    seed: int = 0,
) -> Pairs:
    """List (i, j, orientation) where a turned hash of i differs from j in few bits.

    `turned` is [n, orientations, 4], `stored` [n, 4]; at most `distance` of 256 bits differ.
    With `is_one_list` both describe the same view, and only i < j are listed; else all i != j.
    Each is listed once. One in a hundred at the largest distance is missed, and far fewer below.
    """
    samples = _samples(distance, len(stored), tables=tables, seed=seed)
    masks = _masks(samples)

    def search(number: int) -> NDArray[np.int64]:
        keys = _keys(stored[:, None], samples[number])[:, 0]
        starts, order = _drawers(keys, 1 << samples.shape[1])
        queries = _keys(turned, samples[number])
        args = (turned, stored, queries, starts, order, masks[: number + 1], distance, is_one_list)
        places = np.concatenate([[0], np.cumsum(_count(*args))])
        rows = np.empty((int(places[-1]), 3), np.int64)
        _list(*args, places, rows)
        return rows

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = np.concatenate(list(pool.map(search, range(tables))))
    rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
    return rows[:, 0], rows[:, 1], rows[:, 2]


def _samples(distance: int, n: int, *, tables: int, seed: int) -> NDArray[np.int64]:
    """Draw the bits of each table, [tables, bits]; bit 0 is the mean, which says little."""
    apart = MISSED ** (1 / TABLES)  # chance that one table does not bring a pair together
    bits = int(np.log(1 - apart) / np.log(1 - max(distance, 1) / 256))
    bits = max(1, min(bits, _MAX_BITS, int(np.log2(n + 1)) + _SPARE_BITS))
    rng = np.random.default_rng(seed)
    return np.stack([np.sort(1 + rng.permutation(255)[:bits]) for _ in range(tables)])


def _masks(samples: NDArray[np.int64]) -> NDArray[np.uint64]:
    masks = np.zeros((len(samples), 4), np.uint64)
    for mask, bits in zip(masks, samples, strict=True):
        for bit in bits.tolist():
            mask[bit // 64] |= np.uint64(1 << (bit % 64))
    return masks


@njit(nogil=True, cache=True)
def _keys(hashes, sample):  # pragma: no cover - compiled
    n, orientations, _ = hashes.shape
    keys = np.zeros((n, orientations), np.int64)
    for i in range(n):
        for o in range(orientations):
            key = np.int64(0)
            for bit in sample:
                word = hashes[i, o, bit // 64]
                key = (key << 1) | np.int64((word >> np.uint64(bit % 64)) & np.uint64(1))
            keys[i, o] = key
    return keys


def _drawers(keys: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(keys, minlength=count), out=starts[1:])
    return starts, np.argsort(keys, kind="stable")


@njit(inline="always")
def _bits(x):  # pragma: no cover - compiled
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(inline="always")
def _is_new_match(a, b, masks, distance):  # pragma: no cover - compiled
    """Compare whole hashes; a pair that an earlier table brought together is not new."""
    x0, x1, x2, x3 = a[0] ^ b[0], a[1] ^ b[1], a[2] ^ b[2], a[3] ^ b[3]
    bits = _bits(x0) + _bits(x1)
    if bits > np.uint64(distance):
        return False
    if bits + _bits(x2) + _bits(x3) > np.uint64(distance):
        return False
    for t in range(len(masks) - 1):
        m = masks[t]
        if (x0 & m[0]) | (x1 & m[1]) | (x2 & m[2]) | (x3 & m[3]) == np.uint64(0):
            return False
    return True


@njit(nogil=True, cache=True)
def _count(  # noqa: PLR0917 - numba takes arguments by position
    turned, stored, queries, starts, order, masks, distance, is_one_list
):  # pragma: no cover - compiled
    n, orientations, _ = turned.shape
    counts = np.zeros(n, np.int64)
    for i in range(n):
        count = 0
        for o in range(orientations):
            key = queries[i, o]
            for place in range(starts[key], starts[key + 1]):
                j = order[place]
                if j == i or (is_one_list and j < i) or count == MAX_PARTNERS:
                    continue
                if _is_new_match(turned[i, o], stored[j], masks, distance):
                    count += 1
        counts[i] = count
    return counts


@njit(nogil=True, cache=True)
def _list(  # noqa: PLR0917 - numba takes arguments by position
    turned, stored, queries, starts, order, masks, distance, is_one_list, places, rows
):  # pragma: no cover - compiled
    n, orientations, _ = turned.shape
    for i in range(n):
        at = places[i]
        if at == places[i + 1]:
            continue
        for o in range(orientations):
            key = queries[i, o]
            for place in range(starts[key], starts[key + 1]):
                j = order[place]
                if j == i or (is_one_list and j < i) or at == places[i + 1]:
                    continue
                if _is_new_match(turned[i, o], stored[j], masks, distance):
                    rows[at, 0] = i
                    rows[at, 1] = j
                    rows[at, 2] = o
                    at += 1
