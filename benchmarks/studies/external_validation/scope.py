"""What is no head: how much of it a bundle refuses, beside how much of its own kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.inputs.cache import prepare_files
from tumorlens.models.bundle import Bundle
from tumorlens.models.engine import Engine
from tumorlens.predictions.decision import neighbor_distance
from tumorlens.study.stats.discrimination import areas
from tumorlens.study.stats.intervals import wilson
from tumorlens.study.training.packaging.packaging import run_engine

KEPT = 0.95  # share of heads at which false positives are counted


def distances(paths: Sequence[Path], bundle: Bundle, *, cache: Path) -> NDArray[np.float64]:
    """Give how far files lie from the training scans, [n]; infinite where one is refused before."""
    made = prepare_files(list(paths), bundle.spec, cache=cache)
    found = np.full(len(paths), np.inf)
    rows = np.flatnonzero(made.usable)
    if len(rows):
        embedding = run_engine(Engine(bundle), made.pixels[rows])[1]
        found[rows] = neighbor_distance(embedding, bundle.ood_reference)
    return found


def scope_figures(
    outside: NDArray[np.float64], inside: NDArray[np.float64], *, limit: float
) -> dict[str, Any]:
    """Give what is refused at the bundle's limit, and how well distance parts the two at all.

    `outside` and `inside` are distances of pictures that are no heads and of heads.
    """
    refused = int((outside > limit).sum())
    low, high = wilson(refused, len(outside))
    both = np.concatenate([outside, inside])
    scores = np.where(np.isfinite(both), both, 2.0)  # the largest cosine distance
    truth = np.arange(len(both)) < len(outside)
    at = float(np.quantile(inside, KEPT))
    return {
        "n": len(outside),
        "n_inside": len(inside),
        "refused": refused / len(outside),
        "refused_low": low,
        "refused_high": high,
        "inside_refused": float((inside > limit).mean()),
        "auroc": float(areas(truth, scores, np.ones((1, len(both))))["auc"][0]),
        "accepted_at_95": float((outside <= at).mean()),
    }
