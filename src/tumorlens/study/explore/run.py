"""The whole exploration of a labelled set, in one call."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.errors import CasesError
from tumorlens.inputs.prepare import InputSpec
from tumorlens.progress import Progress, Steps, silent_steps
from tumorlens.records import Case
from tumorlens.study.audit.shortcuts import Shortcut, measure_shortcuts
from tumorlens.study.data.groups import Groups
from tumorlens.study.explore.file_facts import file_columns
from tumorlens.study.explore.inventory import class_balance, picture_sizes
from tumorlens.study.explore.montage import Montage, show_sample
from tumorlens.study.explore.permutation import PERMUTATIONS
from tumorlens.study.explore.pictures import (
    ClassPictures,
    Difference,
    difference,
    merge_pictures,
    read_batches,
    stream_pictures,
)
from tumorlens.study.explore.tabular import compare_frames, modality_rows, study_table
from tumorlens.study.features.table import FeatureTable, measure_files

RESAMPLES = 300  # of the intervals of features and models
UNKNOWN = "unknown"  # the modality of labels that leave it open


@dataclass(frozen=True)
class Exploration:
    """What n cases look like, and what separates their classes."""

    cases: tuple[Case, ...]  # `group` as found, `split` as judged
    spec: InputSpec
    audit: str  # fingerprint of the search for groups, 16 hex digits
    pictures: Mapping[str, ClassPictures]  # by label, "all ct", "all mri", "all mri tumors"
    montages: Mapping[str, Montage]  # of the same names
    differences: tuple[Difference, ...]  # every two labels of one modality
    detection: Mapping[str, Difference]  # by modality: all its tumors less its healthy scans
    balance: Mapping[str, Any]
    sizes: Mapping[str, Any]
    table: FeatureTable  # of the whole prepared square
    studies: Mapping[str, Mapping[str, Any]]  # by modality: of `study_table`
    frames: Mapping[str, Mapping[str, Any]]  # by modality: of `compare_frames`
    shortcuts: tuple[Shortcut, ...]

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """Give scans that could be read, and groups of them, for each name of `pictures`."""
        groups: dict[str, list[str]] = {name: [] for name in self.pictures}
        for case, usable in zip(self.cases, self.table.usable.tolist(), strict=True):
            for name in _names_of(case.label) if usable else ():
                if name in groups:
                    groups[name].append(case.group or case.key)
        return {name: (len(found), len(set(found))) for name, found in groups.items()}


def explore(
    cases: Sequence[Case],
    spec: InputSpec,
    *,
    cache: Path,
    groups: Groups,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
    steps: Steps = silent_steps,
) -> Exploration:
    """Draw, measure and compare the classes of a set; scans that cannot be read are left out.

    `groups`, of the same cases in the same order, say which scans are no new evidence. Prepared
    images are kept under `cache`. Raises CasesError where no scan can be read.
    """
    cases = [
        replace(case, group=f"g{number:05d}")
        for case, number in zip(cases, groups.groups.tolist(), strict=True)
    ]
    with steps("pictures") as report:
        pictures = stream_pictures(
            read_batches(cases, spec, cache=cache, progress=report), seed=seed
        )
    if not pictures:
        raise CasesError(
            "explore", "has no readable scan", "Check the files with `tumorlens audit`."
        )
    pictures |= _pooled_tumors(pictures)
    with steps("differences") as report:
        found = _differences(pictures, permutations, seed=seed, report=report)
    with steps("montages"):
        montages = {name: show_sample(kept) for name, kept in pictures.items()}
    table, studies, frames = _features(cases, spec, cache, groups.groups, seed=seed, steps=steps)
    with steps("sizes") as report:
        sizes = picture_sizes(cases, progress=report)
    return Exploration(
        cases=tuple(cases),
        spec=spec,
        audit=groups.audit,
        pictures=pictures,
        montages=montages,
        differences=tuple(found.values()),
        detection=_detection(pictures, found),
        balance=class_balance(cases),
        sizes=sizes,
        table=table,
        studies=studies,
        frames=frames,
        shortcuts=_shortcuts(cases, spec, cache, groups.groups, seed=seed, steps=steps),
    )


def modality_name(label: str) -> str:
    """Give the modality of a label, or "unknown" where it leaves it open."""
    return labels.modality_of(label) or UNKNOWN


def pooled_name(modality: str) -> str:
    """Name all tumors of one modality."""
    return "all tumors" if modality == UNKNOWN else f"all {modality} tumors"


def _names_of(label: str) -> list[str]:
    modality = modality_name(label)
    pooled = [pooled_name(modality)] if labels.is_tumor(label) else []
    return [label, f"all {modality}", *pooled]


def _by_modality(pictures: Mapping[str, ClassPictures]) -> dict[str, tuple[list[str], list[str]]]:
    """Give the healthy and the tumor labels of each modality."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for label in [name for name in pictures if name in labels.LABELS]:
        sides = found.setdefault(modality_name(label), ([], []))
        sides[labels.is_tumor(label)].append(label)
    return found


