"""The whole exploration of a labeled set, in one call."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import CasesError
from tumorlens.inputs.prepare import InputSpec
from tumorlens.progress import Progress, Steps, silent_steps
from tumorlens.records import Case
from tumorlens.study.audit.facts import FileFacts
from tumorlens.study.audit.shortcuts import Shortcut, measure_shortcuts
from tumorlens.study.audit.survey import survey_files
from tumorlens.study.data.groups import Groups
from tumorlens.study.data.splits import with_groups
from tumorlens.study.explore.class_images import (
    ClassStatistics,
    MeanDifference,
    Montage,
    class_statistics,
    mean_difference,
    merge_statistics,
    montage,
    prepared_images,
)
from tumorlens.study.explore.record import (
    NO_SPLIT,
    Counts,
    FeatureStudy,
    FrameComparison,
    ImageSize,
    ImageSizes,
)
from tumorlens.study.explore.tabular import (
    UNKNOWN,
    compare_frames,
    modality_name,
    modality_rows,
    study_table,
)
from tumorlens.study.features.table import FeatureTable, measure_files
from tumorlens.study.stats.class_differences import PERMUTATIONS

RESAMPLES = 300  # of the intervals of features and models


@dataclass(frozen=True)
class Exploration:
    """What n cases look like, and what separates their classes."""

    cases: tuple[Case, ...]  # `group` as found, `split` as judged
    spec: InputSpec
    audit: str  # fingerprint of the search for groups, 16 hex digits
    statistics: Mapping[str, ClassStatistics]  # by label, "all ct", "all mri", "all mri tumors"
    montages: Mapping[str, Montage]  # of the same names
    differences: Mapping[tuple[str, str], MeanDifference]  # every two labels of one modality
    table: FeatureTable  # of the whole prepared square
    studies: Mapping[str, FeatureStudy]  # by modality
    frames: Mapping[str, FrameComparison]  # by modality
    sizes: ImageSizes
    shortcuts: tuple[Shortcut, ...]

    @property
    def detection(self) -> dict[str, MeanDifference]:
        """All tumors of a modality less its healthy scans, by modality."""
        pairs = _detection_pairs(self.statistics)
        return {modality: self.differences[pair] for modality, pair in pairs.items()}

    @property
    def counts(self) -> dict[str, Counts]:
        """Scans that could be read, and groups of them, for each name of `statistics`."""
        groups: dict[str, list[str]] = {name: [] for name in self.statistics}
        for case, usable in zip(self.cases, self.table.usable.tolist(), strict=True):
            for name in _names_of(case.label) if usable else ():
                if name in groups:
                    groups[name].append(case.group_name)
        return {name: Counts(len(found), len(set(found))) for name, found in groups.items()}


def explore(
    cases: Sequence[Case],
    spec: InputSpec,
    *,
    cache: Path,
    groups: Groups,
    permutations: int = PERMUTATIONS,
    steps: Steps = silent_steps,
) -> Exploration:
    """Draw, measure and compare the classes of a set; scans that cannot be read are left out.

    `groups`, of the same cases in the same order, say which scans are no new evidence. Prepared
    images are kept under `cache`. Raises CasesError where no scan can be read.
    """
    named = tuple(with_groups(cases, groups))
    statistics = _statistics(named, spec, cache, steps=steps)
    with steps("differences") as report:
        differences = _differences(statistics, permutations, report=report)
    with steps("montages"):
        montages = {name: montage(kept) for name, kept in statistics.items()}
    table, studies, frames = _features(named, spec, cache, groups.groups, steps=steps)
    sizes, shortcuts = _facts(named, spec, groups.groups, steps=steps)
    return Exploration(
        cases=named,
        spec=spec,
        audit=groups.audit,
        statistics=statistics,
        montages=montages,
        differences=differences,
        table=table,
        studies=studies,
        frames=frames,
        sizes=sizes,
        shortcuts=shortcuts,
    )


def _statistics(
    cases: Sequence[Case], spec: InputSpec, cache: Path, *, steps: Steps
) -> dict[str, ClassStatistics]:
    with steps("images") as report:
        images = prepared_images(cases, spec, cache=cache, progress=report)
        statistics = class_statistics(images)
    if not statistics:
        fix = "Check the files with `tumorlens audit`."
        raise CasesError("explore", "has no readable scan", fix)
    pooled = {
        pooled_name(modality): merge_statistics([statistics[label] for label in tumors])
        for modality, (_, tumors) in _by_modality(statistics).items()
        if len(tumors) > 1
    }
    return statistics | pooled


def _facts(
    cases: Sequence[Case], spec: InputSpec, groups: NDArray, *, steps: Steps
) -> tuple[ImageSizes, tuple[Shortcut, ...]]:
    """Return what files tell without a look at the brain."""
    names = [case.label for case in cases]
    with steps("files") as report:
        paths = [case.path for case in cases]
        survey = survey_files(paths, spec, with_text=False, progress=report)
    found = measure_shortcuts(names, groups, raw=survey.stored_columns(), prepared=survey.prepared)
    return image_sizes(names, survey.facts), tuple(found)


def pooled_name(modality: str) -> str:
    """Name all tumors of one modality."""
    return "all tumors" if modality == UNKNOWN else f"all {modality} tumors"


def _names_of(label: str) -> list[str]:
    modality = modality_name(label)
    pooled = [pooled_name(modality)] if labels.is_tumor(label) else []
    return [label, f"all {modality}", *pooled]


def _by_modality(names: Iterable[str]) -> dict[str, tuple[list[str], list[str]]]:
    """Return the healthy and the tumor labels of each modality."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for label in [name for name in names if name in labels.LABELS]:
        sides = found.setdefault(modality_name(label), ([], []))
        sides[labels.is_tumor(label)].append(label)
    return found


