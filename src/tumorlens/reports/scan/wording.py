"""What a Prediction means, in sentences: the same in every report of a scan."""

from dataclasses import dataclass

from tumorlens.models.bundle import Bundle
from tumorlens.models.performance import Measured, ReliabilityBin
from tumorlens.records import Prediction

NOT_RECORDED = "not recorded in this bundle"
HEADLINES = {
    "tumor": "Flagged: a tumor may be visible",
    "no tumor": "Not flagged",
    "uncertain": "No answer: uncertain",
    "out of scope": "No answer: out of scope",
    "": "Could not be read",
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
    measured = bundle.measured.get(prediction.modality)
    return Wording(
        headline=headline,
        answer=_answer(prediction.tumor_probability, bundle),
        warning=_warning(prediction, bundle),
        operating_point=_operating_point(prediction, bundle, measured),
        similar=_similar(prediction.tumor_probability, prediction.modality, measured),
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
            f"training scans than {_percent(bundle.scope.kept, 1)} of validation scans. Neither "
            "probability nor type can be relied on."
        )
    if prediction.decision == "uncertain":
        band = bundle.abstention
        return (
            f"Between {band.low:.3f} and {band.high:.3f} validation scans with and without a "
            f"tumor lie mixed (of each, {_percent(band.error)} lie beyond). A probability there "
            "does not decide."
        )
    return ""


def _operating_point(prediction: Prediction, bundle: Bundle, measured: Measured | None) -> str:
    choice = bundle.threshold_choice
    at = f"Flagged at {bundle.threshold:.3f} (chosen on {choice['part']}: {choice['aim']}): "
    if measured:
        return (
            f"{at}sensitivity {measured.sensitivity}, specificity {measured.specificity} on "
            f"{MODALITIES[prediction.modality]} validation scans. The threshold was chosen on "
            "these scans, so elsewhere expect less."
        )
    healthy = choice["n"] - choice["n_tumor"]
    return (
        f"{at}sensitivity {choice['sensitivity']:.3f} (n={choice['n_tumor']}), specificity "
        f"{choice['specificity']:.3f} (n={healthy}) on CT and MRI together; intervals and "
        f"figures of one modality: {NOT_RECORDED}."
    )


def _similar(probability: float, modality: str, measured: Measured | None) -> str:
    if measured is None:
        return f"How often such a probability was a tumor: {NOT_RECORDED}."
    found = _bin_of(probability, measured.bins)
    if found is None:
        return "No validation scan had a probability like this one."
    return (
        f"Of {found.n} {MODALITIES[modality]} validation scans with a probability of "
        f"{found.least:.3f} to {found.most:.3f}, {found.tumors} had a tumor "
        f"({_percent(found.tumors / found.n)}, 95 % interval {_percent(found.low)} to "
        f"{_percent(found.high)}; "
        "in those collections, not in any clinic)."
    )


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def _bin_of(probability: float, bins: tuple[ReliabilityBin, ...]) -> ReliabilityBin | None:
    """Give the bin around a probability, or the nearer one where it lies between two."""
    inside = [b for b in bins if b.least <= probability <= b.most]
    if inside:
        return inside[0]
    below = [b for b in bins if b.most < probability]
    above = [b for b in bins if b.least > probability]
    if not below or not above:
        return None
    gap_below, gap_above = probability - below[-1].most, above[0].least - probability
    return below[-1] if gap_below <= gap_above else above[0]


def _type(prediction: Prediction) -> str:
    if not prediction.type:
        return "Not asked: a type is named only where there may be a tumor."
    if not prediction.type_probabilities:
        return "Undetermined: CT slices are not typed."
    listed = ", ".join(f"{name} {p:.2f}" for name, p in prediction.type_probabilities.items())
    name = prediction.type.capitalize()
    why = " (none reaches one half)" if prediction.type == "undetermined" else ""
    return f"{name}{why}; given a tumor: {listed}."


def _modality(prediction: Prediction) -> str:
    share = prediction.modality_probability
    taken = "" if share is None else f" (as the network sees it, {share:.3f})"
    return f"{MODALITIES.get(prediction.modality, 'not told')}{taken}"
