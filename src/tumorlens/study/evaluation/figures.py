"""The figures of evaluation.json on type, labels and places."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from tumorlens import labels
from tumorlens.study.evaluation.labeled_predictions import LabeledPredictions
from tumorlens.study.stats.discrimination import share
from tumorlens.study.stats.intervals import bootstrap, nan_to_none, not_collapsed, wilson


def type_figures(
    answers: LabeledPredictions, rows: NDArray[np.bool_] | None = None
) -> dict[str, Any] | None:
    """Give accuracy, macro F1 and each type's recall, of MRI tumors whose type is recorded.

    The type is the likeliest one given a tumor, whether or not the tumor was flagged. None
    where no type is recorded among `rows`.
    """
    asked = answers.types >= 0
    asked = asked if rows is None else asked & rows
    if not asked.any():
        return None
    truth = answers.types[asked]
    chosen = labels.type_probabilities(answers.probabilities[asked]).argmax(-1)
    count = len(np.unique(answers.groups[asked]))
    found = bootstrap(lambda w: _type_statistics(truth, chosen, w), answers.groups[asked])
    found = not_collapsed(found, {"accuracy": count})
    matrix = confusion_matrix(truth, chosen, labels=range(len(labels.TYPES)))
    low, high = wilson((truth == chosen).sum(), len(truth))
    return {
        "n": int(asked.sum()),
        "n_groups": count,
        "names": list(labels.TYPES),
        "confusion": matrix.tolist(),
        **nan_to_none(found),
        **nan_to_none({"accuracy_wilson_low": low, "accuracy_wilson_high": high}),
    }


def _type_statistics(
    truth: NDArray[np.int64], chosen: NDArray[np.int64], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Give accuracy and macro F1, [r], and the recall of each type, [r, types]."""
    present = np.unique(truth)
    types = np.arange(len(labels.TYPES))
    own, said = truth[:, None] == types, chosen[:, None] == types
    tp, of_truth, of_chosen = weights @ (own & said), weights @ own, weights @ said
    f1 = np.nan_to_num(share(2 * tp, of_truth + of_chosen))
    return {
        "accuracy": share(weights @ (truth == chosen), weights.sum(1)),
        "macro_f1": f1[:, present].mean(1),
        "recall": share(tp, of_truth),
    }


def class_figures(answers: LabeledPredictions) -> dict[str, Any]:
    """Count, for each label, the likeliest atom; right is any atom of the label's set."""
    best = answers.probabilities.argmax(-1)
    names = sorted(set(answers.labels))
    table = [
        [int(((np.array(answers.labels) == name) & (best == i)).sum())
         for i in range(len(labels.ATOMS))]
        for name in names
    ]  # fmt: skip
    right = np.array([
        labels.ATOMS[i] in labels.LABELS[label]
        for i, label in zip(best, answers.labels, strict=True)
    ])  # fmt: skip
    found = bootstrap(lambda w: {"accuracy": share(w @ right, w.sum(1))}, answers.groups)
    return {
        "n": len(right),
        "labels": names,
        "atoms": list(labels.ATOMS),
        "confusion": table,
        **nan_to_none(found),
    }


def localisation_figures(
    hits: Sequence[bool], prior_hits: Sequence[bool], groups: NDArray
) -> dict[str, Any] | None:
    """Give the pointing game (Zhang et al., 2018): how often the strongest place is tumor.

    `prior_hits` says the same of the middle of the head, which needs no network at all.
    """
    if not len(hits):
        return None
    columns = {"pointing": np.array(hits, float), "centre_prior": np.array(prior_hits, float)}
    count = len(np.unique(groups))
    found = bootstrap(
        lambda w: {name: share(w @ column, w.sum(1)) for name, column in columns.items()}, groups
    )
    found = not_collapsed(found, dict.fromkeys(columns, count))
    return {"n": len(hits), "n_groups": count, **nan_to_none(found)}
