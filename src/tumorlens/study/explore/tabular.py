"""What a table of features says about the classes, and what it says about the background.

Copies of an image and slices of one head are no new evidence. So effects and p-values are of
one mean per group and class, models never test on a group that they learned from, and every
interval comes from resampling whole groups.
"""

import csv
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens import __version__, labels
from tumorlens.errors import CasesError, UnknownLabelError
from tumorlens.files import read_table
from tumorlens.json_records import to_json
from tumorlens.progress import Progress, Steps, silent, silent_steps
from tumorlens.study.explore.record import (
    Counts,
    Distribution,
    Effect,
    FeatureContrast,
    FeatureStudy,
    FrameAuc,
    FrameComparison,
    Frames,
    HeadShare,
    Number,
)
from tumorlens.study.explore.separation import compare_models, single_features
from tumorlens.study.features.table import FeatureTable, read_features
from tumorlens.study.features.texture import FEATURES
from tumorlens.study.stats.class_differences import (
    effect_size,
    group_means,
    holm,
    rank_correlation,
)
from tumorlens.study.stats.intervals import RESAMPLES

UNKNOWN = "unknown"  # the modality of labels that leave it open
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class TabularResult:
    """Everything that tabular.json holds."""

    created: str  # ISO 8601
    table: str
    n: int
    grouped: bool  # else every row counts as independent
    features: Mapping[str, FeatureStudy]  # by modality
    tumorlens: str = __version__
    schema: int = 1


def study_table(
    table: FeatureTable,
    groups: NDArray,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    progress: Progress = silent,
) -> FeatureStudy:
    """Study a table whose rows, [n], belong to `groups`, [n]; rows with an error are left out.

    Pass one modality at a time: between CT and MRI every feature differs. Raises CasesError for
    a table without usable rows, UnknownLabelError for labels without a canonical name.
    """
    usable = table.usable
    kept, groups = table.rows(usable), np.asarray(groups)[usable]
    _check(kept)
    truth = np.array([labels.is_tumor(label) for label in kept.labels], bool)
    return FeatureStudy(
        n=len(kept.labels),
        n_groups=len(np.unique(groups)),
        unreadable=int((~usable).sum()),
        features=FEATURES,
        intervals=f"95 %, bootstrap over groups, {resamples} resamples, seed 0",
        classes=_classes(kept, groups),
        distributions=distributions(kept),
        contrasts=contrasts(kept, groups),
        correlation=tuple(map(tuple, to_json(rank_correlation(kept.values)))),
        single=single_features(kept.values, truth, groups, resamples=resamples),
        models=compare_models(
            kept.values, truth, groups, seed=seed, resamples=resamples, progress=progress
        ),
    )


def modality_rows(table: FeatureTable) -> dict[str, NDArray[np.bool_]]:
    """Return the rows of each modality, [n]; under "unknown" those whose label leaves it open."""
    found = np.array([modality_name(label) for label in table.labels], str)
    return {name: found == name for name in (*labels.MODALITIES, UNKNOWN) if name in found}


def modality_name(label: str) -> str:
    """Return the modality of a label, or "unknown" where it leaves it open."""
    return labels.modality_of(label) or UNKNOWN if label in labels.LABELS else UNKNOWN


def modality_title(modality: str) -> str:
    """Name a modality, or "unknown", as people should see it."""
    return modality.upper() if modality in labels.MODALITIES else "modality not recorded"


def _check(table: FeatureTable) -> None:
    if not table.labels:
        raise CasesError("features", "has no usable row", "See the column error.")
    unknown = sorted(set(table.labels) - set(labels.LABELS))
    if unknown:
        fact = f"has labels that are not known: {', '.join(map(repr, unknown[:20]))}"
        raise UnknownLabelError("features", fact, f"Use one of {', '.join(labels.LABELS)}.")


def _by_label(table: FeatureTable) -> dict[str, NDArray[np.bool_]]:
    names = np.array(table.labels)
    return {str(name): names == name for name in np.unique(names)}


def _classes(table: FeatureTable, groups: NDArray) -> dict[str, Counts]:
    return {
        name: Counts(int(rows.sum()), len(np.unique(groups[rows])))
        for name, rows in _by_label(table).items()
    }


def distributions(table: FeatureTable) -> dict[str, dict[str, Distribution]]:
    """Return n, mean and five quantiles of each feature in each class: [label][feature]."""
    return {
        name: {
            feature: Distribution(*_summary(table.values[rows, i]))
            for i, feature in enumerate(FEATURES)
        }
        for name, rows in _by_label(table).items()
    }


