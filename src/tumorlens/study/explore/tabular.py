"""What a table of features says about the classes, and what it says about the background.

Copies of a picture and slices of one head are no new evidence. So effects and p-values are of
one mean per group and class, models never test on a group that they learned from, and every
interval comes from resampling whole groups. All results are dicts that JSON can hold; what
cannot be computed is None.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tumorlens import labels
from tumorlens.errors import CasesError, UnknownLabelError
from tumorlens.study.explore.separation import compare_models, single_features
from tumorlens.study.features.picture import FEATURES
from tumorlens.study.features.table import FeatureTable
from tumorlens.study.stats.intervals import RESAMPLES, nan_to_none

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def study_table(
    table: FeatureTable,
    groups: NDArray,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Study a table whose rows, [n], belong to `groups`, [n]; rows with an error are left out.

    Keys: n, n_groups, unreadable, features, classes, distributions, contrasts, correlation,
    single and models; the last two tell tumor from healthy and are None where one is missing.
    Give one modality at a time: between CT and MRI every feature differs. Raises CasesError for
    a table without usable rows, UnknownLabelError for labels without a canonical name.
    """
    usable = table.usable
    unreadable = int((~usable).sum())
    table, groups = table.rows(usable), np.asarray(groups)[usable]
    _check(table)
    truth = np.array([labels.is_tumor(label) for label in table.labels], bool)
    return {
        "n": len(table.labels),
        "n_groups": len(np.unique(groups)),
        "unreadable": unreadable,
        "features": list(FEATURES),
        "intervals": f"95 %, bootstrap over groups, {resamples} resamples, seed 0",
        "classes": _classes(table, groups),
        "distributions": distributions(table),
        "contrasts": contrasts(table, groups),
        "correlation": rank_correlation(table.values),
        "single": single_features(table.values, truth, groups, resamples=resamples),
        "models": compare_models(
            table.values, truth, groups, seed=seed, resamples=resamples, progress=progress
        ),
    }


def modality_rows(table: FeatureTable) -> dict[str, NDArray[np.bool_]]:
    """Give the rows of each modality, [n]; under "unknown" those whose label leaves it open."""
    found = np.array(
        [labels.modality_of(label) or "unknown" if label in labels.LABELS else "unknown"
         for label in table.labels], str,
    )  # fmt: skip
    return {name: found == name for name in (*labels.MODALITIES, "unknown") if name in found}


def _check(table: FeatureTable) -> None:
    if not table.labels:
        raise CasesError("features", "has no usable row", "See the column error.")
    unknown = sorted(set(table.labels) - set(labels.LABELS))
    if unknown:
        fact = f"has labels that are not known: {', '.join(map(repr, unknown[:20]))}"
        raise UnknownLabelError("features", fact, f"Use one of {', '.join(labels.LABELS)}.")


def _classes(table: FeatureTable, groups: NDArray) -> dict[str, dict[str, int]]:
    names = np.array(table.labels)
    return {
        str(name): {
            "n": int((names == name).sum()),
            "n_groups": len(np.unique(groups[names == name])),
        }
        for name in np.unique(names)
    }


def distributions(table: FeatureTable) -> dict[str, dict[str, dict[str, Any]]]:
    """Give n, mean and five quantiles of each feature in each class: [label][feature]."""
    names = np.array(table.labels)
    return {
        str(name): {
            feature: _summary(table.values[names == name, i]) for i, feature in enumerate(FEATURES)
        }
        for name in np.unique(names)
    }


def _summary(values: NDArray[np.float64]) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    found = np.quantile(known, QUANTILES) if len(known) else np.full(len(QUANTILES), np.nan)
    quantiles = {
        f"q{round(100 * q):02d}": nan_to_none(v) for q, v in zip(QUANTILES, found, strict=True)
    }
    return {
        "n": len(known),
        "mean": nan_to_none(known.mean() if len(known) else np.nan),
        **quantiles,
    }


