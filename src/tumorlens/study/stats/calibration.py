"""Whether a probability of 0.3 means three in ten: reliability bins, slope and intercept."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from tumorlens.models.performance import ReliabilityBin
from tumorlens.study.stats.intervals import Z, wilson

_NEVER = 1e-12  # probabilities nearer to 0 or 1 have no log odds worth the name
_STEPS = 50  # of Newton's method; a handful is usual
_FARTHEST = 1e3  # a slope beyond it means that a threshold separates the classes: no slope


def equal_mass_bins(scores: NDArray[np.float64], count: int) -> list[NDArray[np.int64]]:
    """Return the positions of at most `count` bins of about equally many scores, rising."""
    order = np.argsort(scores, kind="stable")
    return [b for b in np.array_split(order, min(count, max(1, len(order)))) if len(b)]


def reliability_bins(
    scores: NDArray[np.float64], truth: NDArray[np.bool_], *, count: int, min_in_bin: int = 1
) -> tuple[ReliabilityBin, ...]:
    """Count tumors among scans of similar probability, in at most `count` bins."""
    bins = equal_mass_bins(scores, max(1, min(count, len(scores) // min_in_bin)))
    return tuple(_bin(scores[b], truth[b]) for b in bins)


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


def log_odds(probabilities: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return finite log odds, also of probabilities of 0 and 1."""
    return logit(np.clip(probabilities, _NEVER, 1 - _NEVER))


def fit_line(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> dict[str, float]:
    """Fit slope and intercept with 95 % intervals, and the offset; NaN where there is no fit.

    By Newton's method on the likelihood, without penalty; the intervals are Wald's, of cases
    taken as independent.
    """
    odds = log_odds(scores)
    both = _newton(np.column_stack([np.ones_like(odds), odds]), truth, np.zeros_like(odds))
    alone = _newton(np.ones((len(odds), 1)), truth, odds)
    named = {"intercept": (both, 0), "slope": (both, 1), "offset": (alone, 0)}
    found: dict[str, float] = {}
    for name, ((values, errors), k) in named.items():
        found[name] = float(values[k])
        found[f"{name}_low"] = float(values[k] - Z * errors[k])
        found[f"{name}_high"] = float(values[k] + Z * errors[k])
    return found


def _newton(
    columns: NDArray[np.float64], truth: NDArray[np.bool_], offset: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coefficients and standard errors of a logistic regression, [k] each, or NaN."""
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
