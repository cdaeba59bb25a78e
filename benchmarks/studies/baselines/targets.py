"""Figures of a run from its scores, and what our network is to reach of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.records import Estimate
from tumorlens.study.experiments.scores import (
    Score,
    Summary,
    accuracy,
    detection,
    probabilities_of,
    summarize,
    truth_of,
    type_accuracy,
)
from tumorlens.study.stats.discrimination import areas
from tumorlens.study.stats.intervals import Statistics, bootstrap, estimate_of, share

Counted = Callable[[Sequence[Score]], NDArray[np.bool_]]  # which scans a figure counts


def own_threshold(scores: Sequence[Score]) -> NDArray[np.bool_]:
    """Flag by the threshold that each network chose on validation."""
    return probabilities_of(scores) >= np.array([score.threshold for score in scores])


def one_half(scores: Sequence[Score]) -> NDArray[np.bool_]:
    """Flag by one half."""
    return probabilities_of(scores) >= 0.5


def best_on_test(scores: Sequence[Score]) -> NDArray[np.bool_]:
    """Flag by the threshold with the best accuracy on the very cases judged by it: a fault."""
    found, truth = probabilities_of(scores), truth_of(scores)
    right = {t: ((found >= t) == truth).mean() for t in np.unique(found)}
    return found >= max(right, key=lambda threshold: right[threshold])


THRESHOLDS: Mapping[str, Callable[[Sequence[Score]], NDArray[np.bool_]]] = {
    "own": own_threshold,
    "half": one_half,
    "best on test": best_on_test,
}


def detection_of(scores: Sequence[Score], threshold: str = "own") -> Summary:
    """Return the figures of detection; of several repeats, the mean of theirs."""
    return summarize(scores, lambda part: detection(part, THRESHOLDS[threshold](part)))


def class_accuracy(scores: Sequence[Score]) -> Statistics:
    """Measure how often the likeliest atom is in the set of the label.

    So a tumor whose type was not recorded counts as right with any type; of a network that has a
    class for it, only that class is right.
    """
    return accuracy(np.array([_is_right(score) for score in scores]))


def _is_right(score: Score) -> bool:
    likeliest = max(score.atoms, key=lambda atom: score.atoms[atom])
    return likeliest == score.label or (
        score.label not in score.atoms and likeliest in labels.LABELS[score.label]
    )


def mismatched(scores: Sequence[Score], *, seed: int = 0) -> float:
    """Return the accuracy at one half where labels are in another order than answers: a fault."""
    shuffled = np.random.default_rng(seed).permutation(one_half(scores))
    return float((shuffled == truth_of(scores)).mean())


def _detection(name: str, modality: str, scores: Sequence[Score], threshold: str) -> Estimate:
    own = [s for s in scores if not modality or labels.modality_of(s.label) == modality]
    return detection_of(own, threshold).figures[name]


def _classes(scores: Sequence[Score], threshold: str) -> Estimate:
    return summarize(scores, class_accuracy).figures["accuracy"]


def _types(scores: Sequence[Score], threshold: str) -> Estimate | None:
    typed = [score for score in scores if labels.type_of(score.label)]
    return summarize(typed, type_accuracy).figures["accuracy"] if typed else None


FIGURES: Mapping[str, Callable[[Sequence[Score], str], Estimate | None]] = {
    "accuracy": partial(_detection, "accuracy", ""),
    "recall": partial(_detection, "sensitivity", ""),
    "specificity": partial(_detection, "specificity", ""),
    "F1": partial(_detection, "f1", ""),
    "AUC": partial(_detection, "auc", ""),
    "AUC on CT": partial(_detection, "auc", "ct"),
    "AUC on MRI": partial(_detection, "auc", "mri"),
    "classes right": _classes,
    "type right": _types,
}


TYPED = ("classes right", "AUC on CT", "AUC on MRI", "type right")
DETECTED = ("accuracy", "recall", "specificity", "F1", "AUC")


def columns_of(data_set: str) -> tuple[str, ...]:
    """Return the figures that a data set can show."""
    return TYPED if data_set == "multimodal" else DETECTED


@dataclass(frozen=True)
class Target:
    """A figure that a run is to reach."""

    run: str
    split: str  # in words
    figure: str  # a row of FIGURES
    minimum: float

    def verdict(self, found: float) -> str:
        """Return whether the figure is there, and by how much it is not."""
        return "reached" if found >= self.minimum else f"short by {self.minimum - found:.3f}"


TARGETS: tuple[Target, ...] = (
    Target("multimodal-ours-published", "published folders, train and val alone", "classes right",
        0.985),
    Target("multimodal-ours-grouped", "by whole groups, that set alone", "classes right", 0.96),
    Target("multimodal-shipped", "by whole groups, the shipped network", "classes right", 0.96),
    Target("br35h-ours", "by whole groups, five folds", "accuracy", 0.93),
    Target("br35h-ours-unseen", "every scan, none of the set learned", "accuracy", 0.93),
    Target("br35h-ours-adapted", "five folds, adapted", "accuracy", 0.93),
    Target("bohaju-ours-published", "the author's test part", "F1", 0.95),
    Target("bohaju-ours-published", "the author's test part", "recall", 0.98),
    Target("bohaju-ours-adapted", "the author's test part, adapted", "F1", 0.95),
    Target("bohaju-ours-adapted", "the author's test part, adapted", "recall", 0.98),
    Target("navoneel-ours", "by whole groups, 5 x 5 folds", "accuracy", 0.92),
    Target("navoneel-ours", "by whole groups, 5 x 5 folds", "recall", 0.95),
    Target("navoneel-ours-unseen", "every scan, none of the set learned", "accuracy", 0.92),
    Target("navoneel-ours-unseen", "every scan, none of the set learned", "recall", 0.95),
    Target("navoneel-ours-adapted", "5 x 5 folds, adapted", "accuracy", 0.92),
    Target("navoneel-ours-adapted", "5 x 5 folds, adapted", "recall", 0.95),
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two runs that answered the same scans: what ours is ahead by."""

    ours: str
    theirs: str
    figures: tuple[str, ...]  # rows of DIFFERENCES


