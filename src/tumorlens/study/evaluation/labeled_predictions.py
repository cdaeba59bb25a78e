"""What a bundle answered, beside what is known: everything that figures are made from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.models.bundle import Bundle
from tumorlens.records import Case, Prediction


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
    def truth(self) -> NDArray[np.bool_]:
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

    def rows(self) -> dict[str, NDArray[np.bool_]]:
        """Return the rows of all cases and of each modality that is there, [n] each."""
        return labels.modality_rows(self.modalities)


def label_predictions(
    cases: Sequence[Case], predictions: Sequence[Prediction], bundle: Bundle
) -> LabeledPredictions:
    """Put readable predictions beside their cases."""
    return LabeledPredictions(
        labels=tuple(case.label for case in cases),
        groups=np.array([case.group or case.key for case in cases]),
        probabilities=np.array(
            [[p.atoms[atom] for atom in labels.ATOMS] for p in predictions], float
        ).reshape(len(cases), len(labels.ATOMS)),
        decisions=tuple(prediction.decision for prediction in predictions),
        threshold=bundle.threshold,
        temperature=bundle.temperature,
    )
