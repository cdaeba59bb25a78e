"""What a finished network is given before it is used: temperature, threshold, limits.

All of it is chosen on validation; a test part is never read here.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.models.bundle import REFERENCE_SCALE, OodReference, UncertaintyBand
from tumorlens.models.bundle_schema import ANSWERED
from tumorlens.models.performance import OperatingPoint
from tumorlens.predictions.decision import neighbor_distance
from tumorlens.records import Estimate

NEIGHBORS = 5
REFERENCES = 512
MAX_REFERENCES = 2000  # where they stand for all sources alike
IN_SCOPE = 0.99  # share of validation scans kept
LEFT_OUT_IN_SCOPE = 0.97  # share of the scans of a source that is left out
FULL_SOURCE = 50  # scans of a class, from which a source counts as much as any other
_EDGES = 400  # ends of a band that are tried
MIN_OF_SOURCE = 20  # scans, below which a source says nothing of how strange one can be


def choose_threshold(
    scores: NDArray[np.floating], truth: NDArray[np.bool_], *, sensitivity: float
) -> OperatingPoint:
    """Take the highest threshold that meets the sensitivity, which has the best specificity.

    `scores` are tumor probabilities, [n]. Raises TrainingError with one class only.
    """
    _check_both_classes(truth)
    positives = np.sort(scores[truth])
    missed = int(np.floor((1 - sensitivity) * len(positives) + 1e-9))
    above = positives[missed]
    below = scores[scores < above].max(initial=0.0)
    aim = f"sensitivity >= {sensitivity:g} at the best specificity"
    return _operating_point(scores, truth, threshold=_midway(float(below), float(above)), aim=aim)


def choose_balanced_threshold(
    scores: NDArray[np.floating], truth: NDArray[np.bool_], *, weights: NDArray[np.floating]
) -> OperatingPoint:
    """Take the threshold at which the weighted share of right decisions is largest.

    `weights` are of `source_weights`. Raises TrainingError with one class only.
    """
    _check_both_classes(truth)
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    # What moving the threshold above each scan wins (a healthy one) or loses.
    gain = np.cumsum(np.where(truth[order], -weights[order], weights[order]))
    gain[:-1][ranked[1:] == ranked[:-1]] = -np.inf  # equal scores are decided alike
    last = int(gain[:-1].argmax()) if len(gain) > 1 else 0
    threshold = _midway(float(ranked[last]), float(ranked[min(last + 1, len(ranked) - 1)]))
    aim = "largest mean of sensitivity and specificity, sources alike"
    return _operating_point(scores, truth, threshold=threshold, aim=aim)


def source_weights(truth: NDArray[np.bool_], sources: Sequence[str]) -> NDArray[np.float64]:
    """Return weights, [n], by which both classes count alike, and in each the sources alike.

    A source with fewer than FULL_SOURCE scans of a class counts by their number.
    """
    cells, rows = np.unique(
        [f"{t}/{s}" for t, s in zip(truth, sources, strict=True)], return_inverse=True
    )
    counts = np.bincount(rows, minlength=len(cells))
    weights = (np.minimum(counts, FULL_SOURCE) / counts)[rows]
    for is_tumor in (True, False):
        weights[truth == is_tumor] /= max(weights[truth == is_tumor].sum(), 1e-12)
    return weights / 2


def _check_both_classes(truth: NDArray[np.bool_]) -> None:
    if truth.all() or not truth.any():
        fix = "Put scans with and without a tumor into validation."
        raise TrainingError("validation", "holds one class only, so no threshold", fix)


def _midway(below: float, above: float) -> float:
    """Return a threshold between two scores, so that rounding elsewhere moves no scan across."""
    threshold = (above + below) / 2
    return above if threshold <= below else threshold  # neighboring floats have nothing between


def _operating_point(
    scores: NDArray[np.floating], truth: NDArray[np.bool_], *, threshold: float, aim: str
) -> OperatingPoint:
    flagged = scores >= threshold
    return OperatingPoint(
        threshold,
        aim=aim,
        part="validation",
        sensitivity=Estimate(float(flagged[truth].mean()), None, None, int(truth.sum())),
        specificity=Estimate(float((~flagged[~truth]).mean()), None, None, int((~truth).sum())),
    )


def choose_band(
    scores: NDArray[np.floating], truth: NDArray[np.bool_], *, threshold: float, error: float
) -> UncertaintyBand:
    """Take the probabilities that both classes reach at the given `error` each.

    Class-conditional split conformal prediction (Vovk, 2012): below `low` lies at most
    that share of the tumors, above `high` at most that share of the healthy. Where the two
    do not overlap, nothing is uncertain.
    """
    low = float(np.quantile(scores[truth], error, method="lower"))
    high = float(np.quantile(scores[~truth], 1 - error, method="higher"))
    if low >= high:
        low = high = threshold
    return UncertaintyBand(low=low, high=high, error=error)


def choose_band_by_risk(
    scores: NDArray[np.floating],
    truth: NDArray[np.bool_],
    *,
    weights: NDArray[np.floating],
    threshold: float,
    risk: float,
) -> UncertaintyBand:
    """Take the band around `threshold` that answers most with at most `risk` of answers wrong.

    Shares are weighted, by `source_weights`. Selective classification (Geifman and El-Yaniv,
    2017), with an end for each class.
    """
    edges = np.unique(np.append(np.quantile(scores, np.linspace(0, 1, _EDGES)), threshold))
    lows, highs = edges[edges <= threshold][::-1], edges[edges >= threshold]  # narrow ones first
    below = scores <= lows[:, None]  # [lows, n]
    above = scores >= highs[:, None]
    answered = (below @ weights)[:, None] + above @ weights
    wrong = (below @ (weights * truth))[:, None] + above @ (weights * ~truth)
    covered = np.where(wrong <= risk * answered, answered, -1.0)
    if covered.max() < 0:
        return UncertaintyBand(
            0.0, 1.0, risk, ANSWERED
        )  # not even the surest are right often enough
    low, high = np.unravel_index(covered.argmax(), covered.shape)
    return UncertaintyBand(float(lows[low]), float(highs[high]), risk, ANSWERED)


def choose_scope(
    reference: NDArray[np.floating],
    validation: NDArray[np.floating],
    *,
    ood: NDArray[np.floating],
    seed: int = 0,
) -> OodReference:
    """Keep a sample of training embeddings, and the distance most validation scans are within.

    How many `ood` images lie beyond it is measured, and chooses nothing: they are drawn, and
    lie farther out than photographs or other parts of the body do.
    """
    rng = np.random.default_rng(seed)
    reference = reference[np.linalg.norm(reference, axis=1) > 0]  # the rest has no direction
    scope = _reference_of(reference[rng.permutation(len(reference))[:REFERENCES]])
    limit = float(np.quantile(neighbor_distance(validation, scope), IN_SCOPE))
    return _with_limit(scope, limit, validation=validation, ood=ood)


def choose_scope_across_sources(
    reference: NDArray[np.floating],
    sources: Sequence[str],
    *,
    validation: NDArray[np.floating],
    ood: NDArray[np.floating],
) -> OodReference:
    """Keep all these embeddings, and the distance that heads of a left-out source are within.

    Each of `sources`, [r], is held against the others in turn; the limit is the largest that any
    of them needs for LEFT_OUT_IN_SCOPE of its scans. What is no head chooses nothing.
    """
    names = np.asarray(sources)
    limits = [0.0]
    for source in np.unique(names):
        out = names == source
        if out.sum() >= MIN_OF_SOURCE and (~out).sum() >= MIN_OF_SOURCE:
            distances = neighbor_distance(reference[out], _reference_of(reference[~out]))
            limits.append(float(np.quantile(distances, LEFT_OUT_IN_SCOPE)))
    scope = _reference_of(reference)
    inside = float(np.quantile(neighbor_distance(validation, scope), IN_SCOPE))
    return _with_limit(scope, max(inside, *limits), validation=validation, ood=ood)


def even_sample(names: Sequence[str], count: int, *, seed: int) -> NDArray[np.int64]:
    """Draw up to `count` positions, as even in number over names as these allow, in order."""
    turns: Counter[str] = Counter()
    ranked = []
    for place, row in enumerate(np.random.default_rng(seed).permutation(len(names))):
        name = names[int(row)]
        ranked.append((turns[name], place, int(row)))
        turns[name] += 1
    return np.array(sorted(row for *_, row in sorted(ranked)[:count]), np.int64)


def _reference_of(embedding: NDArray[np.floating]) -> OodReference:
    """Return the reference as it will be stored: whole numbers, normalized again."""
    rows = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    rows = np.rint(rows * REFERENCE_SCALE)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return OodReference(rows, neighbors=min(NEIGHBORS, len(rows)), limit=2.0, kept=1.0)


def _with_limit(
    scope: OodReference,
    limit: float,
    *,
    validation: NDArray[np.floating],
    ood: NDArray[np.floating],
) -> OodReference:
    inside, outside = (neighbor_distance(embedding, scope) for embedding in (validation, ood))
    return replace(
        scope,
        limit=limit,
        kept=float((inside <= limit).mean()),
        refused=float((outside > limit).mean()),
    )
