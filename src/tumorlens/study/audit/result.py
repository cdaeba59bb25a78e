"""The figures of an audit as records, and `audit.json`, which holds them."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tumorlens.errors import SplitError
from tumorlens.files import read_file, read_table
from tumorlens.json_records import JsonObject, from_json, stored_as, write_json
from tumorlens.records import Case
from tumorlens.study.audit.shortcuts import Shortcut
from tumorlens.study.data.groups import Groups, Leak

SCHEMA = 1
FILE = "audit.json"
SERIOUS = 0.75  # AUC of a shortcut whose interval lies above
_OLD_KINDS = {"neighbour": "neighbor"}  # of links, as version 0.1 wrote them
Matrix = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Counts:
    """How much there is of one data set or label."""

    n: int
    images: int = field(metadata=stored_as("pictures"))
    groups: int
    patients: int


@dataclass(frozen=True)
class Leaks:
    """What of a split leaks, for all labels and for each."""

    copies: tuple[Leak, ...]
    groups: tuple[Leak, ...]  # copies, neighboring slices and patients
    test_tumors: Mapping[str, int]  # traceable: their patient is known; in_train: it trains too


@dataclass(frozen=True)
class JudgedSplit:
    """The split that was audited."""

    name: str
    leaking: int  # test cases whose group also stands in train or validation
    leaks: Leaks | None


@dataclass(frozen=True)
class LabelPair:
    """Two labels that copies of one image have."""

    kind: str
    labels: tuple[str, ...]
    pairs: int


@dataclass(frozen=True)
class LabelConflicts:
    """Copies under different labels, by kind."""

    pairs: Mapping[str, int]
    images: Mapping[str, int] = field(metadata=stored_as("pictures"))
    by_labels: tuple[LabelPair, ...]


@dataclass(frozen=True)
class Privacy:
    """Files that may name people."""

    with_text: int
    over_head: int
    by_label: Mapping[str, int]  # files with text
    fields: Mapping[str, int]
    with_fields: int


@dataclass(frozen=True)
class Remark:
    """Why a file is listed."""

    path: str
    reason: str


@dataclass(frozen=True)
class FarFile:
    """A file that the training scans of the bundle do not look like."""

    path: str
    distance: float  # cosine


@dataclass(frozen=True)
class Listed:
    """The first files of each kind."""

    unreadable: tuple[Remark, ...]
    header_outliers: tuple[Remark, ...] = field(metadata=stored_as("odd"))
    ood: tuple[FarFile, ...] = field(metadata=stored_as("unusual"))


@dataclass(frozen=True)
class Quality:
    """Files that somebody should look at."""

    unreadable: int
    header_outliers: int = field(metadata=stored_as("odd"))
    ood: int = field(metadata=stored_as("unusual"))
    ood_limit: float = field(metadata=stored_as("scope_limit"))
    unlabeled: int
    listed: Listed


@dataclass(frozen=True)
class Thumbnail:
    """A small image of one file, by its path beside audit.json."""

    image: str = field(metadata=stored_as("picture"))
    name: str
    label: str
    part: str


@dataclass(frozen=True)
class ImageGroup:
    """Some of the files of one image."""

    n: int
    parts: Mapping[str, int]
    datasets: tuple[str, ...]
    labels: tuple[str, ...]
    members: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class ConflictPair:
    """Two copies under different labels."""

    kind: str
    link: str
    score: float
    orientation: str
    members: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class LabelDoubt:
    """A file whose label the other scans do not support."""

    path: str
    label: str
    suggested: str
    probability: float  # of the suggested label, held out


@dataclass(frozen=True)
class Gallery:
    """The groups and conflicts worth a look."""

    groups: tuple[ImageGroup, ...] = ()
    conflicts: tuple[ConflictPair, ...] = ()


@dataclass(frozen=True)
class AuditResult:
    """Every figure of an audit."""

    schema: int
    tumorlens: str
    created: str
    fingerprint: str  # of the groups found
    folders: tuple[str, ...]
    n: int
    images: int = field(metadata=stored_as("pictures"))
    groups: int
    datasets: Mapping[str, Counts]
    labels: Mapping[str, Counts]
    links: Mapping[str, int]  # pairs of files, by kind
    split: JudgedSplit
    copies: Mapping[str, Matrix]  # by_split, by_dataset; of `shared_images`
    patients: Mapping[str, int]  # known files, n patients, inherited from a copy, disputed
    conflicts: LabelConflicts
    shortcuts: tuple[Shortcut, ...]
    privacy: Privacy
    quality: Quality
    balance: Mapping[str, Matrix]  # data set -> part -> label -> files
    bundle: str
    gallery: Gallery = Gallery()
    notes: tuple[str, ...] = ()  # what was taken from names of files and folders
    label_doubts: tuple[LabelDoubt, ...] = ()  # the first of label_check.csv
    n_label_doubts: int = 0

    def serious_shortcuts(self) -> list[Shortcut]:
        """List the single families that give a label away, as the files are stored."""
        return [
            row
            for row in self.shortcuts
            if row.stage == "as stored"
            and row.family != "all of these"
            and (row.auc.low or 0.0) > SERIOUS
        ]


def write_result(result: AuditResult, out: Path) -> None:
    """Write audit.json into a folder."""
    write_json(result, out / FILE)


def read_result(folder: Path) -> AuditResult:
    """Read audit.json, also of the last version; raises SplitError where it is none."""
    try:
        stored = _stored(folder)
        links = {_OLD_KINDS.get(kind, kind): count for kind, count in stored["links"].items()}
        return from_json(AuditResult, {**stored, "links": links})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise _no_audit(folder, e) from e


def _stored(folder: Path) -> JsonObject:
    return json.loads(read_file(folder / FILE))


def _no_audit(folder: Path, error: Exception) -> SplitError:
    fix = "Make it with `tumorlens audit DIR... --out OUT`."
    return SplitError(folder, f"cannot be read as an audit ({error})", fix)


def read_groups(folder: Path, cases: Sequence[Case]) -> Groups:
    """Read the groups of an audit that saw these cases, and maybe more.

    Raises SplitError where the audit is missing, malformed, or did not see every case.
    """
    try:
        fingerprint = _stored(folder)["fingerprint"]
        files = read_table(folder / "files.csv", errors="strict")
        # Up to version 0.1 the column was named picture.
        image_id = "picture" if files and "picture" in files[0] else "image_id"
        rows = {row["case"]: (row["group"], row[image_id]) for row in files}
        unread = {row["case"] for row in files if row.get("error")}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as e:
        raise _no_audit(folder, e) from e
    lost = [case for case in cases if case.key not in rows]
    if lost:
        fact = f"did not see {len(lost)} of the scans given, first {lost[0].path}"
        raise SplitError(folder, fact, "Audit the same folders, or more.")
    found = np.array([rows[case.key] for case in cases])
    groups, images = (np.unique(column, return_inverse=True)[1] for column in found.T)
    usable = np.array([case.key not in unread for case in cases], bool)
    return Groups(groups.astype(np.int64), images.astype(np.int64), fingerprint, usable)
