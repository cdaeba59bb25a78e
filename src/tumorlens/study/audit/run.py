"""The whole audit of a labeled set, in one call: copies, patients, conflicts, outliers."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.labels import LABELS, UNLABELED
from tumorlens.models.bundle import Bundle
from tumorlens.progress import Steps, silent_steps
from tumorlens.records import Case
from tumorlens.study.audit.duplicates.copies import SAME, Link, group_links, link_copies
from tumorlens.study.audit.duplicates.fingerprints import fingerprint
from tumorlens.study.audit.label_check import DoubtfulLabel, doubtful_labels
from tumorlens.study.audit.shortcuts import Shortcut, measure_shortcuts
from tumorlens.study.audit.survey import (
    HeaderOutlier,
    OodFile,
    Survey,
    header_outliers,
    ood_files,
    survey_files,
)
from tumorlens.study.data.groups import Groups, find_leaks

CONFLICT_KINDS = ("contradictory", "refining")


@dataclass(frozen=True)
class Patients:
    """What is known of n cases."""

    names: tuple[str, ...]  # "<data set>/<patient>", "" where nobody knows
    inherited: NDArray[np.bool_]  # [n] known only through a copy in another data set
    disputed: int  # images whose copies name several patients; they inherit none


@dataclass(frozen=True)
class Conflict:
    """A link between files whose labels differ."""

    link: Link
    kind: str  # one of CONFLICT_KINDS


@dataclass(frozen=True)
class Audit:
    """What was found in n cases."""

    cases: tuple[Case, ...]
    parts: tuple[str, ...]  # train, val or test of each; "" where no split says
    split: str  # what was audited: a split file's name, "published", or ""
    links: tuple[Link, ...]
    groups: Groups
    patients: Patients
    conflicts: tuple[Conflict, ...]
    survey: Survey
    shortcuts: tuple[Shortcut, ...]
    header_outliers: tuple[HeaderOutlier, ...]
    ood: tuple[OodFile, ...]
    doubtful_labels: tuple[DoubtfulLabel, ...]
    bundle: Bundle

    @property
    def leaking(self) -> int:
        """The number of test cases whose group also stands in train or validation."""
        everything = ["all"] * len(self.cases)
        return find_leaks(everything, self.parts, self.groups.groups.tolist())[0].in_train_or_val


def audit_cases(
    cases: Sequence[Case],
    bundle: Bundle,
    *,
    cache: Path,
    parts: Sequence[str] | None = None,
    split: str = "",
    steps: Steps = silent_steps,
) -> Audit:
    """Look for copies, conflicts, shortcuts, burned-in text and outliers.

    `parts`, [n], are those of the split to be judged, and `split` its name; without them the
    cases' own, where any publishes one. `bundle` prepares the scans and tells which are out of
    its distribution. Fingerprints are kept under `cache`, so that a second audit is faster.
    """
    paths, labels = [case.path for case in cases], [case.label for case in cases]
    if parts is None:
        parts = [case.split or "" for case in cases]
        split = "published" if any(parts) else ""
    links = _links(paths, cache, steps)
    groups = group_links(cases, links)
    with steps("measuring files") as report:
        survey = survey_files(
            paths, bundle.spec, network=bundle, image_ids=groups.image_ids, progress=report
        )
    with steps("shortcuts"):
        shortcuts = measure_shortcuts(
            labels, groups.groups, raw=survey.stored_columns(), prepared=survey.prepared
        )
    with steps("checking labels"):
        doubtful = doubtful_labels(labels, survey.embedding, groups.groups, groups.image_ids)
    return Audit(
        tuple(cases), tuple(parts), split, tuple(links), groups,
        trace_patients(cases, groups.image_ids), tuple(find_conflicts(labels, links)),
        survey, tuple(shortcuts),
        header_outliers=tuple(header_outliers(survey.facts, [case.dataset for case in cases])),
        ood=tuple(ood_files(survey.distance, limit=bundle.ood_reference.limit)),
        doubtful_labels=tuple(doubtful),
        bundle=bundle,
    )  # fmt: skip


def _links(paths: Sequence[Path], cache: Path, steps: Steps) -> list[Link]:
    with steps("fingerprints") as report:
        prints = fingerprint(paths, cache=cache, progress=report)
    with steps("comparing images"):
        return link_copies(prints)


def trace_patients(cases: Sequence[Case], image_ids: NDArray[np.int64]) -> Patients:
    """Return the patient of every case, its own or that of a copy; `image_ids` are [n]."""
    recorded = [f"{case.dataset}/{case.patient}" if case.patient else "" for case in cases]
    of_image: dict[int, set[str]] = defaultdict(set)
    for image_id, name in zip(image_ids.tolist(), recorded, strict=True):
        of_image[image_id].update({name} - {""})
    names, inherited = list(recorded), np.zeros(len(cases), bool)
    for i, image_id in enumerate(image_ids.tolist()):
        if not recorded[i] and len(of_image[image_id]) == 1:
            (names[i],), inherited[i] = of_image[image_id], True
    disputed = sum(len(known) > 1 for known in of_image.values())
    return Patients(tuple(names), inherited, disputed)


def find_conflicts(labels: Sequence[str], links: Sequence[Link]) -> list[Conflict]:
    """List copies under different labels, contradictory ones first.

    *Refining*: every atom of one label belongs to the other (a tumor without a recorded type,
    and a meningioma), so both may be right. *Contradictory*: at least one is wrong.
    """
    found = []
    for link in links:
        one, other = labels[link.a], labels[link.b]
        if link.kind in SAME and one != other and UNLABELED not in (one, other):
            a, b = LABELS[one], LABELS[other]
            found.append(Conflict(link, "refining" if a <= b or b <= a else "contradictory"))
    return sorted(found, key=lambda c: (c.kind, c.link.a, c.link.b))
