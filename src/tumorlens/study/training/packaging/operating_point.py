"""What a finished network is given before it is used: temperature, threshold, limits.

All of it is chosen on validation; a test part is never read here.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import TrainingError
from tumorlens.models.bundle import REFERENCE_SCALE, OodReference, UncertaintyBand
from tumorlens.models.performance import OperatingPoint
from tumorlens.predictions.decision import neighbor_distance
from tumorlens.records import Estimate

NEIGHBORS = 5
REFERENCES = 512
IN_SCOPE = 0.99  # share of validation scans kept


def choose_threshold(
    scores: NDArray[np.floating], truth: NDArray[np.bool_], *, sensitivity: float
) -> OperatingPoint:
    """Take the highest threshold that meets the sensitivity, which has the best specificity.

    `scores` are tumor probabilities, [n]. Raises TrainingError with one class only.
    """
    if truth.all() or not truth.any():
        fix = "Put scans with and without a tumor into validation."
        raise TrainingError("validation", "holds one class only, so no threshold", fix)
    positives = np.sort(scores[truth])
    missed = int(np.floor((1 - sensitivity) * len(positives) + 1e-9))
    above = positives[missed]
    below = scores[scores < above].max(initial=0.0)
    # Between two observed scores, so that rounding on another machine moves no scan across.
    threshold = float((above + below) / 2)
    if threshold <= below:  # neighboring floats have nothing between them
        threshold = float(above)
    flagged = scores >= threshold
    return OperatingPoint(
        threshold,
        aim=f"sensitivity >= {sensitivity:g} at the best specificity",
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
    rows = reference[rng.permutation(len(reference))[:REFERENCES]]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    # As it will be stored: whole numbers, normalized again.
    rows = np.rint(rows * REFERENCE_SCALE)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    scope = OodReference(rows, neighbors=min(NEIGHBORS, len(rows)), limit=2.0, kept=1.0)
    inside, outside = (neighbor_distance(embedding, scope) for embedding in (validation, ood))
    limit = float(np.quantile(inside, IN_SCOPE))
    return replace(
        scope,
        limit=limit,
        kept=float((inside <= limit).mean()),
        refused=float((outside > limit).mean()),
    )