def _detection_pairs(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Name healthy and tumor of each modality that has both."""
    return {
        modality: (healthy[0], tumors[0] if len(tumors) == 1 else pooled_name(modality))
        for modality, (healthy, tumors) in _by_modality(names).items()
        if healthy and tumors
    }


def _differences(
    statistics: Mapping[str, ClassStatistics], permutations: int, *, report: Progress
) -> dict[tuple[str, str], MeanDifference]:
    detection = _detection_pairs(statistics)
    pairs: dict[tuple[str, str], None] = {}
    for modality, (healthy, tumors) in _by_modality(statistics).items():
        pairs |= {detection[modality]: None} if modality in detection else {}
        pairs |= dict.fromkeys(itertools.combinations([*healthy, *tumors], 2))
    found = {}
    for done, pair in enumerate(pairs, start=1):
        found[pair] = mean_difference(statistics, *pair, permutations=permutations)
        report(done, len(pairs))
    return found


def _features(
    cases: Sequence[Case], spec: InputSpec, cache: Path, groups: NDArray, *, steps: Steps
) -> tuple[FeatureTable, dict[str, FeatureStudy], dict[str, FrameComparison]]:
    with steps("features") as report:
        whole = measure_files(cases, spec, cache=cache, progress=report)
    with steps("features of the head alone") as report:
        head = measure_files(cases, spec, cache=cache, head_only=True, progress=report)
    studies, frames = {}, {}
    for modality, rows in modality_rows(whole).items():
        if not (rows & whole.usable).any():
            continue
        table, numbers = whole.rows(rows), groups[rows]
        with steps(f"models of features, {modality}") as report:
            studies[modality] = study_table(table, numbers, resamples=RESAMPLES, progress=report)
            frames[modality] = compare_frames(table, head.rows(rows), numbers, resamples=RESAMPLES)
    return whole, studies, frames


def image_sizes(names: Sequence[str], facts: Sequence[FileFacts | None]) -> ImageSizes:
    """Count the files, [n], of each label, size and format as their headers declare them."""
    known = [
        (name, fact.width, fact.height, fact.format)
        for name, fact in zip(names, facts, strict=True)
        if fact
    ]
    points = (
        ImageSize(label, width, height, round(width / height, 4), kind, n)
        for (label, width, height, kind), n in sorted(Counter(known).items())
    )
    return ImageSizes(tuple(points), unreadable=len(names) - len(known))


def class_balance(cases: Sequence[Case]) -> dict[str, dict[str, Counts]]:
    """Count scans and groups: [split][label]; a case without a group is one of its own."""
    groups: dict[tuple[str, str], list[str]] = {}
    for case in cases:
        groups.setdefault((case.split or NO_SPLIT, case.label), []).append(case.group_name)
    found: dict[str, dict[str, Counts]] = {}
    for (split, label), names in sorted(groups.items()):
        found.setdefault(split, {})[label] = Counts(len(names), len(set(names)))
    return found
