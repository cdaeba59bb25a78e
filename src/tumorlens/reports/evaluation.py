"""The result of an evaluation, and evaluation.json, which is this record as JSON.

Estimates stand in JSON flat, as `auc`, `auc_low`, `auc_high`; None where the scans could not
show a figure. Mappings by modality have the keys `all`, `ct` and `mri`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import TumorlensError
from tumorlens.files import read_file
from tumorlens.json_records import counted_on, from_json, stored_as
from tumorlens.models.usefulness import describe_usefulness
from tumorlens.records import Case, Estimate, Prediction

SCHEMA = 2
CONFOUNDED = 0.95  # share of labels that the source alone tells
Counts = Mapping[str, int]
Curve = Mapping[str, tuple[float, ...]]  # columns of one length
T = TypeVar("T")
# Rows by kind, each with the image that is shown of it, [h, w, 3] BGR; None where it is hidden.
Gallery = Mapping[str, Sequence[tuple[T, NDArray[np.uint8] | None]]]
Matrix = tuple[tuple[int, ...], ...]  # rows are labels, columns are answers


@dataclass(frozen=True)
class SplitFacts:
    """The split whose part was measured."""

    fingerprint: str | None = None  # None: no split was given
    n: int = 0  # test scans
    share: float | None = None  # of them with a relative in training or validation


@dataclass(frozen=True)
class PredictiveValues:
    """What an answer would be worth where another share of the scans had a tumor."""

    prevalence: float
    n: int
    ppv: Estimate
    npv: Estimate


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How well tumors are told from healthy scans; intervals are of a bootstrap over groups.

    `_delong` and `_wilson` hold intervals of formulas that take scans as independent.
    """

    n: int
    n_tumor: int
    n_healthy: int
    n_groups: int
    threshold: float
    confusion: Matrix  # healthy and tumor, not flagged and flagged
    auc: Estimate
    average_precision: Estimate
    accuracy: Estimate
    f1: Estimate
    macro_f1: Estimate
    predictive_values: tuple[PredictiveValues, ...]
    sensitivity: Estimate = field(metadata=counted_on("n_tumor"))
    specificity: Estimate = field(metadata=counted_on("n_healthy"))
    auc_delong: Estimate
    accuracy_wilson: Estimate
    sensitivity_wilson: Estimate = field(metadata=counted_on("n_tumor"))
    specificity_wilson: Estimate = field(metadata=counted_on("n_healthy"))


@dataclass(frozen=True)
class ThresholdRow:
    """What another threshold would have done on these scans."""

    threshold: float
    chosen: bool  # the bundle's own
    flagged: int
    n: int
    n_tumor: int
    n_healthy: int
    sensitivity: Estimate = field(metadata=counted_on("n_tumor"))
    specificity: Estimate = field(metadata=counted_on("n_healthy"))
    precision: Estimate = field(metadata=counted_on("flagged"))


@dataclass(frozen=True)
class ThresholdSweep:
    """Rates along many thresholds."""

    n: int
    n_tumor: int
    n_healthy: int
    n_groups: int
    threshold: tuple[float, ...]
    sensitivity: tuple[Estimate, ...] = field(metadata=counted_on("n_tumor"))
    specificity: tuple[Estimate, ...] = field(metadata=counted_on("n_healthy"))


@dataclass(frozen=True)
class TypeResult:
    """The type given a tumor, of MRI tumors whose type is recorded."""

    n: int
    n_groups: int
    names: tuple[str, ...]
    confusion: Matrix
    accuracy: Estimate
    macro_f1: Estimate
    recall: tuple[Estimate, ...]
    accuracy_wilson: Estimate


@dataclass(frozen=True)
class ClassTable:
    """The likeliest atom of the scans of each label; any atom of a label's set is right."""

    n: int
    labels: tuple[str, ...]
    atoms: tuple[str, ...]
    confusion: Matrix
    accuracy: Estimate


@dataclass(frozen=True)
class CalibrationBin:
    """Scans of similar tumor probability, and their share of tumors (interval: Wilson)."""

    n: int
    predicted: float
    observed: Estimate


