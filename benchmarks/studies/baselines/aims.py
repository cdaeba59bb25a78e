"""What our network is to reach on the images of each earlier system."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studies.baselines.figures import Row, classes_of, detection_of, types_of

from tumorlens import labels

Figure = Mapping[str, Any]


@dataclass(frozen=True)
class Aim:
    """A figure that an arm is to reach."""

    arm: str
    asked: str  # in words
    figure: str  # a row of FIGURES
    least: float


def _detection(name: str, modality: str = "") -> Any:
    def read(rows: Sequence[Row], measure: str) -> Figure | None:
        own = [r for r in rows if not modality or labels.modality_of(r["label"]) == modality]
        found = detection_of(own, measure)
        n = {"sensitivity": "n_tumor"}.get(name, "n")
        return {"n": found[n], **{f"value{b}": found[f"{name}{b}"] for b in ("", "_low", "_high")}}

    return read


def _accuracy(read: Any) -> Any:
    def of(rows: Sequence[Row], measure: str) -> Figure | None:
        found = read(rows)
        bounds = ("", "_low", "_high")
        return found and {
            "n": found["n"], **{f"value{b}": found[f"accuracy{b}"] for b in bounds}
        }  # fmt: skip

    return of


FIGURES: Mapping[str, Any] = {
    "accuracy": _detection("accuracy"),
    "recall": _detection("sensitivity"),
    "F1": _detection("f1"),
    "AUC": _detection("auc"),
    "AUC on CT": _detection("auc", "ct"),
    "AUC on MRI": _detection("auc", "mri"),
    "classes right": _accuracy(classes_of),
    "type right": _accuracy(types_of),
}

AIMS: tuple[Aim, ...] = (
    Aim("multimodal-ours-published", "published folders, train and val alone", "classes right",
        0.985),
    Aim("multimodal-shipped", "by whole groups", "classes right", 0.95),
    Aim("br35h-shipped", "by whole groups", "accuracy", 0.98),
    Aim("br35h-ours", "MobileNet, frozen, by whole groups, five folds", "accuracy", 0.98),
    Aim("br35h-adapted", "our network adapted, by whole groups, five folds", "accuracy", 0.98),
    Aim("bohaju-shipped", "by whole groups", "F1", 0.95),
    Aim("bohaju-shipped", "by whole groups", "recall", 0.98),
    Aim("bohaju-ours-longer", "the author's test part", "F1", 0.95),
    Aim("bohaju-ours-longer", "the author's test part", "recall", 0.98),
    Aim("navoneel-ours", "MobileNet, frozen, by whole groups, 5 x 5 folds", "accuracy", 0.92),
    Aim("navoneel-ours", "MobileNet, frozen, by whole groups, 5 x 5 folds", "recall", 0.95),
    Aim("navoneel-adapted", "our network adapted, by whole groups, five folds", "accuracy", 0.92),
    Aim("navoneel-adapted", "our network adapted, by whole groups, five folds", "recall", 0.95),
    Aim("multimodal-xception-grouped", "MobileNet, frozen, by whole groups", "AUC on MRI", 0.989),
    Aim("multimodal-xception-grouped", "MobileNet, frozen, by whole groups", "AUC on CT", 0.989),
    Aim("multimodal-xception-grouped", "MobileNet, frozen, by whole groups", "type right", 0.847),
)  # fmt: skip


def verdict(found: Figure, aim: Aim) -> str:
    """Say whether the figure is there, and by how much it is not."""
    if found["value"] >= aim.least:
        return "reached"
    return f"short by {aim.least - found['value']:.3f}"
