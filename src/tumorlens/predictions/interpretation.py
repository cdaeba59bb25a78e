"""What a Prediction means by its bundle's own statistics: the facts behind every sentence."""

from dataclasses import dataclass
from typing import Literal

from tumorlens.models.bundle import Bundle
from tumorlens.models.performance import ReliabilityBin
from tumorlens.records import Prediction

TypeStatus = Literal["not asked", "not typed on CT", "undetermined", "named"]


@dataclass(frozen=True)
class SimilarScans:
    """The validation scans of one modality whose tumor probability was nearest to a scan's."""

    bin: ReliabilityBin
    is_inside: bool  # False: the scan's own probability lies in no bin, and this is the nearest


def similar_scans(prediction: Prediction, bundle: Bundle) -> SimilarScans | None:
    """Return the bin around a prediction's probability, or else the nearest.

    None where there is no probability, or where the bundle did not record such scans.
    """
    measured = bundle.measured.get(prediction.modality)
    p = prediction.tumor_probability
    if measured is None or p is None or not measured.bins:
        return None
    nearest = min(measured.bins, key=lambda b: max(b.least - p, p - b.most, 0.0))
    return SimilarScans(nearest, is_inside=nearest.least <= p <= nearest.most)


def type_status(prediction: Prediction) -> TypeStatus:
    """Tell why a prediction names a tumor type, or why not."""
    if not prediction.type:
        return "not asked"
    if not prediction.type_probabilities:
        return "not typed on CT"
    return "undetermined" if prediction.type == "undetermined" else "named"