@dataclass(frozen=True)
class Reliability:
    """Calibration error, Brier score, and the line of truth by log odds (1 and 0 are right)."""

    n: int
    ece: Estimate
    brier: Estimate
    slope: Estimate
    intercept: Estimate
    offset: Estimate  # the intercept with the slope held at 1
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True)
class Calibration(Reliability):
    """The reliability as answered, and before the temperature."""

    calibrated: bool
    temperature: float
    before: Reliability | None  # None without a temperature of its own


@dataclass(frozen=True)
class NetBenefit:
    """The decision curve, by threshold probability."""

    n: int
    prevalence: float
    threshold: tuple[float, ...]
    model: tuple[Estimate, ...]
    all: tuple[float, ...]  # of flagging every scan
    better_than_both: tuple[float, ...]  # thresholds


@dataclass(frozen=True)
class RiskCoverage:
    """The error among the scans answered, from the surest alone to all of them."""

    n: int
    errors: int
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    aurc: float
    best: float  # area, were the same errors the least sure


@dataclass(frozen=True)
class Abstention:
    """How often the predictor gave no answer, and the errors among those given."""

    n: int
    answered: int
    abstained: Estimate
    abstained_wilson: Estimate
    by_truth: Mapping[str, Counts]
    error: Estimate = field(metadata=counted_on("answered"))


@dataclass(frozen=True)
class Decisions:
    """What acting on the answers would be worth."""

    net_benefit: NetBenefit | None
    risk_coverage: RiskCoverage
    abstention: Abstention


@dataclass(frozen=True)
class Subgroup:
    """Figures of some of the scans."""

    detection: Detection
    type: TypeResult | None


@dataclass(frozen=True)
class Coverage:
    """How often the sets hold the truth of one class."""

    n: int
    coverage: Estimate
    coverage_wilson: Estimate


@dataclass(frozen=True)
class PredictionSets:
    """Sets of classes that hold the truth at a promised rate."""

    error: float
    promised: float
    n: int
    n_validation: int
    limits: Mapping[str, float]
    size: Estimate
    empty: int
    single: int
    several: int
    classes: Mapping[str, Coverage]


@dataclass(frozen=True)
class MaskExample:
    """A heatmap beside a marked tumor."""

    position: int  # among all cases
    case: str
    label: str
    energy: float  # share of the positive evidence inside the mask
    hidden: str  # why the image is not shown


