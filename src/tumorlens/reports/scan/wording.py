"""What a Prediction means, in sentences: the same in every report of a scan."""

from dataclasses import dataclass

from tumorlens.models.bundle import Bundle
from tumorlens.predictions.decision import similar_scans, type_status
from tumorlens.records import Prediction

NOT_RECORDED = "not recorded in this bundle"
HEADLINES = {
    "tumor": "Flagged: a tumor may be visible",
    "no tumor": "Not flagged",
    "uncertain": "No answer: uncertain",
    "out of scope": "No answer: out of scope",
    "": "Could not be read",
}
UNTYPED = {
    "not asked": "Not asked: a type is named only where there may be a tumor.",
    "not typed on CT": "Undetermined: CT slices are not typed.",
}
MODALITIES = {"ct": "CT", "mri": "MRI"}


@dataclass(frozen=True)
class Wording:
    """One scan's answer in words; a sentence that has nothing to say is empty."""

    headline: str
    answer: str
    warning: str  # why the answer must not be relied on
    operating_point: str
    similar: str  # how often such a probability was a tumor
    type: str
    modality: str


def describe(prediction: Prediction, bundle: Bundle) -> Wording:
    """Put a prediction of this bundle into words; one that failed gives its error."""
    headline = HEADLINES.get(prediction.decision, prediction.decision)
    if prediction.error or prediction.tumor_probability is None:
        return Wording(headline, "", prediction.error, "", "", "", "")
    return Wording(
        headline=headline,
        answer=_answer(prediction.tumor_probability, bundle),
        warning=_warning(prediction, bundle),
        operating_point=_operating_point(prediction, bundle),
        similar=_similar(prediction, bundle),
        type=_type(prediction),
        modality=_modality(prediction),
    )


def _answer(probability: float, bundle: Bundle) -> str:
    side = "at or above" if probability >= bundle.threshold else "below"
    return (
        f"Tumor probability {probability:.3f}, {side} the threshold of "
        f"{bundle.threshold:.3f} at which this bundle flags a scan."
    )


def _warning(prediction: Prediction, bundle: Bundle) -> str:
    if prediction.decision == "out of scope":
        return (
            "This scan is unlike those the bundle was trained on: farther from its nearest "
            f"training scans than {_percent(bundle.ood_reference.kept, 1)} of validation scans. "
            "Neither probability nor type can be relied on."
        )
    if prediction.decision == "uncertain":
        band = bundle.uncertainty_band
        return (
            f"Between {band.low:.3f} and {band.high:.3f} validation scans with and without a "
            f"tumor lie mixed (of each, {_percent(band.error)} lie beyond). A probability there "
            "does not decide."
        )
    return ""


def _operating_point(prediction: Prediction, bundle: Bundle) -> str:
    chosen, measured = bundle.operating_point, bundle.performance.get(prediction.modality)
    at = f"Flagged at {bundle.threshold:.3f} (chosen on {chosen.part}: {chosen.aim}): "
    if measured:
        return (
            f"{at}sensitivity {measured.sensitivity}, specificity {measured.specificity} on "
            f"{MODALITIES[prediction.modality]} validation scans. The threshold was chosen on "
            "these scans, so elsewhere expect less."
        )
    return (
        f"{at}sensitivity {chosen.sensitivity}, specificity {chosen.specificity} on CT and MRI "
        f"together; intervals and figures of one modality: {NOT_RECORDED}."
    )


def _similar(prediction: Prediction, bundle: Bundle) -> str:
    similar = similar_scans(prediction, bundle)
    if similar is None:
        return f"How often such a probability was a tumor: {NOT_RECORDED}."
    found, modality = similar.bin, MODALITIES[prediction.modality]
    start = f"Of {found.n} {modality} validation scans with a probability of "
    if not similar.is_inside:
        start = f"No validation scan had a probability like this one. Of the nearest {found.n}, at "
    return (
        f"{start}{found.least:.3f} to {found.most:.3f}, {found.tumors} had a tumor "
        f"({_percent(found.tumors / found.n)}, 95 % interval {_percent(found.low)} to "
        f"{_percent(found.high)}; in those collections, not in any clinic)."
    )


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def _type(prediction: Prediction) -> str:
    status = type_status(prediction)
    if status in UNTYPED:
        return UNTYPED[status]
    listed = ", ".join(f"{name} {p:.2f}" for name, p in prediction.type_probabilities.items())
    name = prediction.type.capitalize()
    why = " (none reaches one half)" if status == "undetermined" else ""
    return f"{name}{why}; given a tumor: {listed}."


def _modality(prediction: Prediction) -> str:
    share = prediction.modality_probability
    taken = "" if share is None else f" (as the network sees it, {share:.3f})"
    return f"{MODALITIES.get(prediction.modality, 'not known')}{taken}"
