"""Labels and types: what was answered to each, and sets of answers that hold the truth.

The sets are split conformal prediction with one quantile for each class (Vovk, Lindsay,
Nouretdinov and Gammerman, 2003; Sadinle, Lei and Wasserman, 2019): a class stands in a scan's set
where its probability is no lower than all but a share `error` of validation scans of that class
had. The promise needs validation and test scans that could be swapped; another scanner breaks it,
and the measured coverage shows that.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from tumorlens import labels
from tumorlens.json_records import as_record
from tumorlens.reports.evaluation import ClassTable, Coverage, PredictionSets, TypeResult
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions, Rows
from tumorlens.study.stats.intervals import (
    Weights,
    bootstrap,
    bootstrap_shares,
    not_collapsed,
    share,
    share_with_wilson,
)

ERRORS = (0.05, 0.1)  # of prediction sets
FINDINGS = ("healthy", "tumor")


def type_figures(labeled: LabeledPredictions, rows: Rows | None = None) -> TypeResult | None:
    """Return accuracy, macro F1 and each type's recall, of MRI tumors whose type is recorded.

    The type is the likeliest one given a tumor, whether or not the tumor was flagged. None
    where no type is recorded among `rows`.
    """
    typed = labeled.types >= 0
    typed = typed if rows is None else typed & rows
    if not typed.any():
        return None
    truth, groups = labeled.types[typed], labeled.groups[typed]
    chosen = labels.type_probabilities(labeled.probabilities[typed]).argmax(-1)
    of_type = [len(np.unique(groups[truth == k])) for k in range(len(labels.TYPES))]
    found = bootstrap(lambda w: _type_statistics(truth, chosen, w), groups)
    n_groups = len(np.unique(groups))
    found = not_collapsed(
        found, {"accuracy": n_groups, "macro_f1": n_groups, "recall": np.array(of_type)}
    )
    return as_record(TypeResult, {
        **found,
        **share_with_wilson("accuracy_wilson", truth == chosen),
        "n": len(truth),
        "n_groups": n_groups,
        "names": labels.TYPES,
        "confusion": confusion_matrix(truth, chosen, labels=range(len(labels.TYPES))),
    })  # fmt: skip


def _type_statistics(
    truth: NDArray[np.int64], chosen: NDArray[np.int64], weights: Weights
) -> dict[str, NDArray[np.float64]]:
    """Return accuracy and macro F1, [r], and the recall of each type, [r, types]."""
    present = np.unique(truth)
    types = np.arange(len(labels.TYPES))
    actual, predicted = truth[:, None] == types, chosen[:, None] == types
    tp = weights @ (actual & predicted)
    of_truth, of_chosen = weights @ actual, weights @ predicted
    f1 = np.nan_to_num(share(2 * tp, of_truth + of_chosen))
    return {
        "accuracy": share(weights @ (truth == chosen), weights.sum(1)),
        "macro_f1": f1[:, present].mean(1),
        "recall": share(tp, of_truth),
    }


def class_figures(labeled: LabeledPredictions) -> ClassTable:
    """Count, for each label, the likeliest atom; right is any atom of the label's set."""
    best = labeled.probabilities.argmax(-1)
    known = np.array(labeled.labels, np.str_)
    names = sorted(set(labeled.labels))
    atoms = range(len(labels.ATOMS))
    right = np.array([
        labels.ATOMS[i] in labels.LABELS[label]
        for i, label in zip(best, labeled.labels, strict=True)
    ])  # fmt: skip
    return as_record(ClassTable, {
        **bootstrap_shares(labeled.groups, accuracy=right),
        "n": len(right),
        "labels": names,
        "atoms": labels.ATOMS,
        "confusion": [[int(((known == name) & (best == i)).sum()) for i in atoms]
                      for name in names],
    })  # fmt: skip


_Task = tuple[NDArray[np.float64], NDArray[np.int64], NDArray]  # probabilities, truth, groups


def conformal_figures(
    labeled: LabeledPredictions, validation: LabeledPredictions | None
) -> dict[str, tuple[PredictionSets, ...]] | None:
    """Return measured coverage and size of the sets of findings and types; None w/o validation."""
    if validation is None:
        return None
    tasks = {"detection": (FINDINGS, _findings(validation), _findings(labeled)),
             "type": (labels.TYPES, _types(validation), _types(labeled))}  # fmt: skip
    return {
        task: tuple(_measure_sets(names, fitted, measured, error=error) for error in ERRORS)
        for task, (names, fitted, measured) in tasks.items()
        if len(fitted[1]) and len(measured[1])
    }


def _findings(labeled: LabeledPredictions) -> _Task:
    scores = labeled.scores
    return np.column_stack([1 - scores, scores]), labeled.truth.astype(np.int64), labeled.groups


def _types(labeled: LabeledPredictions) -> _Task:
    rows = labeled.types >= 0
    given = np.asarray(labels.type_probabilities(labeled.probabilities[rows]), np.float64)
    return given, labeled.types[rows], labeled.groups[rows]


def class_limits(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64], *, error: float
) -> NDArray[np.float64]:
    """Return the lowest probability with which each class still belongs to a set, [k].

    `probabilities` [n, k] and `truth` [n] are of validation. A class with too few scans for the
    promise, fewer than 1/error - 1, gets 0: it stands in every set.
    """
    limits = np.zeros(probabilities.shape[1])
    for k in range(len(limits)):
        rising = np.sort(probabilities[truth == k, k])
        outside = int(np.floor(error * (len(rising) + 1) + 1e-9))  # scans that may fall below
        limits[k] = rising[outside - 1] if outside >= 1 else 0.0
    return limits


def _measure_sets(
    names: tuple[str, ...], fitted: _Task, measured: _Task, *, error: float
) -> PredictionSets:
    limits = class_limits(fitted[0], fitted[1], error=error)
    probabilities, truth, groups = measured
    sets = probabilities >= limits
    inside, sizes = sets[np.arange(len(truth)), truth], sets.sum(1)
    return as_record(PredictionSets, {
        **bootstrap(lambda w: {"size": share(w @ sizes, w.sum(1))}, groups),
        "error": error,
        "promised": 1 - error,
        "n": len(truth),
        "n_validation": len(fitted[1]),
        "limits": dict(zip(names, limits.tolist(), strict=True)),
        "empty": int((sizes == 0).sum()),
        "single": int((sizes == 1).sum()),
        "several": int((sizes > 1).sum()),
        "classes": {
            name: _coverage(inside[truth == k], groups[truth == k])
            for k, name in enumerate(names)
            if (truth == k).any()
        },
    })  # fmt: skip


def _coverage(inside: Rows, groups: NDArray) -> Coverage:
    found = bootstrap_shares(groups, coverage=inside)
    formula = share_with_wilson("coverage_wilson", inside)
    return as_record(Coverage, found | formula | {"n": len(inside)})
