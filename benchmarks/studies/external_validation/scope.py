"""What is no head: how much of it a bundle refuses, beside how much of its own kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.inputs.cache import prepare_files
from tumorlens.models.bundle import Bundle
from tumorlens.models.engine import Engine
from tumorlens.predictions.decision import neighbor_distance
from tumorlens.records import Estimate
from tumorlens.study.stats.discrimination import areas
from tumorlens.study.stats.intervals import wilson
from tumorlens.study.training.packaging.assemble import run_engine

KEPT = 0.95  # share of heads at which false positives are counted


def distances(paths: Sequence[Path], bundle: Bundle, *, cache: Path) -> NDArray[np.float64]:
    """Return how far files lie from the training scans, [n]; infinite where one is unusable."""
    made = prepare_files(list(paths), bundle.spec, cache=cache)
    found = np.full(len(paths), np.inf)
    rows = np.flatnonzero(made.usable)
    if len(rows):
        embedding = run_engine(Engine(bundle), made.pixels[rows])[1]
        found[rows] = neighbor_distance(embedding, bundle.ood_reference)
    return found


@dataclass(frozen=True)
class ScopeFigures:
    """How much of what is no head a bundle refuses, and how much of what is."""

    refused: Estimate
    inside_refused: float  # share of heads
    n_inside: int  # heads
    auroc: float  # of the distance
    accepted_at_95: float  # of what is no head, where KEPT of heads are accepted


def scope_figures(
    outside: NDArray[np.float64], inside: NDArray[np.float64], *, limit: float
) -> ScopeFigures:
    """Return what is refused at the bundle's limit, and how well distance parts the two at all.

    `outside` and `inside` are distances of images that are no heads and of heads.
    """
    refused = int((outside > limit).sum())
    both = np.concatenate([outside, inside])
    scores = np.where(np.isfinite(both), both, 2.0)  # the largest cosine distance
    truth = np.arange(len(both)) < len(outside)
    return ScopeFigures(
        Estimate(refused / len(outside), *wilson(refused, len(outside)), len(outside)),
        inside_refused=float((inside > limit).mean()),
        n_inside=len(inside),
        auroc=float(areas(truth, scores, np.ones((1, len(both))))["auc"][0]),
        accepted_at_95=float((outside <= np.quantile(inside, KEPT)).mean()),
    )
