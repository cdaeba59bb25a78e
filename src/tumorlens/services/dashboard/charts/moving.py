"""What another threshold and another prevalence would have given."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Share:
    """A share with its interval; None where the scans could not show it."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def interval(self) -> str:
        """The interval and n, as they stand below a figure.

        >>> Share(0.9, 0.8, 0.95, 40).interval
        '0.800-0.950, n=40'
        """
        if self.low is None or self.high is None:
            return f"n={self.n:,}"
        return f"{self.low:.3f}-{self.high:.3f}, n={self.n:,}"


@dataclass(frozen=True)
class Moved:
    """The rates at one threshold and the predictive values they give at one prevalence."""

    threshold: float
    sensitivity: Share
    specificity: Share
    ppv: Share
    npv: Share


def at_threshold(sweep: Mapping[str, Any], threshold: float, prevalence: float) -> Moved:
    """Read the sweep at the nearest threshold that is not below the one asked for.

    Predictive values follow by Bayes' rule; the ends of their intervals are those of both rates
    taken together, which is wider than 95 %.
    """
    grid = sweep["threshold"]
    at = min(bisect_left(grid, threshold), len(grid) - 1)
    sensitivity = _share(sweep, "sensitivity", at, sweep["n_tumor"])
    specificity = _share(sweep, "specificity", at, sweep["n_healthy"])
    ends = [
        (getattr(sensitivity, end), getattr(specificity, end)) for end in ("value", "low", "high")
    ]
    n = sweep["n"]
    return Moved(
        threshold=grid[at],
        sensitivity=sensitivity,
        specificity=specificity,
        ppv=Share(*[ppv(se, sp, prevalence) for se, sp in ends], n=n),
        npv=Share(*[ppv(sp, se, 1 - prevalence) for se, sp in ends], n=n),
    )


def ppv(own: float | None, other: float | None, prevalence: float) -> float | None:
    """Give the share of the flagged that are right, by Bayes' rule; None where none is flagged.

    With sensitivity and specificity it is the positive predictive value; with the two exchanged
    and the prevalence of health, the negative one.

    >>> round(ppv(0.9, 0.9, 0.01), 4)
    0.0833
    """
    if own is None or other is None:
        return None
    right, wrong = own * prevalence, (1 - other) * (1 - prevalence)
    return right / (right + wrong) if right + wrong > 0 else None


def _share(sweep: Mapping[str, Any], name: str, at: int, n: int) -> Share:
    value, low, high = (sweep[f"{name}{end}"][at] for end in ("", "_low", "_high"))
    return Share(value, low, high, n)
