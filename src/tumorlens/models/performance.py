"""What a bundle's validation scans showed of it, as far as readers of one answer need it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Rate:
    """A figure with its 95 % interval; None where the scans could not show it."""

    value: float | None
    low: float | None
    high: float | None
    n: int  # scans it was counted on

    def __str__(self) -> str:
        """Write it as people should see it.

        >>> str(Rate(0.91, 0.86, 0.95, 143))
        '0.910 (0.860-0.950, n=143)'
        """
        if self.value is None:
            return f"not measurable (n={self.n})"
        if self.low is None or self.high is None:
            return f"{self.value:.3f} (n={self.n})"
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f}, n={self.n})"


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
    auc: Rate
    sensitivity: Rate  # at the bundle's threshold, as are the next
    specificity: Rate
    bins: tuple[ReliabilityBin, ...]

    def to_json(self) -> dict[str, Any]:
        """Give the fields as plain data."""
        return asdict(self)


def load_measured(stored: Mapping[str, Any]) -> Measured:
    """Read what `to_json` gave; raises KeyError or TypeError for missing or unknown fields."""
    rates = {name: Rate(**stored[name]) for name in ("auc", "sensitivity", "specificity")}
    bins = tuple(ReliabilityBin(**row) for row in stored["bins"])
    return Measured(**{**stored, **rates, "bins": bins})
