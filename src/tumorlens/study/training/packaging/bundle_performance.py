"""What validation shows of a bundle that has its temperature and threshold."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumorlens.models.performance import Measured, ReliabilityBin
from tumorlens.records import Estimate
from tumorlens.study.evaluation.detection import detection_figures
from tumorlens.study.evaluation.labeled_predictions import Answers
from tumorlens.study.stats.intervals import wilson

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
    answers = Answers(
        tuple(names), groups, np.asarray(probabilities, np.float64), ("",) * len(names), threshold
    )
    return {name: _measure(answers, rows) for name, rows in answers.rows().items()}


def _measure(answers: Answers, rows: NDArray[np.bool_]) -> Measured:
    found = detection_figures(answers, rows)

    def rate(name: str, n: str) -> Estimate:
        return Estimate(found[name], found[f"{name}_low"], found[f"{name}_high"], found[n])

    return Measured(
        n=found["n"],
        n_tumor=found["n_tumor"],
        n_groups=found["n_groups"],
        auc=rate("auc", "n"),
        sensitivity=rate("sensitivity", "n_tumor"),
        specificity=rate("specificity", "n_healthy"),
        bins=reliability_bins(answers.scores[rows], answers.truth[rows]),
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
