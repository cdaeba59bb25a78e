"""How well tumors are told from healthy scans, at the bundle's threshold and at any.

And whether another bundle on the same scans is better, or only luckier.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from tumorlens.json_records import as_record
from tumorlens.reports.evaluation import (
    ComparedRow,
    Curve,
    Detection,
    ThresholdRow,
    ThresholdSweep,
)
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions, Rows
from tumorlens.study.stats.discrimination import (
    THRESHOLD_GRID,
    areas,
    delong,
    detection_statistics,
    independent_groups,
    rates,
)
from tumorlens.study.stats.intervals import (
    ENDS,
    Weights,
    bootstrap,
    differences_not_collapsed,
    not_collapsed,
    share_with_wilson,
)

PREVALENCES = (0.01, 0.05, 0.25, 0.5)
CURVE_POINTS = 200
THRESHOLDS = (0.01, 0.02, 0.05, *(round(0.1 * k, 1) for k in range(1, 10)), 0.95, 0.98, 0.99)
COMPARED = ("auc", "sensitivity", "specificity", "accuracy", "f1")


def detection_figures(labeled: LabeledPredictions, rows: Rows) -> Detection:
    """Return AUC, rates at the threshold and predictive values with intervals, of some rows.

    Figures that need both classes are None where one is missing.
    """
    truth, scores = labeled.truth[rows], labeled.scores[rows]
    flagged, counts = scores >= labeled.threshold, labeled.counts(rows)
    found = detection_statistics(
        truth, scores,
        thresholds=labeled.threshold, groups=labeled.groups[rows], prevalences=PREVALENCES,
    )  # fmt: skip
    values = [
        {"prevalence": p, "n": counts["n"]}
        | {name + end: found[name + end][i] for name in ("ppv", "npv") for end in ENDS}
        for i, p in enumerate(PREVALENCES)
    ]
    return as_record(Detection, {
        **found, **counts, **_formulas(truth, scores, flagged),
        "threshold": labeled.threshold,
        "confusion": confusion_matrix(truth, flagged, labels=[False, True]),
        "predictive_values": values,
    })  # fmt: skip


def _formulas(truth: Rows, scores: NDArray[np.float64], flagged: Rows) -> dict[str, float]:
    """Return intervals of formulas that take scans as independent, beside their figures."""
    every = np.ones(len(truth), bool)
    curve = delong(truth, scores)
    found = dict(
        zip((f"auc_delong{end}" for end in ENDS), (curve.auc[0], *curve.interval()), strict=True)
    )
    for name, rows in (("sensitivity", truth), ("specificity", ~truth), ("accuracy", every)):
        found |= share_with_wilson(f"{name}_wilson", (truth == flagged)[rows])
    return found


def roc_points(labeled: LabeledPredictions, rows: Rows) -> Curve | None:
    """Return the ROC curve of some rows, at most CURVE_POINTS points; None with one class."""
    if not _has_both(labeled.truth[rows]):
        return None
    fpr, tpr, thresholds = roc_curve(labeled.truth[rows], labeled.scores[rows])
    return _thinned(fpr=fpr, tpr=tpr, threshold=np.minimum(thresholds, 1.0))


def precision_recall_points(labeled: LabeledPredictions, rows: Rows) -> Curve | None:
    """Return precision by recall of some rows, at most CURVE_POINTS points; None with one class."""
    if not _has_both(labeled.truth[rows]):
        return None
    found = precision_recall_curve(labeled.truth[rows], labeled.scores[rows])
    return _thinned(recall=found[1], precision=found[0], threshold=np.append(found[2], 1.0))


def _has_both(truth: Rows) -> bool:
    return bool(truth.any() and not truth.all())


def _thinned(**columns: NDArray[np.float64]) -> Curve:
    kept = spread(len(columns["threshold"]))
    digits = {"threshold": 6}
    return {
        name: tuple(column[kept].round(digits.get(name, 5)).tolist())
        for name, column in columns.items()
    }


def spread(count: int, points: int = CURVE_POINTS) -> NDArray[np.int64]:
    """Choose at most `points` positions out of `count`, evenly, the first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(points, count)).astype(np.int64))


