"""What a bundle answered, beside what is known: everything that figures are made from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.predictor import Predictor
from tumorlens.progress import Steps
from tumorlens.records import Case, Prediction
from tumorlens.study.evaluation.froc import Candidates, find_candidates
from tumorlens.study.evaluation.planes import FEATURES, estimate_planes, plane_features

Rows = NDArray[np.bool_]  # [n]: which cases


@dataclass(frozen=True)
class LabeledPredictions:
    """Predictions beside what is known, of the n cases that could be read."""

    labels: tuple[str, ...]
    groups: NDArray[np.str_]  # [n]
    probabilities: NDArray[np.float64]  # [n, atoms], calibrated
    decisions: tuple[str, ...]
    threshold: float
    temperature: float = 1.0  # that the probabilities were divided by; 1: not calibrated

    @property
    def scores(self) -> NDArray[np.float64]:
        """Tumor probabilities, [n]."""
        return np.asarray(labels.tumor_probability(self.probabilities), np.float64)

    @property
    def uncalibrated(self) -> NDArray[np.float64]:
        """Tumor probabilities as the network gave them, before its temperature, [n]."""
        # log p is logits / T up to a constant of the row, so T log p is the logits again.
        logs = self.temperature * np.log(np.maximum(self.probabilities, np.finfo(float).tiny))
        raised = np.exp(logs - logs.max(-1, keepdims=True))
        raised /= raised.sum(-1, keepdims=True)
        return np.asarray(labels.tumor_probability(raised), np.float64)

    @property
    def truth(self) -> Rows:
        """Whether each case has a tumor, [n]."""
        return np.array([labels.is_tumor(label) for label in self.labels], bool)

    @property
    def types(self) -> NDArray[np.int64]:
        """Where each case's type stands in `labels.TYPES`, -1 where none is recorded, [n]."""
        known = [labels.type_of(label) for label in self.labels]
        return np.array([labels.TYPES.index(name) if name else -1 for name in known], np.int64)

    @property
    def modalities(self) -> NDArray[np.str_]:
        """The recorded modality, or the predicted one where none is recorded, [n]."""
        return labels.modalities_of(self.labels, self.probabilities)

    def rows(self) -> dict[str, Rows]:
        """Return the rows of all cases and of each modality that is there."""
        return labels.modality_rows(self.modalities)

    def modality_rows(self) -> dict[str, Rows]:
        """Return the rows of each modality that is there."""
        return {name: rows for name, rows in self.rows().items() if name != "all"}

    def counts(self, rows: Rows) -> dict[str, int]:
        """Count scans, tumors, healthy scans and groups among some rows."""
        truth = self.truth[rows]
        return {
            "n": len(truth),
            "n_tumor": int(truth.sum()),
            "n_healthy": int((~truth).sum()),
            "n_groups": len(np.unique(self.groups[rows])),
        }


def label_predictions(
    cases: Sequence[Case], predictions: Sequence[Prediction], bundle: Bundle
) -> LabeledPredictions:
    """Put predictions beside their cases; those with an error are left out."""
    read = readable(predictions)
    cases, predictions = [cases[i] for i in read], [predictions[i] for i in read]
    return LabeledPredictions(
        labels=tuple(case.label for case in cases),
        groups=np.array([case.group_name for case in cases]),
        probabilities=np.array(
            [[p.atoms[atom] for atom in labels.ATOMS] for p in predictions], float
        ).reshape(len(cases), len(labels.ATOMS)),
        decisions=tuple(prediction.decision for prediction in predictions),
        threshold=bundle.threshold,
        temperature=bundle.temperature,
    )


def predict_with_planes(
    cases: Sequence[Case], predictor: Predictor, steps: Steps
) -> tuple[list[Prediction], list[str], list[Candidates]]:
    """Predict cases, estimate the plane of each one that could be read, and name candidates.

    Heatmaps are kept of cases with a mask alone: those of a large set would fill the memory. Of
    all others the candidates are left, the places where evidence peaks.
    """
    predictions, features, candidates = [], [], []
    with steps("predicting") as report:
        found = predictor.iter_predict([case.path for case in cases], heatmaps=True)
        for case, prediction in zip(cases, found, strict=True):
            if prediction.heatmap is not None:
                features.append(plane_features(prediction.heatmap.prepared))
            candidates.append(find_candidates(prediction.heatmap))
            predictions.append(prediction if case.mask else replace(prediction, heatmap=None))
            report(len(predictions), len(cases))
    planes = estimate_planes(np.array(features).reshape(-1, len(FEATURES)))
    return predictions, planes, candidates


def predict_cases(
    cases: Sequence[Case], predictor: Predictor, steps: Steps, what: str
) -> list[Prediction]:
    """Predict cases without heatmaps."""
    with steps(what) as report:
        return predictor.predict([case.path for case in cases], progress=report)


def readable(predictions: Sequence[Prediction]) -> list[int]:
    """Return the positions that have an answer."""
    return [i for i, prediction in enumerate(predictions) if not prediction.error]