def _summary(values: NDArray[np.float64]) -> tuple[int, *tuple[Number, ...]]:
    """Return n, mean and QUANTILES of what is known, in the order of a Distribution."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0, None, *(None for _ in QUANTILES)
    return len(known), float(known.mean()), *np.quantile(known, QUANTILES).tolist()


def contrasts(table: FeatureTable, groups: NDArray) -> tuple[FeatureContrast, ...]:
    """Compare every two classes, and before them tumor with healthy where that is another pair.

    Effects are of one mean per group; p is corrected over all rows of all contrasts.
    """
    sides = _by_label(table)
    pairs = list(itertools.combinations(sides, 2))
    tumor = np.array([labels.is_tumor(label) for label in table.labels])
    if len(sides) > 2 and tumor.any() and not tumor.all():
        sides |= {"all healthy": ~tumor, "all tumor": tumor}
        pairs.insert(0, ("all healthy", "all tumor"))
    means = {name: group_means(table.values[rows], groups[rows]) for name, rows in sides.items()}
    found = [_contrast(means, a, b) for a, b in pairs]
    corrected = iter(holm([row.p for contrast in found for row in contrast.rows]))
    return tuple(
        replace(contrast, rows=tuple(replace(row, p_holm=next(corrected)) for row in contrast.rows))
        for contrast in found
    )


def _contrast(means: Mapping[str, NDArray[np.float64]], a: str, b: str) -> FeatureContrast:
    rows = (
        Effect(feature, *effect_size(means[a][:, i], means[b][:, i]))
        for i, feature in enumerate(FEATURES)
    )
    return FeatureContrast(a, b, len(means[a]), len(means[b]), tuple(rows))


def compare_frames(
    whole: FeatureTable, head_only: FeatureTable, groups: NDArray, *, resamples: int = RESAMPLES
) -> FrameComparison:
    """Hold features of the whole square against those of the head alone, of the same scans.

    `head_share` is the share of the square that the head fills, which is what is left of it
    after background: its own AUC, and its rank correlation with each feature in either frame.
    It follows from the two means, because background is 0. What a feature tells on the whole
    square and no longer inside the head, it read off the outline.
    """
    if whole.paths != head_only.paths:
        fact = "are not of the same scans in the same order"
        raise CasesError("whole and head-only features", fact, "Measure one list of cases twice.")
    usable = whole.usable & head_only.usable
    groups, kept = np.asarray(groups)[usable], whole.rows(usable)
    _check(kept)
    inside = head_only.values[usable]
    truth = np.array([labels.is_tumor(label) for label in kept.labels], bool)
    share = kept.values[:, 0] / inside[:, 0]
    aucs = single_features(share[:, None], truth, groups, names=["share"], resamples=resamples)
    frames = [
        _frame_aucs(values, share, truth, groups, resamples) for values in (kept.values, inside)
    ]
    return FrameComparison(
        HeadShare(*_summary(share), auc=(aucs or {}).get("share")),
        {f: Frames(*both) for f, *both in zip(FEATURES, *frames, strict=True)},
    )


def _frame_aucs(
    values: NDArray, share: NDArray, truth: NDArray, groups: NDArray, resamples: int
) -> list[FrameAuc]:
    aucs = single_features(values, truth, groups, resamples=resamples) or {}
    ties = to_json(rank_correlation(np.column_stack([share, values]))[0, 1:])
    return [FrameAuc(aucs.get(f), tie) for f, tie in zip(FEATURES, ties, strict=True)]


def study_features(
    path: Path, *, groups: Path | None, now: datetime, steps: Steps = silent_steps
) -> TabularResult:
    """Study a features.csv or the published table, one modality at a time; `now` dates it.

    `groups` is the groups.csv of an audit of the same scans. Without it every row counts as
    independent, which flatters: the figures say so. Raises CasesError where either cannot be
    read, or where the audit did not see the scans.
    """
    table = read_features(path)
    numbers = np.arange(len(table.paths)) if groups is None else _groups(table, groups)
    studies = {}
    for modality, rows in modality_rows(table).items():
        if (rows & table.usable).any():
            with steps(f"models of features, {modality}") as report:
                studies[modality] = study_table(table.rows(rows), numbers[rows], progress=report)
    return TabularResult(
        created=now.isoformat(timespec="seconds"),
        table=path.name,
        n=len(table.paths),
        grouped=groups is not None,
        features=studies,
    )


def _groups(table: FeatureTable, path: Path) -> NDArray[np.int64]:
    """Return the group of each row as a number: found by path, or by name without its end."""
    try:
        rows = [(row["path"], row["group"]) for row in read_table(path)]
    except (OSError, KeyError, csv.Error) as e:
        fix = "Pass the groups.csv that `tumorlens audit` wrote."
        raise CasesError(path, f"cannot be read as groups ({type(e).__name__}: {e})", fix) from e
    named = dict(rows)
    stems: dict[str, set[str]] = {}
    for name, group in rows:
        stems.setdefault(Path(name).stem, set()).add(group)
    # The published table names images, not files; a name that several groups bear says nothing.
    alone = {stem: next(iter(found)) for stem, found in stems.items() if len(found) == 1}
    found = [named.get(name) or alone.get(Path(name).stem) for name in table.paths]
    lost = [name for name, group in zip(table.paths, found, strict=True) if group is None]
    if lost:
        fact = f"do not name {len(lost)} of {len(found)} scans of the table, first {lost[0]}"
        raise CasesError(path, fact, "Audit the folder that the table was made from, alone.")
    return np.unique(np.array(found, str), return_inverse=True)[1].astype(np.int64)
