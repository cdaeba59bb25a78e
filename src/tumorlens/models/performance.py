"""What a bundle says of itself: how it was made, what was chosen, and what validation showed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorlens.json_records import JsonObject, from_json, to_json
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
class ValidationPerformance:
    """How a bundle did on validation scans, of one modality or of all.

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

    def to_json(self) -> dict[str, object]:
        """Return the fields as plain data."""
        return asdict(self)


def load_performance(stored: JsonObject) -> ValidationPerformance:
    """Read what `to_json` gave; raises KeyError or TypeError for missing or unknown fields."""
    rates = {name: Estimate(**stored[name]) for name in ("auc", "sensitivity", "specificity")}
    bins = tuple(ReliabilityBin(**row) for row in stored["bins"])
    return ValidationPerformance(**{**stored, **rates, "bins": bins})


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


@dataclass(frozen=True)
class OperatingPoint:
    """The tumor probability at which a scan is flagged, and how it was chosen."""

    threshold: float
    aim: str
    part: str  # of the split on which it was chosen
    sensitivity: Estimate  # there; without an interval where none was recorded
    specificity: Estimate

    @property
    def n(self) -> int:
        """Scans it was chosen on."""
        return self.sensitivity.n + self.specificity.n

    def to_json(self) -> dict[str, object]:
        """Return it as `threshold_choice` of bundle.json holds it."""
        return {
            "aim": self.aim,
            "part": self.part,
            "threshold": self.threshold,
            "sensitivity": self.sensitivity.value,
            "specificity": self.specificity.value,
            "n": self.n,
            "n_tumor": self.sensitivity.n,
        }


def load_operating_point(stored: JsonObject, *, threshold: float) -> OperatingPoint:
    """Read what `to_json` gave; raises KeyError for a field that lacks."""
    n, n_tumor = int(stored["n"]), int(stored["n_tumor"])
    return OperatingPoint(
        threshold,
        stored["aim"],
        stored["part"],
        Estimate(stored["sensitivity"], None, None, n_tumor),
        Estimate(stored["specificity"], None, None, n - n_tumor),
    )


@dataclass(frozen=True)
class Leaks:
    """Test cases of a split with a copy or a slice of the same patient in another part."""

    n: int = 0  # test cases
    share: float | None = None


@dataclass(frozen=True)
class TrainingData:
    """The cases a network was made from."""

    split: str = ""  # fingerprint
    cases: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    # by part, then by "data set/label"
    leaks: Leaks = Leaks()


@dataclass(frozen=True)
class Environment:
    """The machine and the libraries of a training."""

    python: str = ""
    system: str = ""
    processor: str = ""
    keras_backend: str = ""
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WarmStart:
    """The run whose weights a training began with."""

    run: str
    sha256: str  # of its state


@dataclass(frozen=True)
class TeacherBundle:
    """The bundle whose answers a training learned beside the labels."""

    name: str
    graph_sha256: str
    split: str  # that it was trained on, and its own teacher where that was another


@dataclass(frozen=True)
class Quantization:
    """What 8 bits cost, measured on validation before they were kept or not."""

    kept: bool  # whether an 8-bit graph stands
    most_lost: float  # of an AUC that it may cost
    bytes: int
    val_auc_ct: Mapping[str, float | None]  # of the "full" and the "narrow" graph
    val_auc_mri: Mapping[str, float | None]
    of: str = "weights and activations"  # what has 8 bits in the "narrow" graph; else "weights"


@dataclass(frozen=True)
class Provenance:
    """Where a bundle comes from; what its maker did not record is empty."""

    created: str = ""  # UTC, ISO 8601
    recipe: JsonObject = field(default_factory=dict)
    validation: Mapping[str, float | None] = field(default_factory=dict)
    # n, epoch, and figures before the temperature
    parameters: int = 0
    round_trip: float | None = None  # largest difference between network and exported graph
    eight_bit: Quantization | None = None
    data: TrainingData = TrainingData()
    weights_sha256: str = ""  # of the file of pretrained weights
    start: WarmStart | None = None
    teacher: TeacherBundle | None = None
    environment: Environment = Environment()
    unknown: JsonObject = field(default_factory=dict)  # kept for versions that know more

    @property
    def trained_on(self) -> str:
        """The fingerprint of its split; with that of its teacher where it was another."""
        splits = [self.data.split, self.teacher.split if self.teacher else ""]
        return " and ".join(filter(None, dict.fromkeys(splits)))

    @property
    def is_complete(self) -> bool:
        """Whether it holds what a model card is written from."""
        return all((self.created, self.recipe, self.parameters, self.validation, self.data.split))

    def to_json(self) -> dict[str, object]:
        """Return what was recorded, as bundle.json holds it beside its other fields."""
        found, nothing = to_json(self), to_json(Provenance())
        unknown = found.pop("unknown")
        return {name: value for name, value in found.items() if value != nothing[name]} | unknown


def load_provenance(stored: JsonObject) -> Provenance:
    """Read what `to_json` gave."""
    known = Provenance.__dataclass_fields__
    unknown = {key: value for key, value in stored.items() if key not in known}
    return from_json(Provenance, {**stored, "unknown": unknown})
