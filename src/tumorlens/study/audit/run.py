"""The whole audit of a labelled set, in one call."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorlens.models.bundle import Bundle
from tumorlens.progress import Steps, silent_steps
from tumorlens.records import Case
from tumorlens.study.audit.conflicts import Conflict, find_conflicts
from tumorlens.study.audit.duplicates.copies import Link, link_copies
from tumorlens.study.audit.duplicates.fingerprints import fingerprint
from tumorlens.study.audit.duplicates.groups import Groups, group_links
from tumorlens.study.audit.patients import Patients, trace_patients
from tumorlens.study.audit.shortcuts import Shortcut, measure_shortcuts
from tumorlens.study.audit.survey import (
    HeaderOutlier,
    OodFile,
    Survey,
    header_outliers,
    ood_files,
    survey_files,
)


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
    bundle: Bundle

    @property
    def leaking(self) -> int:
        """The number of test cases whose group also stands in train or validation."""
        outside = {
            group
            for group, part in zip(self.groups.groups.tolist(), self.parts, strict=True)
            if part in ("train", "val")
        }
        tested = zip(self.groups.groups.tolist(), self.parts, strict=True)
        return sum(part == "test" and group in outside for group, part in tested)


def audit_cases(
    cases: Sequence[Case],
    bundle: Bundle,
    *,
    cache: Path,
    parts: Sequence[str] | None = None,
    split: str = "",
    seed: int = 0,
    steps: Steps = silent_steps,
) -> Audit:
    """Look for copies, conflicts, shortcuts, burned-in text and odd files.

    `parts`, [n], are those of the split to be judged, and `split` its name; without them the
    cases' own, where any publishes one. `bundle` prepares the scans and tells which are unusual
    to it. Fingerprints are kept under `cache`, so that a second audit is faster.
    """
    paths = [case.path for case in cases]
    if parts is None:
        parts = [case.split or "" for case in cases]
        split = "published" if any(parts) else ""
    with steps("fingerprints") as report:
        prints = fingerprint(paths, cache=cache, progress=report)
    with steps("comparing pictures"):
        links = link_copies(prints)
    groups = group_links(cases, links)
    with steps("measuring files") as report:
        survey = survey_files(
            paths, bundle.spec, network=bundle, image_ids=groups.image_ids, progress=report
        )
    labels, sets = [case.label for case in cases], [case.dataset for case in cases]
    with steps("shortcuts"):
        shortcuts = measure_shortcuts(
            labels,
            groups.groups,
            raw=survey.stored_columns(),
            prepared=survey.prepared,
            seed=seed,
        )
    return Audit(
        cases=tuple(cases),
        parts=tuple(parts),
        split=split,
        links=tuple(links),
        groups=groups,
        patients=trace_patients(cases, groups.image_ids),
        conflicts=tuple(find_conflicts(labels, links)),
        survey=survey,
        shortcuts=tuple(shortcuts),
        header_outliers=tuple(header_outliers(survey.facts, sets)),
        ood=tuple(ood_files(survey.distance, limit=bundle.ood_reference.limit)),
        bundle=bundle,
    )