def contrasts(table: FeatureTable, groups: NDArray) -> list[dict[str, Any]]:
    """Compare every two classes, and tumor with healthy where that is a third comparison.

    Each row holds `delta` (Cliff's delta, which is the rank-biserial correlation: -1 to 1,
    above 0 where `b` is larger), `cohen_d` (pooled deviation), `p` (Mann-Whitney, two-sided)
    and `p_holm` (Holm, 1979, over all rows of all comparisons).
    """
    names = np.array(table.labels)
    sides = {str(name): names == name for name in np.unique(names)}
    pairs = [(a, b, sides[a], sides[b]) for a, b in itertools.combinations(sides, 2)]
    tumor = np.array([labels.is_tumor(label) for label in table.labels])
    if len(sides) > 2 and tumor.any() and not tumor.all():
        pairs.insert(0, ("all healthy", "all tumor", ~tumor, tumor))
    found = [_contrast(table.values, groups, pair) for pair in pairs]
    rows = [row for contrast in found for row in contrast["rows"]]
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return found


def _contrast(values: NDArray, groups: NDArray, pair: tuple[str, str, NDArray, NDArray]) -> Any:
    first = group_means(values[pair[2]], groups[pair[2]])
    second = group_means(values[pair[3]], groups[pair[3]])
    return {
        "a": pair[0],
        "b": pair[1],
        "n_groups_a": len(first),
        "n_groups_b": len(second),
        "rows": [
            {"feature": feature, **_effect(first[:, i], second[:, i])}
            for i, feature in enumerate(FEATURES)
        ],
    }


def group_means(values: NDArray[np.float64], groups: NDArray) -> NDArray[np.float64]:
    """Average rows, [n, f], by group: [groups, f]; NaN is left out where others are known."""
    place = np.unique(groups, return_inverse=True)[1]
    known = np.isfinite(values)
    sums, counts = np.zeros((2, int(place.max()) + 1, values.shape[1]))
    np.add.at(sums, place, np.where(known, values, 0.0))
    np.add.at(counts, place, known)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _effect(a: NDArray[np.float64], b: NDArray[np.float64]) -> dict[str, float | None]:
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if len(a) < 2 or len(b) < 2:
        return {"delta": None, "cohen_d": None, "p": None}
    test = stats.mannwhitneyu(b, a, method="asymptotic")
    pooled = (a.var(ddof=1) * (len(a) - 1) + b.var(ddof=1) * (len(b) - 1)) / (len(a) + len(b) - 2)
    gap = float(b.mean() - a.mean())
    return {
        "delta": nan_to_none(2 * test.statistic / (len(a) * len(b)) - 1),
        "cohen_d": nan_to_none(gap / np.sqrt(pooled) if pooled > 0 else np.nan),
        "p": nan_to_none(test.pvalue),
    }


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for their number by Holm's method (1979); None stays None."""
    corrected: list[float | None] = [None] * len(p)
    known = [i for i, value in enumerate(p) if value is not None]
    largest = 0.0
    for rank, i in enumerate(sorted(known, key=lambda i: p[i] or 0.0)):
        largest = max(largest, min(1.0, (len(known) - rank) * (p[i] or 0.0)))
        corrected[i] = largest
    return corrected


def rank_correlation(values: NDArray[np.float64]) -> list[list[float | None]]:
    """Give Spearman's correlation of features, [f][f], over rows in which all are known."""
    known = values[np.isfinite(values).all(1)]
    if len(known) < 3:
        return [[None] * values.shape[1] for _ in range(values.shape[1])]
    ranks = stats.rankdata(known, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # a constant feature
        found = np.corrcoef(ranks, rowvar=False)
    return [[nan_to_none(v) for v in row] for row in found]


def compare_frames(
    whole: FeatureTable, head_only: FeatureTable, groups: NDArray, *, resamples: int = RESAMPLES
) -> dict[str, Any]:
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
    frames = {"whole": kept.values, "head_only": inside}
    aucs = {
        name: single_features(values, truth, groups, resamples=resamples) or {}
        for name, values in frames.items()
    }
    of_share = single_features(
        share[:, None], truth, groups, names=["head_share"], resamples=resamples
    )
    ties = {name: rank_correlation(np.column_stack([share, v])) for name, v in frames.items()}
    return {
        "head_share": {**_summary(share), "auc": (of_share or {}).get("head_share")},
        "features": {
            feature: {
                name: {"auc": aucs[name].get(feature), "with_head_share": ties[name][0][i + 1]}
                for name in frames
            }
            for i, feature in enumerate(FEATURES)
        },
    }
