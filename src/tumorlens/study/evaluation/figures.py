"""The figures of evaluation.json: detection, type, calibration, localisation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score, roc_curve

from tumorlens import labels
from tumorlens.study.evaluation.intervals import with_intervals

CALIBRATION_BINS = 15
ROC_POINTS = 200


@dataclass(frozen=True)
class Answers:
    """Predictions beside what is known, of the n cases that could be read."""

    labels: tuple[str, ...]
    groups: NDArray[np.str_]  # [n]
    probabilities: NDArray[np.float64]  # [n, atoms], calibrated
    decisions: tuple[str, ...]
    threshold: float

    @property
    def scores(self) -> NDArray[np.float64]:
        """Tumor probabilities, [n]."""
        return np.asarray(labels.tumor_probability(self.probabilities), np.float64)

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Whether each case has a tumor, [n]."""
        return np.array([labels.is_tumor(label) for label in self.labels], bool)

    @property
    def modalities(self) -> NDArray[np.str_]:
        """The recorded modality, or the predicted one where none is recorded, [n]."""
        mri = labels.modality_probability(self.probabilities, "mri") >= 0.5
        predicted = np.where(mri, "mri", "ct")
        known = [labels.modality_of(label) for label in self.labels]
        return np.array([k or p for k, p in zip(known, predicted, strict=True)])


def detection_figures(answers: Answers, rows: NDArray[np.bool_]) -> dict[str, Any]:
    """Give AUC, sensitivity, specificity, accuracy and F1 with intervals, of some rows.

    Figures that need both classes are None where one is missing.
    """
    truth, scores = answers.truth[rows], answers.scores[rows]
    flagged = scores >= answers.threshold

    def statistics(weights: NDArray[np.float64]) -> dict[str, float]:
        tp, fn = weights[truth & flagged].sum(), weights[truth & ~flagged].sum()
        fp, tn = weights[~truth & flagged].sum(), weights[~truth & ~flagged].sum()
        used = weights > 0
        both = truth[used].any() and not truth[used].all()
        return {
            "auc": roc_auc_score(truth[used], scores[used], sample_weight=weights[used])
            if both
            else np.nan,
            "sensitivity": _ratio(tp, tp + fn),
            "specificity": _ratio(tn, tn + fp),
            "accuracy": _ratio(tp + tn, tp + tn + fp + fn),
            "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        }

    found = with_intervals(statistics, answers.groups[rows])
    counts = {
        "n": int(rows.sum()),
        "n_tumor": int(truth.sum()),
        "n_healthy": int((~truth).sum()),
        "n_groups": len(np.unique(answers.groups[rows])),
        "threshold": answers.threshold,
        "confusion": confusion_matrix(truth, flagged, labels=[False, True]).tolist(),
    }
    return counts | _plain(found)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else np.nan


def _plain(found: Mapping[str, float]) -> dict[str, float | None]:
    """Write what is not a number as null, which JSON knows."""
    return {key: float(v) if np.isfinite(v) else None for key, v in found.items()}


def roc_points(answers: Answers, rows: NDArray[np.bool_]) -> dict[str, list[float]] | None:
    """Give the ROC curve of some rows, at most ROC_POINTS points; None with one class."""
    truth = answers.truth[rows]
    if truth.all() or not truth.any():
        return None
    fpr, tpr, thresholds = roc_curve(truth, answers.scores[rows])
    kept = np.unique(np.linspace(0, len(fpr) - 1, min(ROC_POINTS, len(fpr))).astype(int))
    thresholds = np.minimum(thresholds, 1.0)
    return {
        "fpr": fpr[kept].round(5).tolist(),
        "tpr": tpr[kept].round(5).tolist(),
        "threshold": thresholds[kept].round(6).tolist(),
    }


def type_figures(answers: Answers) -> dict[str, Any] | None:
    """Give accuracy and macro F1 of the type, of MRI tumors whose type is recorded.

    The type is the likeliest one given a tumor, whether or not the tumor was flagged.
    """
    known = [labels.type_of(label) for label in answers.labels]
    rows = np.array([name is not None for name in known], bool)
    if not rows.any():
        return None
    truth = np.array([labels.TYPES.index(name) for name in known if name])
    chosen = labels.type_probabilities(answers.probabilities[rows]).argmax(-1)
    present = np.unique(truth)

    def statistics(weights: NDArray[np.float64]) -> dict[str, float]:
        return {
            "accuracy": _ratio(weights[truth == chosen].sum(), weights.sum()),
            "macro_f1": float(
                f1_score(truth, chosen, labels=present, average="macro", sample_weight=weights,
                         zero_division=0)
            ),
        }  # fmt: skip

    found = with_intervals(statistics, answers.groups[rows])
    matrix = confusion_matrix(truth, chosen, labels=range(len(labels.TYPES)))
    return {
        "n": int(rows.sum()),
        "n_groups": len(np.unique(answers.groups[rows])),
        "names": list(labels.TYPES),
        "confusion": matrix.tolist(),
        **_plain(found),
    }


def calibration_figures(answers: Answers) -> dict[str, Any]:
    """Give the expected calibration error (equal-mass bins) and the Brier score of detection."""
    scores, truth = answers.scores, answers.truth
    order = np.argsort(scores, kind="stable")
    bins = [b for b in np.array_split(order, min(CALIBRATION_BINS, len(order))) if len(b)]
    table = [
        {"n": len(b), "predicted": float(scores[b].mean()), "observed": float(truth[b].mean())}
        for b in bins
    ]
    gaps = [row["n"] * abs(row["predicted"] - row["observed"]) for row in table]
    return {
        "n": len(scores),
        "ece": float(np.sum(gaps) / max(1, len(scores))),
        "brier": float(np.mean((scores - truth) ** 2)) if len(scores) else None,
        "bins": table,
    }


def class_figures(answers: Answers) -> dict[str, Any]:
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
    found = with_intervals(
        lambda weights: {"accuracy": _ratio(weights[right].sum(), weights.sum())}, answers.groups
    )
    return {
        "n": len(right),
        "labels": names,
        "atoms": list(labels.ATOMS),
        "confusion": table,
        **_plain(found),
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
    found = with_intervals(
        lambda w: {name: _ratio((w * c).sum(), w.sum()) for name, c in columns.items()}, groups
    )
    return {"n": len(hits), "n_groups": len(np.unique(groups)), **_plain(found)}
