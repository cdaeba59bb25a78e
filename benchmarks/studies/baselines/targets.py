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
from tumorlens.study.stats.intervals import Statistics


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

    So a tumor whose type was not recorded counts as right with any type.
    """
    likeliest = [max(score.atoms, key=lambda atom: score.atoms[atom]) for score in scores]
    pairs = zip(scores, likeliest, strict=True)
    return accuracy(np.array([atom in labels.LABELS[score.label] for score, atom in pairs]))


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


_FROZEN = "MobileNet, frozen, by whole groups"
_ADAPTED = "our network adapted, by whole groups, five folds"
TARGETS: tuple[Target, ...] = (
    Target("multimodal-ours-published", "published folders, train and val alone", "classes right",
        0.985),
    Target("multimodal-shipped", "by whole groups", "classes right", 0.95),
    Target("br35h-shipped", "by whole groups", "accuracy", 0.98),
    Target("br35h-ours", f"{_FROZEN}, five folds", "accuracy", 0.98),
    Target("br35h-adapted", _ADAPTED, "accuracy", 0.98),
    Target("bohaju-shipped", "by whole groups", "F1", 0.95),
    Target("bohaju-shipped", "by whole groups", "recall", 0.98),
    Target("bohaju-ours-longer", "the author's test part", "F1", 0.95),
    Target("bohaju-ours-longer", "the author's test part", "recall", 0.98),
    Target("navoneel-ours", f"{_FROZEN}, 5 x 5 folds", "accuracy", 0.92),
    Target("navoneel-ours", f"{_FROZEN}, 5 x 5 folds", "recall", 0.95),
    Target("navoneel-adapted", _ADAPTED, "accuracy", 0.92),
    Target("navoneel-adapted", _ADAPTED, "recall", 0.95),
    Target("multimodal-xception-grouped", _FROZEN, "AUC on MRI", 0.989),
    Target("multimodal-xception-grouped", _FROZEN, "AUC on CT", 0.989),
    Target("multimodal-xception-grouped", _FROZEN, "type right", 0.847),
)  # fmt: skip
