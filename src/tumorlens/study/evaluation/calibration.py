"""Whether a probability of 0.3 means three in ten: reliability, error, slope and intercept."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.models.performance import ReliabilityBin
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions
from tumorlens.study.stats.calibration import equal_mass_bins, fit_line, reliability_bins
from tumorlens.study.stats.intervals import bootstrap, nan_to_none

CALIBRATION_BINS = 15


def calibration_figures(answers: LabeledPredictions) -> dict[str, Any]:
    """Give the calibration of the tumor probability, and what it was before the temperature.

    `calibrated` is False, and `before` None, where the bundle has no temperature of its own.
    """
    truth, groups = answers.truth, answers.groups
    has_own = answers.temperature != 1.0
    before = reliability(answers.uncalibrated, truth, groups) if has_own else None
    after = reliability(answers.scores, truth, groups)
    return after | {
        "calibrated": has_own,
        "temperature": answers.temperature,
        "before": before,
    }


def reliability(
    scores: NDArray[np.float64], truth: NDArray[np.bool_], groups: NDArray
) -> dict[str, Any]:
    """Give the expected calibration error (equal-mass bins), Brier score, slope and intercept.

    Slope and intercept are of the logistic regression of the truth on the log odds (Cox, 1958):
    1 and 0 are right, a slope below 1 is overconfident. `offset` is the intercept with the slope
    held at 1: above 0, tumors are commoner than the probabilities say.
    """
    bins = equal_mass_bins(scores, CALIBRATION_BINS)
    table = [_row(found) for found in reliability_bins(scores, truth, count=CALIBRATION_BINS)]
    gaps = [row["n"] * abs(row["predicted"] - row["observed"]) for row in table]
    losses = (scores - truth) ** 2

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        total = weights.sum(1)
        gap = sum(np.abs(weights[:, b] @ (scores[b] - truth[b])) for b in bins)
        return {"ece": gap / total, "brier": weights @ losses / total}

    found = bootstrap(statistics, groups) if len(scores) else {}
    found["ece"] = np.array(np.sum(gaps) / max(1, len(scores)))
    fit = fit_line(scores, truth)
    return {"n": len(scores), "brier": None, **nan_to_none(found | fit), "bins": table}


def _row(found: ReliabilityBin) -> dict[str, Any]:
    return {
        "n": found.n,
        "predicted": found.predicted,
        "observed": found.tumors / found.n,
        "observed_low": found.low,
        "observed_high": found.high,
    }