@dataclass(frozen=True)
class Localization:
    """Whether the evidence stood where the tumor is marked; `_prior` is of the head's center."""

    n: int
    n_groups: int
    pointing: Estimate
    energy: Estimate
    energy_prior: Estimate
    iou_at: tuple[float, ...]  # shares of the strongest evidence
    iou: tuple[Estimate, ...]
    iou_prior: tuple[Estimate, ...]
    center_prior: Estimate = field(metadata=stored_as("centre_prior"))
    examples: Mapping[str, tuple[MaskExample, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ComparedRow:
    """The bundle minus the baseline, paired, each at its own threshold."""

    n: int
    n_groups: int
    auc_difference: Estimate
    sensitivity_difference: Estimate
    specificity_difference: Estimate
    accuracy_difference: Estimate
    f1_difference: Estimate
    delong: Mapping[str, float | None]  # difference, low, high and p, of scans as independent
    mcnemar: Mapping[str, Mapping[str, float]]  # own_only, against_only: right alone; exact p
    auc_baseline: Estimate = field(metadata=stored_as("auc_against"))
    sensitivity_baseline: Estimate = field(metadata=stored_as("sensitivity_against"))
    specificity_baseline: Estimate = field(metadata=stored_as("specificity_against"))
    accuracy_baseline: Estimate = field(metadata=stored_as("accuracy_against"))
    f1_baseline: Estimate = field(metadata=stored_as("f1_against"))


@dataclass(frozen=True)
class BaselineComparison:
    """Another bundle on the scans that both could read."""

    bundle: str
    threshold: float
    trained_on_split: str | None
    n: int
    rows: Mapping[str, ComparedRow]


@dataclass(frozen=True)
class ModelArea:
    """The model's own AUC on the scans of a control."""

    n: int
    n_groups: int
    auc: Estimate


@dataclass(frozen=True)
class Control:
    """What something reaches that cannot know."""

    control: str
    detail: str
    task: str
    n: int
    n_groups: int
    reason: str  # why there is no figure
    auc: Estimate
    model: ModelArea | None = None
    p: float | None = None  # of shuffled labels

    @property
    def is_tree(self) -> bool:
        """Whether the control is a tree on facts of the files."""
        return self.control.startswith("tree on ")

    @property
    def is_detail(self) -> bool:
        """Whether it is a tree on a single family of facts."""
        return self.is_tree and not self.control.endswith(ALL_FACTS)


ALL_FACTS = "all facts of the file"


@dataclass(frozen=True, kw_only=True)
class SeriesFigures:
    """How well series, or patients, with a tumor are told; intervals are over patients."""

    n: int
    n_tumor: int
    n_healthy: int
    n_groups: int  # patients
    threshold: float
    auc: Estimate
    sensitivity: Estimate = field(metadata=counted_on("n_tumor"))
    specificity: Estimate = field(metadata=counted_on("n_healthy"))


@dataclass(frozen=True)
class Froc:
    """Marked tumors found, by wrong candidates allowed on a slice (Bunch et al., 1978)."""

    n: int  # slices
    n_lesions: int  # tumors as they show on slices
    false_positives: tuple[float, ...]  # a slice
    sensitivity: tuple[Estimate, ...] = field(metadata=counted_on("n_lesions"))


def share_by_source(sources: Mapping[str, Counts]) -> float:
    """Return the share of labels that are right if a source always has its most frequent one."""
    rows = sources.values()
    return sum(max(row.values()) for row in rows) / max(sum(sum(row.values()) for row in rows), 1)


@dataclass(frozen=True)
class SeriesLevel:
    """What the answers for whole series are worth."""

    is_calibrated: bool  # by a rule for series; else the threshold of slices is compared with
    series: SeriesFigures
    patients: SeriesFigures  # by the highest of their series
    peak_hit: Estimate  # how often the peak is a slice with a tumor, of series that have one
    peak_chance: Estimate  # the same of any slice
    decisions: Mapping[str, Counts]  # by truth
    sources: Mapping[str, Counts]  # with and without a tumor
    calibration: Reliability | None  # None: the score is no probability of a series

    @property
    def source_alone(self) -> float:
        """The share of series whose label its source alone would tell."""
        return share_by_source(self.sources)

    @property
    def is_confounded(self) -> bool:
        """Whether the source alone tells nearly every label, and there are several sources."""
        return len(self.sources) > 1 and self.source_alone >= CONFOUNDED


@dataclass(frozen=True)
class DamagedRow:
    """One kind and strength of damage, in one modality."""

    perturbation: str
    strength: float
    task: str
    n: int
    n_tumor: int
    n_healthy: int
    unread: int
    auc: Estimate
    out_of_scope: Estimate
    sensitivity: Estimate = field(metadata=counted_on("n_tumor"))
    specificity: Estimate = field(metadata=counted_on("n_healthy"))


@dataclass(frozen=True)
class Robustness:
    """A sample of the scans after damage."""

    n: int
    of: int
    rows: tuple[DamagedRow, ...]


@dataclass(frozen=True)
class Deletion:
    """The mean tumor probability by the share of the head deleted, in three orders."""

    n: int
    n_groups: int
    deleted: tuple[float, ...]
    heatmap: tuple[Estimate, ...]
    middle: tuple[Estimate, ...]
    random: tuple[Estimate, ...]
    area_heatmap: Estimate
    area_middle: Estimate
    area_random: Estimate
    gain_middle: Estimate
    gain_random: Estimate


@dataclass(frozen=True)
class RandomizedRow:
    """How alike the evidence stays when weights are shuffled."""

    stage: str
    n: int
    correlation: Estimate


@dataclass(frozen=True)
class Randomization:
    """Rank correlations of the evidence, by what was shuffled."""

    n: int
    n_groups: int
    rows: tuple[RandomizedRow, ...]


@dataclass(frozen=True)
class Explanation:
    """Whether heatmaps say what moved the answer."""

    of: int  # flagged tumors
    deletion: Deletion | None
    randomization: Randomization | None


@dataclass(frozen=True)
class Failure:
    """A scan that the bundle had wrong."""

    position: int  # among all cases
    case: str
    label: str
    tumor_probability: float
    decision: str
    other_labels: tuple[str, ...]  # of the same image elsewhere in the split
    hidden: str  # why the image is not shown
    image: str | None = field(metadata=stored_as("picture"))  # its file


@dataclass(frozen=True)
class Failures:
    """All misses or all false alarms."""

    total: int
    with_conflict: int
    worst: tuple[Failure, ...]


@dataclass(frozen=True)
class TestAccesses:
    """How often these scans have been measured, this time among them."""

    folder: str  # whose log was counted: "run" or "results"
    same_scans: int
    same_part: int  # of this split
    bundles: int  # that measured these scans

    __test__ = False  # no class of tests


@dataclass(frozen=True)
class ChecklistRow:
    """What this run answers of one item of a guideline."""

    number: str
    topic: str
    answer: str
    established: bool  # wholly


@dataclass(frozen=True)
class SameLevel:
    """Detection in slices of one source and sequence whose level in the head is known."""

    auc: Estimate  # over pairs of a slice with and one without a tumor at the same level; n: slices
    unmatched: Estimate  # over all pairs
    level_alone: Estimate  # the same, of how near a slice lies to the middle level of the tumors
    tumors: int
    healthy: int
    pairs: int | None = None  # at the same level; None in records of older versions


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """Every figure of a bundle on one part of one or more data sets."""

    created: str
    bundle: str
    part: str
    split: SplitFacts
    trained_on_split: str | None
    n: int
    unreadable: int
    intervals: str
    threshold_choice: Mapping[str, Any]
    datasets: Counts
    labels: Counts
    decisions: Counts
    detection: Mapping[str, Detection]
    roc: Mapping[str, Curve | None]
    precision_recall: Mapping[str, Curve | None]
    thresholds: Mapping[str, tuple[ThresholdRow, ...]]
    sweep: Mapping[str, ThresholdSweep]
    type: TypeResult | None
    classes: ClassTable
    calibration: Calibration
    decision: Decisions
    subgroups: Mapping[str, Mapping[str, Subgroup]]
    failures: Mapping[str, Failures]
    same_level: Mapping[str, SameLevel] | None = None
    series: SeriesLevel | None = None
    froc: Froc | None = None
    conformal: Mapping[str, tuple[PredictionSets, ...]] | None = None
    controls: tuple[Control, ...] | None = None
    robustness: Robustness | None = None
    explanation: Explanation | None = None
    localization: Localization | None = field(default=None, metadata=stored_as("localisation"))
    comparison: BaselineComparison | None = field(default=None, metadata=stored_as("against"))
    test_accesses: TestAccesses | None = field(default=None, metadata=stored_as("looks"))
    checklists: Mapping[str, tuple[ChecklistRow, ...]] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def usefulness(self) -> tuple[str, ...]:
        """What the network is good for, in plain sentences."""
        return tuple(describe_usefulness(self.detection))


@dataclass(frozen=True)
class Evaluation:
    """A result, and the answers that it was counted from, one for each case."""

    result: EvaluationResult
    predictions: tuple[Prediction, ...]
    cases: tuple[Case, ...]


def read_result(path: Path) -> EvaluationResult:
    """Read evaluation.json.

    Raises TumorlensError for a file of another schema.
    """
    stored = json.loads(read_file(path))
    if stored.get("schema") != SCHEMA:
        raise TumorlensError(path, f"is no evaluation of schema {SCHEMA}", "Evaluate again.")
    rows = list(stored["detection"].values())
    rows += [found["detection"] for kind in stored["subgroups"].values() for found in kind.values()]
    for row in rows:
        for values in row["predictive_values"]:
            values.setdefault("n", row["n"])  # older files leave it out
    return from_json(EvaluationResult, stored)