def _pooled_tumors(pictures: Mapping[str, ClassPictures]) -> dict[str, ClassPictures]:
    return {
        pooled_name(modality): merge_pictures([pictures[label] for label in tumors])
        for modality, (_, tumors) in _by_modality(pictures).items()
        if len(tumors) > 1
    }


def _detection_pair(pictures: Mapping[str, ClassPictures], modality: str) -> tuple[str, str] | None:
    """Name the healthy and the tumor pictures of a modality, where it has both."""
    healthy, tumors = _by_modality(pictures).get(modality, ([], []))
    if not (healthy and tumors):
        return None
    return healthy[0], tumors[0] if len(tumors) == 1 else pooled_name(modality)


def _differences(
    pictures: Mapping[str, ClassPictures], permutations: int, *, seed: int, report: Progress
) -> dict[tuple[str, str], Difference]:
    pairs: dict[tuple[str, str], None] = {}
    for modality, (healthy, tumors) in _by_modality(pictures).items():
        pair = _detection_pair(pictures, modality)
        pairs |= {pair: None} if pair else {}
        pairs |= dict.fromkeys(itertools.combinations([*healthy, *tumors], 2))
    found = {}
    for done, (first, second) in enumerate(pairs, start=1):
        found[first, second] = difference(
            dict(pictures), first, second, permutations=permutations, seed=seed
        )
        report(done, len(pairs))
    return found


def _detection(
    pictures: Mapping[str, ClassPictures], found: Mapping[tuple[str, str], Difference]
) -> dict[str, Difference]:
    pairs = {name: _detection_pair(pictures, name) for name in _by_modality(pictures)}
    return {modality: found[pair] for modality, pair in pairs.items() if pair}


def _features(
    cases: Sequence[Case], spec: InputSpec, cache: Path, groups: NDArray, *, seed: int, steps: Steps
) -> tuple[FeatureTable, dict[str, Mapping[str, Any]], dict[str, Mapping[str, Any]]]:
    with steps("features") as report:
        whole = measure_files(cases, spec, cache=cache, progress=report)
    with steps("features of the head alone") as report:
        head = measure_files(cases, spec, cache=cache, head_only=True, progress=report)
    studies, frames = {}, {}
    for modality, rows in modality_rows(whole).items():
        if not (rows & whole.usable).any():
            continue
        parts, own = (whole.rows(rows), head.rows(rows)), groups[rows]
        with steps(f"models of features, {modality}") as report:
            studies[modality] = study_table(
                parts[0], own, seed=seed, resamples=RESAMPLES, progress=report
            )
            frames[modality] = compare_frames(*parts, own, resamples=RESAMPLES)
    return whole, studies, frames


def _shortcuts(
    cases: Sequence[Case], spec: InputSpec, cache: Path, groups: NDArray, *, seed: int, steps: Steps
) -> tuple[Shortcut, ...]:
    with steps("shortcuts") as report:
        raw, prepared = file_columns(
            [case.path for case in cases], spec, cache=cache, progress=report
        )
        names = [case.label for case in cases]
        return tuple(measure_shortcuts(names, groups, raw=raw, prepared=prepared, seed=seed))