def threshold_table(labeled: LabeledPredictions, rows: Rows) -> tuple[ThresholdRow, ...]:
    """Return sensitivity, specificity and precision with intervals, and what is flagged.

    A row for each threshold, the bundle's own marked. The table says what another choice would
    have done here; choosing from it and reporting the same scans would flatter.
    """
    thresholds = np.array(sorted({*THRESHOLDS, labeled.threshold}))
    flagged = (labeled.scores[rows][:, None] >= thresholds).sum(0)
    found = _by_threshold(labeled, rows, thresholds)
    columns = [name + end for name in ("sensitivity", "specificity", "precision") for end in ENDS]
    return tuple(
        as_record(ThresholdRow, labeled.counts(rows) | {
            "threshold": threshold,
            "chosen": threshold == labeled.threshold,
            "flagged": int(flagged[i]),
            **{name: found[name][i] for name in columns},
        })
        for i, threshold in enumerate(thresholds.tolist())
    )  # fmt: skip


def threshold_sweep(labeled: LabeledPredictions, rows: Rows) -> ThresholdSweep:
    """Return sensitivity and specificity with intervals along many thresholds.

    Thresholds are even steps of the log odds and the bundle's own; for whoever moves a threshold
    and wants to see what it does. What `threshold_table` says of choosing holds here too.
    """
    thresholds = np.unique(np.append(THRESHOLD_GRID, labeled.threshold))
    found = _by_threshold(labeled, rows, thresholds)
    rounded = {name: column.round(5) for name, column in found.items()}
    return as_record(ThresholdSweep, rounded | labeled.counts(rows) | {"threshold": thresholds})


def _by_threshold(
    labeled: LabeledPredictions, rows: Rows, thresholds: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    return detection_statistics(
        labeled.truth[rows], labeled.scores[rows],
        thresholds=thresholds, groups=labeled.groups[rows],
    )  # fmt: skip


def compare(labeled: LabeledPredictions, baseline: LabeledPredictions) -> dict[str, ComparedRow]:
    """Compare the answers of two bundles to the same n cases, in the same order.

    Each is taken at its own threshold. Rows are `all`, `ct` and `mri`, as the first bundle tells
    them apart where no modality is recorded.
    """
    return {name: _compare(labeled, baseline, rows) for name, rows in labeled.rows().items()}


def _compare(a: LabeledPredictions, b: LabeledPredictions, rows: Rows) -> ComparedRow:
    truth, groups = a.truth[rows], a.groups[rows]
    scores = [each.scores[rows] for each in (a, b)]
    flagged = [s >= each.threshold for s, each in zip(scores, (a, b), strict=True)]

    def statistics(weights: Weights) -> dict[str, NDArray[np.float64]]:
        ours, others = (
            areas(truth, s, weights) | rates(truth, f, weights)
            for s, f in zip(scores, flagged, strict=True)
        )
        gaps = {f"{name}_difference": ours[name] - others[name] for name in COMPARED}
        gaps |= {f"{name}_own": ours[name] for name in COMPARED}
        return gaps | {f"{name}_against": others[name] for name in COMPARED}

    gap = delong(truth, *scores).difference()
    found = _with_width(bootstrap(statistics, groups), truth, flagged[0], groups)
    return as_record(ComparedRow, found | {
        "n": len(truth),
        "n_groups": len(np.unique(groups)),
        "delong": dict(zip(("difference", "low", "high", "p"), gap, strict=True)),
        "mcnemar": {
            name: mcnemar(flagged[0][some] == truth[some], flagged[1][some] == truth[some])
            for name, some in (("all", truth | ~truth), ("tumor", truth), ("healthy", ~truth))
            if some.any()
        },
    })  # fmt: skip


def _with_width(
    found: Mapping[str, NDArray], truth: Rows, flagged: Rows, groups: NDArray
) -> dict[str, NDArray]:
    """Widen what no resample could move: rates of either bundle, and their differences."""
    counts = independent_groups(truth, flagged, groups)
    sides = {f"{name}_{side}": counts[name] for name in COMPARED for side in ("own", "against")}
    gaps = {f"{name}_difference": (f"{name}_own", f"{name}_against") for name in COMPARED}
    return differences_not_collapsed(not_collapsed(found, sides), gaps)


def mcnemar(right: Rows, other: Rows) -> dict[str, Any]:
    """Count the scans that one alone has right, and return the exact two-sided p-value.

    McNemar's test (1947) takes scans as independent; where many are slices of few patients, the
    bootstrap of the difference is the one to believe.

    >>> mcnemar(np.array([1, 1, 1, 0], bool), np.array([0, 0, 1, 1], bool))
    {'n': 4, 'own_only': 2, 'against_only': 1, 'p': 1.0}
    """
    own_only, against_only = int((right & ~other).sum()), int((~right & other).sum())
    split = own_only + against_only
    p = float(binomtest(own_only, split).pvalue) if split else 1.0
    return {"n": len(right), "own_only": own_only, "against_only": against_only, "p": p}
