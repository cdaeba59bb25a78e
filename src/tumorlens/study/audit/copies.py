"""Which files show the same picture, whatever was done to it in between.

Candidates come from 256-bit perceptual hashes over eight orientations, on the full frame and
on the content; each is verified by the correlation of high-passed thumbnails. The hash alone
is no proof: at useful distances it joins strangers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tumorlens.study.audit.fingerprints import (
    ORIENTATIONS,
    Fingerprints,
    fingerprint,
    orient,
)

HASH_DISTANCE = 44  # bits of 256; wide, because every candidate is verified
SAME_PICTURE = 0.86  # above every pair of different slices of figshare (largest 0.81)
NEIGHBOR_SLICE = 0.65  # above it, all 608 pairs of figshare were of one patient
KINDS = ("exact", "pixels", "copy", "neighbour")


@dataclass(frozen=True)
class Link:
    """Two files, by position, and what joins them."""

    a: int
    b: int
    kind: str  # one of KINDS
    orientation: str  # what turns a into b, a row of ORIENTATIONS
    score: float  # correlation of the thumbnails, -1 to 1


def find_copies(
    paths: Sequence[Path],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[Link]:
    """Link files of the same picture, and neighboring slices of one head."""
    prints = fingerprint(paths, progress=progress)
    return [*_identical(prints), *_near(prints)]


def connected(n: int, links: Sequence[Link], kinds: Sequence[str] = KINDS) -> NDArray[np.int64]:
    """Give the number of each file's connected group, [n]; files without links stand alone."""
    ends = np.array([(k.a, k.b) for k in links if k.kind in kinds], np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _identical(prints: Fingerprints) -> Iterator[Link]:
    first_bytes: dict[str, int] = {}
    first_pixels: dict[str, int] = {}
    for i in np.flatnonzero(prints.usable).tolist():
        by_bytes = first_bytes.setdefault(prints.content[i], i)
        by_pixels = first_pixels.setdefault(prints.pixels[i], i)
        if by_bytes != i:
            yield Link(by_bytes, i, "exact", ORIENTATIONS[0], 1.0)
        elif by_pixels != i:
            yield Link(by_pixels, i, "pixels", ORIENTATIONS[0], 1.0)


def _near(prints: Fingerprints) -> Iterator[Link]:
    """Verify hash candidates among one file of each distinct picture."""
    seen: dict[str, int] = {}
    for i in np.flatnonzero(prints.usable):
        seen.setdefault(prints.pixels[i], int(i))
    kept = np.array(sorted(seen.values()), np.int64)
    if len(kept) < 2:
        return
    first, second, orientation, view = candidate_pairs(prints.hashes[kept])
    scores = _correlations(prints.thumbs, kept[first], kept[second], orientation, view)
    best = _best_of_each_pair(first, second, scores)
    for row in best:
        a, b, score = int(kept[first[row]]), int(kept[second[row]]), float(scores[row])
        turn = ORIENTATIONS[orientation[row]]
        if score >= SAME_PICTURE:
            yield Link(a, b, "copy", turn, round(score, 4))
        elif score >= NEIGHBOR_SLICE:
            yield Link(a, b, "neighbour", turn, round(score, 4))


def candidate_pairs(
    hashes: NDArray[np.uint64], distance: int = HASH_DISTANCE
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """List (i, j, orientation, view) with i < j whose hashes differ in at most `distance` bits.

    `hashes` is [n, views, 8, 4]; orientation turns i into j.
    """
    counts = _count_close(hashes, distance)
    starts = np.concatenate([[0], np.cumsum(counts)])
    found = np.empty((int(starts[-1]), 4), np.int64)
    _list_close(hashes, distance, starts, found)
    return found[:, 0], found[:, 1], found[:, 2], found[:, 3]


@njit(inline="always")
def _bits(x):  # pragma: no cover - compiled
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(inline="always")
def _is_close(a, b, distance):  # pragma: no cover - compiled
    bits = _bits(a[0] ^ b[0]) + _bits(a[1] ^ b[1])
    if bits > np.uint64(distance):
        return False
    return bits + _bits(a[2] ^ b[2]) + _bits(a[3] ^ b[3]) <= np.uint64(distance)


@njit(parallel=True, cache=True)
def _count_close(hashes, distance):  # pragma: no cover - compiled
    n, views, orientations, _ = hashes.shape
    counts = np.zeros(n, np.int64)
    for i in prange(n):
        count = 0
        for j in range(i + 1, n):
            for view in range(views):
                for o in range(orientations):
                    if _is_close(hashes[i, view, o], hashes[j, view, 0], distance):
                        count += 1
        counts[i] = count
    return counts


@njit(parallel=True, cache=True)
def _list_close(hashes, distance, starts, found):  # pragma: no cover - compiled
    n, views, orientations, _ = hashes.shape
    for i in prange(n):
        if starts[i] == starts[i + 1]:
            continue
        at = starts[i]
        for j in range(i + 1, n):
            for view in range(views):
                for o in range(orientations):
                    if _is_close(hashes[i, view, o], hashes[j, view, 0], distance):
                        found[at, 0] = i
                        found[at, 1] = j
                        found[at, 2] = o
                        found[at, 3] = view
                        at += 1


def _correlations(
    thumbs: NDArray[np.int8],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    orientation: NDArray[np.int64],
    view: NDArray[np.int64],
) -> NDArray[np.float64]:
    scores = np.zeros(len(first))
    for turn in range(len(ORIENTATIONS)):
        rows = np.flatnonzero(orientation == turn)
        for block in np.array_split(rows, 1 + len(rows) // 1024):
            if not len(block):
                continue
            a = orient(thumbs[first[block], view[block]], turn).astype(np.float32)
            b = thumbs[second[block], view[block]].astype(np.float32)
            a, b = a.reshape(len(block), -1), b.reshape(len(block), -1)
            norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            scores[block] = np.einsum("ij,ij->i", a, b) / np.maximum(norms, 1)
    return scores


def _best_of_each_pair(
    first: NDArray[np.int64], second: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.int64]:
    order = np.lexsort((-scores, second, first))
    pairs = np.stack([first[order], second[order]], 1)
    is_first = np.ones(len(order), bool)
    is_first[1:] = (pairs[1:] != pairs[:-1]).any(1)
    return order[is_first]
