"""Cases by what is known of them: the split's context, subgroups, a sample even over strata.

Over all slices of patients the level gives the answer away: tumors lie in the middle of a stack.
So a slice with a tumor is only compared with slices without one that lie as high.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.files import read_file
from tumorlens.records import Case
from tumorlens.reports.evaluation import SameLevel, Subgroup
from tumorlens.study.audit.facts import read_file_facts
from tumorlens.study.data.acquisition import WITHIN, sequence_of, source_of
from tumorlens.study.data.masks import Masks
from tumorlens.study.data.splits import Split
from tumorlens.study.evaluation.classification import type_figures
from tumorlens.study.evaluation.detection import detection_figures
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions, Rows
from tumorlens.study.stats.discrimination import matched_area

Subgroups = Mapping[str, Mapping[str, Rows]]  # of each kind, by name
SIZE_BANDS = ((200, "up to 200 px"), (256, "201 to 256 px"), (512, "257 to 512 px"))
QUARTERS = ("smallest quarter", "second quarter", "third quarter", "largest quarter")
MIN_LESIONS = 20  # with a mask, for quarters of their size
LARGEST_BAND, NO_SIZE = "above 512 px", "size not known"


@dataclass(frozen=True)
class Context:
    """What a split tells of the measured cases besides their labels; empty without a split."""

    validation: tuple[Case, ...] = ()  # what conformal sets are fitted on
    copies: Mapping[str, bool] | None = None  # case key -> a copy stands in train or validation
    conflicts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # case key -> other labels of the same image, anywhere in the split


def read_context(cases: Sequence[Case], split: Split, *, part: str) -> Context:
    """Gather what `split` tells of one part; `cases` are all that it names and were found."""
    return Context(
        validation=tuple(case for case in cases if part == "test" and case.split == "val"),
        copies=_copies(split) if part == "test" else None,
        conflicts=_conflicts(cases, split),
    )


def _copies(split: Split) -> dict[str, bool]:
    """Tell of each test case whether training or validation holds a file of its image."""
    seen = {split.image_ids[key] for key, part in split.parts.items() if part != "test"}
    return {
        key: split.image_ids[key] in seen for key, part in split.parts.items() if part == "test"
    }


def _conflicts(cases: Sequence[Case], split: Split) -> dict[str, tuple[str, ...]]:
    names: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        names[split.image_ids[case.key]].add(case.label)
    others = {case.key: names[split.image_ids[case.key]] - {case.label} for case in cases}
    return {key: tuple(sorted(found)) for key, found in others.items() if found}


def subgroup_figures(
    labeled: LabeledPredictions, subgroups: Subgroups
) -> dict[str, dict[str, Subgroup]]:
    """Return detection and type of each of `find_subgroups`."""
    return {
        kind: {
            name: Subgroup(detection_figures(labeled, rows), type_figures(labeled, rows))
            for name, rows in found.items()
        }
        for kind, found in subgroups.items()
    }


def find_subgroups(
    cases: Sequence[Case],
    labeled: LabeledPredictions,
    *,
    copies: Mapping[str, bool] | None = None,
    planes: Sequence[str] | None = None,
    lesions: Sequence[float] = (),
) -> Subgroups:
    """Return the rows, [n], of each subgroup of each kind; unknown kinds are left out.

    `copies` says of case keys whether the split has a file of the same image in training or
    validation; None where no split was given. `planes` names the estimated plane of each case,
    `lesions` the share of its prepared image that is marked, NaN without a mask.
    A tumor's label is measured against the healthy scans of its modality, a healthy one against
    the tumors.
    """
    named: dict[str, list[str]] = {
        "modality": [labels.modality_of(case.label) or "not recorded" for case in cases],
        **({"plane (estimated)": list(planes)} if planes is not None else {}),
        "data set": [case.dataset for case in cases],
        "sequence": [sequence_of(case.path) or "not stated" for case in cases],
        "size of the file": [size_band(case.path) for case in cases],
        "patient": ["known" if case.patient else "not known" for case in cases],
    }
    if copies is not None:
        named["copy in training or validation"] = [
            "has one" if copies.get(case.key) else "has none" for case in cases
        ]
    found = {kind: _rows(names) for kind, names in named.items()}
    found["label"] = _label_rows(labeled)
    if np.isfinite(lesions).sum() >= MIN_LESIONS:
        found["size of the tumor"] = _quarters(np.array(lesions), labeled.truth)
    return found


def lesion_sizes(masks: Masks, positions: Sequence[int]) -> list[float]:
    """Return the share of the prepared image that a mask covers, NaN where there is none."""
    return [float(masks[at].mean()) if at in masks else np.nan for at in positions]


def _quarters(sizes: NDArray[np.float64], truth: Rows) -> dict[str, Rows]:
    """Return the marked tumors by quarters of their size, each beside all scans without one."""
    bounds = np.nanquantile(sizes, (0, 0.25, 0.5, 0.75, 1)).tolist()
    quarter = np.where(np.isfinite(sizes), np.searchsorted(bounds[1:-1], sizes), -1)
    return {
        f"{name}, {bounds[at]:.1%} to {bounds[at + 1]:.1%} of the image": (quarter == at) | ~truth
        for at, name in enumerate(QUARTERS)
    }


def _rows(names: Sequence[str]) -> dict[str, Rows]:
    column = np.array(names, np.str_)
    return {name: column == name for name in sorted(set(names), key=_order)}


def _order(name: str) -> tuple[int, str]:
    """Sort bands by size, all else by name."""
    bands = [band for _, band in SIZE_BANDS] + [LARGEST_BAND, NO_SIZE]
    return (bands.index(name) if name in bands else 0), name


def _label_rows(labeled: LabeledPredictions) -> dict[str, Rows]:
    names = np.array(labeled.labels, np.str_)
    truth, modalities = labeled.truth, labeled.modalities
    found = {}
    for label in sorted(set(labeled.labels)):
        modality = labels.modality_of(label)
        other = truth != labels.is_tumor(label)
        found[label] = (names == label) | (other & ((modalities == modality) | (modality is None)))
    return found


def size_band(path: Path) -> str:
    """Name the band of the longer side of a stored image."""
    try:
        facts = read_file_facts(read_file(path))
    except OSError:
        facts = None
    if facts is None:
        return NO_SIZE
    longer = max(facts.width, facts.height)
    return next((name for end, name in SIZE_BANDS if longer <= end), LARGEST_BAND)


def draw_sample(cases: Sequence[Case], count: int, *, seed: int = 0) -> list[int]:
    """Choose up to `count` positions, in order, even in number over modality and finding.

    Of each of these, a second scan of a group comes only after the first of every other group.
    """
    strata = [(labels.modality_of(c.label) or "", labels.is_tumor(c.label)) for c in cases]
    order = np.random.default_rng(seed).permutation(len(cases)).tolist()
    of_group: Counter[tuple[tuple[str, bool], str]] = Counter()
    rounds = []
    for place, i in enumerate(order):
        group = (strata[i], cases[i].group_name)
        rounds.append((of_group[group], place, i))
        of_group[group] += 1
    of_stratum: Counter[tuple[str, bool]] = Counter()
    turns = []
    for times, place, i in sorted(rounds):
        turns.append((of_stratum[strata[i]], times, place, i))
        of_stratum[strata[i]] += 1
    return sorted(turn[-1] for turn in sorted(turns)[:count])


def same_level_figures(
    cases: Sequence[Case], labeled: LabeledPredictions
) -> dict[str, SameLevel] | None:
    """Return the AUC of matched pairs by source and sequence; None where no level is known."""
    levels = np.array([np.nan if case.level is None else case.level for case in cases], float)
    if not np.isfinite(levels).any():
        return None
    names = np.array([f"{source_of(case)} {sequence_of(case.path)}".strip() for case in cases])
    found = {}
    for name in np.unique(names[np.isfinite(levels)]).tolist():
        rows = np.flatnonzero((names == name) & np.isfinite(levels))
        truth, at, groups = labeled.truth[rows], levels[rows], labeled.groups[rows]
        if truth.all() or not truth.any():
            continue
        middle = -np.abs(at - np.median(at[truth]))
        matched, all_pairs = {"at": at, "within": WITHIN}, {"at": at, "within": 1.0}
        scores = labeled.scores[rows]
        auc = matched_area(truth, scores, groups=groups, **matched)
        areas = {
            "auc": auc,
            "unmatched": matched_area(truth, scores, groups=groups, **all_pairs),
            "level_alone": matched_area(truth, middle, groups=groups, **all_pairs),
        }
        # One n for all three, as in the record: of slices, where each area counts other pairs.
        found[name] = SameLevel(
            **{key: replace(area, n=len(rows)) for key, area in areas.items()},
            pairs=auc.n,
            tumors=int(truth.sum()),
            healthy=int((~truth).sum()),
        )
    return found or None
