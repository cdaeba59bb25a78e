"""Which files show the same image, whatever was done to it in between.

Candidates come from perceptual hashes over eight orientations, on the full frame, on the
content, and on the frame without its edge; each is verified on thumbnails. The hash alone is
no proof: at useful distances it joins strangers. What was rotated, scaled, shifted or inverted
is proposed by spectra instead (`signatures`) and verified in its pose (`poses`).
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from tumorlens.inputs.prepare import InputSpec
from tumorlens.progress import Progress, silent
from tumorlens.records import Case
from tumorlens.settings import load_settings
from tumorlens.study.audit.duplicates.candidates import candidate_pairs
from tumorlens.study.audit.duplicates.fingerprints import (
    ORIENTATIONS,
    VIEWS,
    Fingerprints,
    fingerprint,
)
from tumorlens.study.audit.duplicates.poses import PosedCopy, find_posed_copies
from tumorlens.study.audit.duplicates.verification import (
    NEIGHBOR_SLICE,
    WORTH_ALIGNING,
    Likeness,
    compare,
    is_copy_aligned,
)
from tumorlens.study.data.groups import Groups
from tumorlens.study.data.named_groups import NamedGroups, read_names

HASH_DISTANCE = 44  # bits of 256; wide, because every candidate is verified
MIN_DISTANCE = 24
_WIDE = 16_000  # images up to which the net is that wide
_NARROWING = 11.0  # bits for each tenfold of images, or strangers would fill the net
KINDS = ("exact", "pixels", "copy", "neighbor")
SAME = KINDS[:3]  # kinds that join one image
INVERSE = tuple(ORIENTATIONS.index(name) for name in (
    "as is", "flip left-right", "flip up-down", "rotate 180",
    "transpose", "rotate 270", "rotate 90", "anti-transpose"))  # fmt: skip
_VIEW_PAIRS = ((0, 0), (1, 1), (2, 0))  # of a and of b, rows of VIEWS
_TRIES = 3  # alignments between two groups of copies
_TRIES_OF_ONE = 8  # alignments of one group of copies with any other
_MAX_LISTED = 200  # files of one image whose pairs are all listed; above, a star


@dataclass(frozen=True)
class Link:
    """Two files, by position, and what joins them."""

    a: int
    b: int
    kind: str  # one of KINDS
    orientation: str  # what turns a into b, a row of ORIENTATIONS
    score: float  # correlation of the thumbnails, -1 to 1
    change: str = ""  # in words, where it is more: "rotated 9 degrees, scaled 1.10, inverted"


def find_copies(
    paths: Sequence[Path],
    *,
    cache: Path | None = None,
    progress: Progress = silent,
) -> list[Link]:
    """Link files of the same image, and neighboring slices of one head.

    What is computed of a file is kept in the `cache` folder (None: the user's own). The pairs of
    one image are listed, but for those that only a chain
    of copies joins and that no longer look alike themselves; files of equal pixels, if more than
    200, as a star around the first.
    """
    return link_copies(_fingerprints(paths, cache, None, progress))


def _fingerprints(
    paths: Sequence[Path], cache: Path | None, spec: InputSpec | None, progress: Progress
) -> Fingerprints:
    folder = cache or load_settings().cache_folder
    return fingerprint(paths, cache=folder, spec=spec, progress=progress)


def link_copies(prints: Fingerprints) -> list[Link]:
    """Link files by their fingerprints; sorted, each pair once, a < b."""
    twins = _twins(prints)
    kept = np.array(sorted(twins), np.int64)
    with threadpool_limits(1, user_api="blas"):  # pairs are compared side by side already
        links = _near(prints, kept) if len(kept) > 1 else []
    whole = [*_within(prints, twins), *_between(links, twins)]
    return sorted(whole, key=lambda link: (link.a, link.b))


def connected(n: int, links: Sequence[Link], kinds: Sequence[str] = KINDS) -> NDArray[np.int64]:
    """Return the number of each file's connected group, [n]; files without links stand alone."""
    ends = np.array([(k.a, k.b) for k in links if k.kind in kinds], np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _twins(prints: Fingerprints) -> dict[int, list[int]]:
    """Group files by equal pixels, under the first of each."""
    first: dict[str, int] = {}
    twins: dict[int, list[int]] = defaultdict(list)
    for i in np.flatnonzero(prints.usable & ~prints.is_blank).tolist():
        twins[first.setdefault(prints.pixels[i], i)].append(i)
    return twins


def _within(prints: Fingerprints, twins: dict[int, list[int]]) -> Iterator[Link]:
    for files in twins.values():
        for a, b in _listed(files, files):
            kind = "exact" if prints.content[a] == prints.content[b] else "pixels"
            yield Link(a, b, kind, ORIENTATIONS[0], 1.0)


def _between(links: Sequence[Link], twins: dict[int, list[int]]) -> Iterator[Link]:
    """Say of all files with the same pixels what was found of the first."""
    for link in links:
        for a, b in _listed(twins[link.a], twins[link.b]):
            turn = ORIENTATIONS.index(link.orientation)
            name = ORIENTATIONS[turn if (a in twins[link.a]) else INVERSE[turn]]
            yield Link(a, b, link.kind, name, link.score, link.change)


def _listed(some: Sequence[int], others: Sequence[int]) -> Iterator[tuple[int, int]]:
    few = len(some) <= _MAX_LISTED and len(others) <= _MAX_LISTED
    for a in some if few else some[:1]:
        for b in others:
            if some is not others:
                yield min(a, b), max(a, b)
            elif a < b:
                yield a, b


def _near(prints: Fingerprints, kept: NDArray[np.int64]) -> list[Link]:
    """Verify candidates among one file of each distinct image, `kept`."""
    pairs = _candidates(prints, kept)
    found = compare(prints, pairs)
    groups = DisjointSet(kept.tolist())
    for a, b in pairs[found.is_copy][:, :2].tolist():
        groups.merge(a, b)
    aligned = _aligned(prints, pairs, found, groups)
    posed = find_posed_copies(prints, np.sort([min(group) for group in groups.subsets()]))
    for copy in posed:
        groups.merge(copy.a, copy.b)
    links = _with_posed(_as_links(pairs, found, aligned=aligned, groups=groups), posed)
    return [*links, *_completed(prints, groups, links)]


def _with_posed(links: Sequence[Link], posed: Sequence[PosedCopy]) -> list[Link]:
    """Add the copies in other poses, instead of what was found of the same files before."""
    by_ends = {(link.a, link.b): link for link in links}
    for copy in posed:
        found = Link(copy.a, copy.b, "copy", copy.orientation, copy.score, copy.change)
        by_ends[copy.a, copy.b] = found
    return list(by_ends.values())


def _candidates(prints: Fingerprints, kept: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return rows (a, b, orientation of a, view of a, view of b), a < b."""
    blocks, distance = [], hash_distance(len(kept))
    for of_a, of_b in _VIEW_PAIRS:
        turned = np.ascontiguousarray(prints.hashes[kept, of_a])
        stored = np.ascontiguousarray(prints.hashes[kept, of_b, 0])
        i, j, turn = candidate_pairs(turned, stored, distance=distance, is_one_list=of_a == of_b)
        a, b, ones = kept[i], kept[j], np.ones(len(i), np.int64)
        rows = np.stack([a, b, turn, of_a * ones, of_b * ones], 1)
        back = np.stack([b, a, np.array(INVERSE)[turn], of_b * ones, of_a * ones], 1)
        blocks.append(np.where((a < b)[:, None], rows, back))
    return np.concatenate(blocks)


def hash_distance(n: int) -> int:
    """Return the distance at which hashes are candidates among n images.

    Nine in ten copies of the public sets stand within 28 bits and three in four within 20;
    strangers within a given distance grow with the square of n.
    """
    narrowed = HASH_DISTANCE - _NARROWING * np.log10(max(n, _WIDE) / _WIDE)
    return max(MIN_DISTANCE, int(narrowed))


def _best_of_each_pair(pairs: NDArray[np.int64], found: Likeness) -> NDArray[np.int64]:
    order = np.lexsort((-found.score, ~found.is_copy, pairs[:, 1], pairs[:, 0]))
    ends = pairs[order, :2]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (ends[1:] != ends[:-1]).any(1)
    return order[is_first]


def _aligned(
    prints: Fingerprints, pairs: NDArray[np.int64], found: Likeness, groups: DisjointSet
) -> dict[int, float]:
    """Align likely pairs of different groups; return the scores of copies, by row of `pairs`.

    Between two groups of copies a few tries suffice: one success joins them.
    """
    likely = np.flatnonzero((found.score >= WORTH_ALIGNING) & ~found.is_copy)
    tried: dict[int | frozenset[int], int] = defaultdict(int)
    rows = []
    for row in likely[np.argsort(-found.score[likely])].tolist():
        a, b = groups[int(pairs[row, 0])], groups[int(pairs[row, 1])]
        both = frozenset((a, b))
        if a == b or tried[both] == _TRIES or max(tried[a], tried[b]) >= _TRIES_OF_ONE:
            continue
        for name in (a, b, both):
            tried[name] += 1
        rows.append(row)
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda row: is_copy_aligned(prints, pairs[row]), rows))
    joined = {row: score for row, (is_copy, score) in zip(rows, answers, strict=True) if is_copy}
    for row in joined:
        groups.merge(*pairs[row, :2].tolist())
    return joined


def _as_links(
    pairs: NDArray[np.int64],
    found: Likeness,
    *,
    aligned: dict[int, float],
    groups: DisjointSet,
) -> list[Link]:
    by_ends: dict[tuple[int, int], int] = {
        (int(pairs[row, 0]), int(pairs[row, 1])): row for row in aligned
    }
    is_link = found.is_copy | found.is_neighbor
    links = []
    for best in _best_of_each_pair(pairs, found).tolist():
        a, b = pairs[best, :2].tolist()
        row = by_ends[a, b] if (a, b) in by_ends else best  # noqa: SIM401 - pyright loses the type
        if row in aligned or is_link[row]:
            kind = "copy" if groups.connected(a, b) else "neighbor"
            score = aligned.get(row, float(found.score[row]))
            links.append(Link(a, b, kind, ORIENTATIONS[pairs[row, 2]], round(score, 4)))
    return links


def _completed(prints: Fingerprints, groups: DisjointSet, links: Sequence[Link]) -> Iterator[Link]:
    """List the pairs of one group that no candidate named, with the score they have.

    A chain of copies leads from one to the other; pairs that no longer look alike themselves
    are left to the chain.
    """
    known = {(link.a, link.b) for link in links}
    rows = []
    for group in groups.subsets():
        files = sorted(group)
        if 2 < len(files) <= _MAX_LISTED:
            missing = [(a, b) for a, b in _listed(files, files) if (a, b) not in known]
            rows.extend(_nearest_turn(prints, a, b) for a, b in missing)
    if not rows:
        return
    pairs = np.array(rows, np.int64)
    scores = compare(prints, pairs).score
    for (a, b, turn, _, _), score in zip(pairs.tolist(), scores.tolist(), strict=True):
        if score >= NEIGHBOR_SLICE:
            yield Link(a, b, "copy", ORIENTATIONS[turn], round(score, 4))


def _nearest_turn(prints: Fingerprints, a: int, b: int) -> tuple[int, int, int, int, int]:
    """Choose the orientation and the view in which the hashes of two files are nearest."""
    views = [view for view, _ in enumerate(VIEWS[:2])]
    differing = prints.hashes[a, views] ^ prints.hashes[b, views, :1]
    distance = np.bitwise_count(differing).sum(-1)  # [views, orientations]
    view, turn = np.unravel_index(int(distance.argmin()), distance.shape)
    return a, b, int(turn), int(view), int(view)


def group_cases(
    cases: Sequence[Case],
    *,
    cache: Path | None = None,
    spec: InputSpec | None = None,
    progress: Progress = silent,
) -> Groups:
    """Group cases by verified copies, neighboring slices, patient and given group.

    With `spec` scans are prepared on the way, where they will be asked for next.
    """
    prints = _fingerprints([case.path for case in cases], cache, spec, progress)
    return replace(group_links(cases, link_copies(prints)), usable=prints.usable)


def group_links(cases: Sequence[Case], links: Sequence[Link]) -> Groups:
    """Group cases by links, and by patient, given group and telling name in their own data set."""
    n, named = len(cases), read_names(cases)
    groups, image_ids = _joined(connected(n, links), cases, named), connected(n, links, SAME)
    audit = _fingerprint(cases, groups, image_ids)
    return Groups(groups, image_ids, audit, notes=named.notes)


def _fingerprint(
    cases: Sequence[Case], groups: NDArray[np.int64], image_ids: NDArray[np.int64]
) -> str:
    """Hash what was found; neither the order of the files nor their place counts."""
    rows = zip((case.key for case in cases), groups.tolist(), image_ids.tolist(), strict=True)
    numbers: dict[tuple[str, int], int] = {}
    text = []
    for key, group, image_id in sorted(rows):
        named = [
            numbers.setdefault((kind, number), len(numbers))
            for kind, number in (("group", group), ("image", image_id))
        ]
        text.append(f"{key}\t{named[0]}\t{named[1]}")
    return hashlib.sha256("\n".join(text).encode(errors="surrogateescape")).hexdigest()[:16]


def _joined(
    groups: NDArray[np.int64], cases: Sequence[Case], named: NamedGroups
) -> NDArray[np.int64]:
    """Merge groups that share a patient, a given group or a telling name of one data set."""
    together = DisjointSet(set(groups.tolist()))
    first: dict[tuple[str, str, str], int] = {}
    for group, case, given in zip(groups.tolist(), cases, named.names, strict=True):
        for kind, name in (("patient", case.patient), ("group", case.group), ("name", given)):
            if name:
                together.merge(group, first.setdefault((case.dataset, kind, name), group))
    merged = np.array([together[group] for group in groups.tolist()], np.int64)
    return np.unique(merged, return_inverse=True)[1].astype(np.int64)
