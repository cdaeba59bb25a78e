"""explore.json and its parts as records: written and read here, and nowhere else in the study."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tumorlens import __version__
from tumorlens.errors import StudyError
from tumorlens.files import read_file
from tumorlens.inputs.prepare import InputSpec
from tumorlens.json_records import from_json, stored_as
from tumorlens.records import Estimate
from tumorlens.study.audit.shortcuts import Shortcut

SCHEMA = 1
RECORD = "explore.json"
NO_SPLIT = "none"  # the part of scans that no split names
Number = float | None  # None where the scans could not show it


@dataclass(frozen=True)
class Counts:
    """Scans, and independent groups of them."""

    n: int
    n_groups: int


@dataclass(frozen=True)
class ImageSize:
    """Files of one label that share size and format."""

    label: str
    width: int  # pixels, as the header declares them
    height: int
    aspect: float  # width / height
    format: str
    n: int


@dataclass(frozen=True)
class ImageSizes:
    """The sizes met, and how many files have no header that is read here."""

    points: tuple[ImageSize, ...]
    unreadable: int


@dataclass(frozen=True)
class ClassImages:
    """One label, or several together: its counts, its histogram and the names of its PNGs."""

    n: int
    n_groups: int
    label: str | None  # None: several labels together
    modality: str | None
    mean: str
    variability: str
    montage: str | None
    montage_n: int
    montage_withheld: int  # of the sample, because text may lie over the head
    histogram: tuple[int, ...]  # of 256 gray levels


@dataclass(frozen=True)
class MeanTest:
    """What the permutation test says of the difference of two mean images."""

    p: float
    threshold: float
    n_groups_first: int
    n_groups_second: int
    permutations: int
    significant_share: float  # of the square
    brightest: Number  # gray levels, second less first, where significant
    darkest: Number


@dataclass(frozen=True)
class ImageContrast:
    """How the mean images of two classes differ, and the name of the PNG that shows it."""

    first: str
    second: str
    image: str = field(metadata=stored_as("picture"))
    test: MeanTest | None = None  # None with too few groups


@dataclass(frozen=True)
class Distribution:
    """One feature in one class."""

    n: int  # scans in which it is known
    mean: Number
    q05: Number
    q25: Number
    q50: Number
    q75: Number
    q95: Number


@dataclass(frozen=True)
class Effect:
    """How one feature differs between two classes, of one mean per group."""

    feature: str
    delta: Number  # Cliff's, -1 to 1, above 0 where the second class is larger
    cohen_d: Number  # pooled deviation
    p: Number  # Mann-Whitney, two-sided
    p_holm: Number = None  # corrected for all features of all contrasts


@dataclass(frozen=True)
class FeatureContrast:
    """All features of two classes."""

    a: str
    b: str
    n_groups_a: int
    n_groups_b: int
    rows: tuple[Effect, ...]


@dataclass(frozen=True)
class GroupedAuc:
    """An AUC of tumor against healthy, with its interval over groups."""

    auc: Estimate
    n_groups: int


@dataclass(frozen=True)
class FeatureAuc(GroupedAuc):
    """The AUC of one feature alone, 0.5 or more."""

    higher_in: str  # "healthy" | "tumor"


@dataclass(frozen=True)
class Importance:
    """The loss of AUC in a held-out fold when one feature is shuffled, over folds."""

    mean: Number
    sd: Number


@dataclass(frozen=True)
class ModelAuc(GroupedAuc):
    """What one model of all features reaches on groups that it did not learn from."""

    folds: int
    importance: Mapping[str, Importance] | None  # by feature


@dataclass(frozen=True)
class FeatureStudy:
    """What the features of one modality say about its classes."""

    n: int
    n_groups: int
    unreadable: int
    features: tuple[str, ...]
    intervals: str  # how they were computed
    classes: Mapping[str, Counts]
    distributions: Mapping[str, Mapping[str, Distribution]]  # [label][feature]
    contrasts: tuple[FeatureContrast, ...]  # the first leads: tumor with healthy if there is one
    correlation: tuple[tuple[Number, ...], ...]  # Spearman's, [feature][feature]
    single: Mapping[str, FeatureAuc] | None  # by feature; None with one class alone
    models: Mapping[str, ModelAuc] | None  # None with fewer than two groups of a class


@dataclass(frozen=True)
class HeadShare(Distribution):
    """The share of the square that the head fills."""

    auc: FeatureAuc | None


@dataclass(frozen=True)
class FrameAuc:
    """One feature of the whole square, or of the head alone."""

    auc: FeatureAuc | None
    with_head_share: Number  # rank correlation


@dataclass(frozen=True)
class Frames:
    """One feature in both frames."""

    whole: FrameAuc
    head_only: FrameAuc


@dataclass(frozen=True)
class FrameComparison:
    """What features tell with and without the background around the head."""

    head_share: HeadShare
    features: Mapping[str, Frames]


@dataclass(frozen=True)
class Finding:
    """One figure with its interval, and the verdict that it gives by the rule."""

    where: str  # "MRI", "CT", or the sets
    measure: str  # what `estimate` is of
    verdict: str
    estimate: Estimate = field(metadata=stored_as("value"))
    n_groups: int | None = None
    note: str = ""

    def __str__(self) -> str:
        """Return it as people should see it: with interval, n and note."""
        groups = "" if self.n_groups is None else f", {self.n_groups:,} groups"
        note = f"; {self.note}" if self.note else ""
        return f"{self.where}: {self.measure} {self.estimate}{groups}{note}"


@dataclass(frozen=True)
class Judgment:
    """A hypothesis with what was found and the verdict over all of it."""

    id: str
    statement: str
    test: str
    rule: str
    verdict: str
    reason: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ExploreResult:
    """Everything that explore.json holds."""

    created: str  # ISO 8601
    folders: tuple[str, ...]
    n: int
    unreadable: int
    groups: int
    audit: str  # fingerprint of the search for groups, 16 hex digits
    input: InputSpec
    features_table: str
    balance: Mapping[str, Mapping[str, Counts]]  # [split][label]
    sizes: ImageSizes
    features: Mapping[str, FeatureStudy]  # by modality
    shortcuts: tuple[Shortcut, ...]
    hypotheses: tuple[Judgment, ...]
    images: Mapping[str, ClassImages] = field(
        metadata=stored_as("pictures")
    )  # by label, "all ct", ...
    contrasts: tuple[ImageContrast, ...] = field(metadata=stored_as("differences"))
    frames: Mapping[str, FrameComparison] = field(default_factory=dict)  # by modality
    tumorlens: str = __version__
    schema: int = SCHEMA

    def image_names(self) -> list[str]:
        """Return the names of all PNGs beside the record."""
        rows = [(row.mean, row.variability, row.montage) for row in self.images.values()]
        named = [name for row in rows for name in row if name]
        return named + [row.image for row in self.contrasts]


def image_file(kind: str, *names: str) -> str:
    """Return the name of a PNG: `mean_mri_glioma.png`."""
    return "_".join((kind, *names)).replace(" ", "_") + ".png"


def read_result(path: Path) -> ExploreResult:
    """Read explore.json; keys that are not known are no matter.

    Raises StudyError where it cannot be read, or is of another schema.
    """
    fix = f"Make it again with `tumorlens explore DIR --out {path.parent}`."
    try:
        stored = json.loads(read_file(path))
        if stored["schema"] != SCHEMA:
            raise StudyError(path, f"has schema {stored['schema']}, not {SCHEMA}", fix)
        return from_json(ExploreResult, stored)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise StudyError(path, f"cannot be read ({type(e).__name__}: {e})", fix) from e
