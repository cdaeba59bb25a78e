"""What a bundle's validation scans showed of it, as far as readers of one answer need it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

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
