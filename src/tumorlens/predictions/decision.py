"""From logits to a decision, and what the decision means by the bundle's own statistics."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tumorlens.models.bundle import Bundle, OodReference, UncertaintyBand
from tumorlens.models.performance import ReliabilityBin
from tumorlens.records import Decision, Prediction

TypeStatus = Literal["not asked", "not typed on CT", "undetermined", "named"]


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return the probabilities of logits over a temperature, [..., atoms]; rows sum to 1.

    One temperature for all atoms calibrates them (Guo et al., 2017).
    """
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(-1, keepdims=True)
    raised = np.exp(scaled)
    return raised / raised.sum(-1, keepdims=True)


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return log probabilities, [..., atoms], without overflow and in the type of the logits."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def neighbor_distance(
    embedding: NDArray[np.floating], reference: OodReference
) -> NDArray[np.float64]:
    """Return the cosine distance to the k-th nearest training embedding, [n]; 0 is identical.

    After Sun et al. (2022), who found it better than class-conditional Gaussians.
    """
    norms = np.linalg.norm(embedding, axis=1, keepdims=True)
    similarity = (embedding / np.maximum(norms, 1e-12)) @ reference.references.T
    nearest = np.partition(similarity, -reference.neighbors, axis=1)[:, -reference.neighbors]
    return 1.0 - nearest.astype(np.float64)


def decide(
    tumor_probability: float,
    distance: float,
    *,
    threshold: float,
    band: UncertaintyBand,
    reference: OodReference,
) -> Decision:
    """Decide on one scan; `distance` is its `neighbor_distance`."""
    if distance > reference.limit:
        return "out of scope"
    if band.low < tumor_probability < band.high:
        return "uncertain"
    return "tumor" if tumor_probability >= threshold else "no tumor"


@dataclass(frozen=True)
class SimilarScans:
    """The validation scans of one modality whose tumor probability was nearest to a scan's."""

    bin: ReliabilityBin
    is_inside: bool  # False: the scan's own probability lies in no bin, and this is the nearest


def similar_scans(prediction: Prediction, bundle: Bundle) -> SimilarScans | None:
    """Return the bin around a prediction's probability, or else the nearest.

    None where there is no probability, or where the bundle did not record such scans.
    """
    performance = bundle.performance.get(prediction.modality)
    p = prediction.tumor_probability
    if performance is None or p is None or not performance.bins:
        return None
    nearest = min(performance.bins, key=lambda b: max(b.least - p, p - b.most, 0.0))
    return SimilarScans(nearest, is_inside=nearest.least <= p <= nearest.most)


def type_status(prediction: Prediction) -> TypeStatus:
    """Tell why a prediction names a tumor type, or why not."""
    if not prediction.type:
        return "not asked"
    if not prediction.type_probabilities:
        return "not typed on CT"
    return "undetermined" if prediction.type == "undetermined" else "named"
