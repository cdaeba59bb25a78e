"""What a bundle's validation scans showed of it, as far as readers of one answer need it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorlens.records import Estimate


@dataclass(frozen=True)
class ReliabilityBin:
    """Scans of similar tumor probability; bins of one table hold about equally many."""

    n: int
    tumors: int
    predicted: float  # mean calibrated tumor probability
    least: float  # of the probabilities
    most: float
    low: float  # 95 % of the share of tumors (Wilson)
    high: float


@dataclass(frozen=True)
class Measured:
    """How the bundle did on validation scans, of one modality or of all.

    Temperature and threshold were chosen on these very scans, so the figures lean to the good
    side; intervals are of a bootstrap over groups.
    """

    n: int
    n_tumor: int
    n_groups: int
    auc: Estimate
    sensitivity: Estimate  # at the bundle's threshold, as are the next
    specificity: Estimate
    bins: tuple[ReliabilityBin, ...]

    def to_json(self) -> dict[str, Any]:
        """Give the fields as plain data."""
        return asdict(self)


def load_measured(stored: Mapping[str, Any]) -> Measured:
    """Read what `to_json` gave; raises KeyError or TypeError for missing or unknown fields."""
    rates = {name: Estimate(**stored[name]) for name in ("auc", "sensitivity", "specificity")}
    bins = tuple(ReliabilityBin(**row) for row in stored["bins"])
    return Measured(**{**stored, **rates, "bins": bins})


def predictive_values(
    sensitivity: ArrayLike, specificity: ArrayLike, prevalence: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positive and negative predictive value by Bayes' rule; NaN where they are open.

    Takes numbers or arrays that broadcast; None counts as NaN.

    >>> [float(value.round(4)) for value in predictive_values(0.9, 0.9, 0.01)]
    [0.0833, 0.9989]
    """
    se, sp, p = (np.asarray(rate, np.float64) for rate in (sensitivity, specificity, prevalence))

    def value(right: NDArray[np.float64], wrong: NDArray[np.float64]) -> NDArray[np.float64]:
        total = right + wrong
        return np.divide(right, total, out=np.full(total.shape, np.nan), where=total > 0)

    return value(se * p, (1 - sp) * (1 - p)), value(sp * (1 - p), (1 - se) * p)
