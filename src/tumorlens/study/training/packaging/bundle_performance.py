"""What validation shows of a bundle that has its temperature and threshold."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.models.performance import Measured, ReliabilityBin
from tumorlens.records import Estimate
from tumorlens.study.stats.intervals import wilson
from tumorlens.study.stats.rates import rates_with_intervals

BINS = 10
LEAST_IN_BIN = 10  # scans: below it a share says nothing


def measure_validation(
    names: Sequence[str],
    probabilities: NDArray[np.floating],
    *,
    groups: NDArray,
    threshold: float,
) -> dict[str, Measured]:
    """Measure calibrated probabilities, [n, atoms], by `all`, `ct` and `mri`.

    `names` are labels, [n]; intervals are of a bootstrap over `groups`, [n].
    """
    scores = np.asarray(labels.tumor_probability(probabilities), np.float64)
    truth = np.array([labels.is_tumor(name) for name in names], bool)
    predicted = np.where(labels.modality_probability(probabilities, "mri") >= 0.5, "mri", "ct")
    modalities = np.array(
        [labels.modality_of(n) or p for n, p in zip(names, predicted, strict=True)]
    )
    rows = {"all": np.ones(len(names), bool)}
    rows |= {m: modalities == m for m in labels.MODALITIES if m in modalities}
    return {
        name: _measure(truth[kept], scores[kept], groups=groups[kept], threshold=threshold)
        for name, kept in rows.items()
    }


def _measure(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], *, groups: NDArray, threshold: float
) -> Measured:
    found = rates_with_intervals(truth, scores, threshold=threshold, groups=groups)
    n_of = {"auc": len(truth), "sensitivity": int(truth.sum()), "specificity": int((~truth).sum())}

    def known(name: str) -> float | None:
        return float(found[name]) if np.isfinite(found[name]) else None

    return Measured(
        n=len(truth),
        n_tumor=n_of["sensitivity"],
        n_groups=len(np.unique(groups)),
        bins=reliability_bins(scores, truth),
        **{
            name: Estimate(known(name), known(f"{name}_low"), known(f"{name}_high"), n)
            for name, n in n_of.items()
        },
    )


def reliability_bins(
    scores: NDArray[np.float64], truth: NDArray[np.bool_]
) -> tuple[ReliabilityBin, ...]:
    """Count tumors among scans of similar probability, in at most BINS bins of equally many."""
    order = np.argsort(scores, kind="stable")
    count = max(1, min(BINS, len(order) // LEAST_IN_BIN))
    return tuple(_bin(scores[b], truth[b]) for b in np.array_split(order, count) if len(b))


def _bin(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> ReliabilityBin:
    low, high = wilson(truth.sum(), len(truth))
    return ReliabilityBin(
        n=len(truth),
        tumors=int(truth.sum()),
        predicted=float(scores.mean()),
        least=float(scores.min()),
        most=float(scores.max()),
        low=low,
        high=high,
    )
