"""Whether a probability of 0.3 means three in ten: reliability, error, slope and intercept."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from tumorlens.study.evaluation.labeled_predictions import Answers, plain
from tumorlens.study.stats.intervals import bootstrap, wilson

CALIBRATION_BINS = 15
_NEVER = 1e-12  # probabilities nearer to 0 or 1 have no log odds worth the name
_STEPS = 50  # of Newton's method; a handful is usual
_FARTHEST = 1e3  # a slope beyond it means that a threshold separates the classes: no slope


def calibration_figures(answers: Answers) -> dict[str, Any]:
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
    bins = _equal_bins(scores)
    table = [_bin(scores[b], truth[b]) for b in bins]
    gaps = [row["n"] * abs(row["predicted"] - row["observed"]) for row in table]
    losses = (scores - truth) ** 2

    def statistics(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        total = weights.sum(1)
        gap = sum(np.abs(weights[:, b] @ (scores[b] - truth[b])) for b in bins)
        return {"ece": gap / total, "brier": weights @ losses / total}

    found = bootstrap(statistics, groups) if len(scores) else {}
    found["ece"] = np.array(np.sum(gaps) / max(1, len(scores)))
    fit = fit_line(scores, truth)
    return {"n": len(scores), "brier": None, **plain(found), **plain(fit), "bins": table}


def _equal_bins(scores: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    order = np.argsort(scores, kind="stable")
    return [b for b in np.array_split(order, min(CALIBRATION_BINS, max(1, len(order)))) if len(b)]


def _bin(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> dict[str, Any]:
    low, high = wilson(truth.sum(), len(truth))
    return {
        "n": len(truth),
        "predicted": float(scores.mean()),
        "observed": float(truth.mean()),
        "observed_low": low,
        "observed_high": high,
    }


def fit_line(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> dict[str, float]:
    """Fit slope and intercept with 95 % intervals, and the offset; NaN where there is no fit.

    By Newton's method on the likelihood, without penalty; the intervals are Wald's, of cases
    taken as independent.
    """
    odds = logit(np.clip(scores, _NEVER, 1 - _NEVER))
    both = _newton(np.column_stack([np.ones_like(odds), odds]), truth, np.zeros_like(odds))
    alone = _newton(np.ones((len(odds), 1)), truth, odds)
    named = {"intercept": (both, 0), "slope": (both, 1), "offset": (alone, 0)}
    found: dict[str, float] = {}
    for name, ((values, errors), k) in named.items():
        found[name] = float(values[k])
        found[f"{name}_low"] = float(values[k] - 1.959963984540054 * errors[k])
        found[f"{name}_high"] = float(values[k] + 1.959963984540054 * errors[k])
    return found


def _newton(
    columns: NDArray[np.float64], truth: NDArray[np.bool_], offset: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give coefficients and standard errors of a logistic regression, [k] each, or NaN."""
    nothing = np.full(columns.shape[1], np.nan)
    if not len(truth) or truth.all() or not truth.any():
        return nothing, nothing
    beta, loss = np.zeros(columns.shape[1]), np.inf
    step = nothing
    for _ in range(_STEPS):
        p = expit(columns @ beta + offset)
        information = columns.T @ (columns * (p * (1 - p))[:, None])
        if np.linalg.cond(information) > 1e14:
            return nothing, nothing
        step = np.linalg.solve(information, columns.T @ (truth - p))
        beta, loss = _shorten(columns, truth, offset, start=(beta, loss), step=step)
        if np.abs(step).max() < 1e-10:
            return beta, np.sqrt(np.diag(np.linalg.inv(information)))
        if np.abs(beta).max() > _FARTHEST:
            return nothing, nothing
    return nothing, nothing


def _shorten(
    columns: NDArray[np.float64],
    truth: NDArray[np.bool_],
    offset: NDArray[np.float64],
    *,
    start: tuple[NDArray[np.float64], float],
    step: NDArray[np.float64],
) -> tuple[NDArray[np.float64], float]:
    """Halve a step until it does not make the likelihood worse."""
    beta, loss = start
    signs = np.where(truth, -1.0, 1.0)
    for halvings in range(30):
        tried = beta + step / 2**halvings
        found = float(np.logaddexp(0, signs * (columns @ tried + offset)).sum())
        if found <= loss + 1e-12:
            return tried, found
    return beta, loss