def _of_modality(modality: str) -> Counted:
    return lambda scores: np.array([labels.modality_of(s.label) == modality for s in scores])


def _are_typed(scores: Sequence[Score]) -> NDArray[np.bool_]:
    return np.array([bool(labels.type_of(score.label)) for score in scores])


def _areas_of(modality: str) -> Callable[[Sequence[Score]], Statistics]:
    def measure(scores: Sequence[Score]) -> Statistics:
        own = _of_modality(modality)(scores)
        truth, found = truth_of(scores), probabilities_of(scores)
        return lambda weights: {"accuracy": areas(truth[own], found[own], weights[:, own])["auc"]}

    return measure


def _types_of(scores: Sequence[Score]) -> Statistics:
    typed = _are_typed(scores)
    right = np.array([score.type == labels.type_of(score.label) for score in scores]) & typed
    return lambda weights: {"accuracy": share(weights @ right, weights @ typed)}


DIFFERENCES: Mapping[str, Callable[[Sequence[Score]], Statistics]] = {
    "classes right": class_accuracy,
    "AUC on CT": _areas_of("ct"),
    "AUC on MRI": _areas_of("mri"),
    "type right": _types_of,
}
# Of all scans, those that a difference is measured on.
COUNTED: Mapping[str, Counted] = {
    "classes right": lambda scores: np.ones(len(scores), bool),
    "AUC on CT": _of_modality("ct"),
    "AUC on MRI": _of_modality("mri"),
    "type right": _are_typed,
}
PAIRS: tuple[Pair, ...] = (
    Pair("multimodal-shipped", "multimodal-xception-grouped", tuple(DIFFERENCES)),
    Pair("multimodal-shipped", "multimodal-xception-grouped-tuned", tuple(DIFFERENCES)),
    Pair("multimodal-ours-grouped", "multimodal-xception-grouped", tuple(DIFFERENCES)),
    Pair("multimodal-ours-published", "multimodal-xception-published", tuple(DIFFERENCES)),
)  # fmt: skip


def difference(ours: Sequence[Score], theirs: Sequence[Score], figure: str) -> Estimate:
    """Return by how much a figure of ours is higher on the scans that both answered.

    The interval is of a bootstrap over groups that draws the same groups for both.
    """
    known = {score.case: score for score in theirs}
    own = [score for score in ours if score.case in known]
    both = [DIFFERENCES[figure](rows) for rows in (own, [known[score.case] for score in own])]
    groups = np.array([score.group for score in own])
    found = bootstrap(lambda w: {"gain": both[0](w)["accuracy"] - both[1](w)["accuracy"]}, groups)
    return estimate_of(found, "gain", int(COUNTED[figure](own).sum()))
