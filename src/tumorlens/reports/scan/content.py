"""What a report of scans says and shows: the same in every form of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.language import translate
from tumorlens.models.bundle import Bundle
from tumorlens.models.bundle_schema import EACH_CLASS
from tumorlens.predictions.decision import similar_scans, type_status
from tumorlens.predictions.heatmaps import overlay
from tumorlens.records import Heatmap, Prediction, Scan

LONGEST = 512  # pixels of the scan as shown
SIDE = 384  # of the prepared images
LEGEND = (12, 256)  # height and width of the color scale
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


@dataclass(frozen=True)
class Examined:
    """A prediction with the scan it is of; without one, the scan as stored is not shown."""

    prediction: Prediction
    scan: Scan | None = None
    reader: str = ""  # what a reader made of the answer, in words


@dataclass(frozen=True)
class Section:
    """One scan of a report."""

    name: str
    prediction: Prediction
    words: Wording
    stored: NDArray[np.uint8] | None  # [h, w], as it was stored
    prepared: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None  # alone, and under its evidence
    strongest: str  # how strong the strongest place is
    reader: str  # what a reader made of the answer


def sections(examined: Sequence[Examined], bundle: Bundle) -> list[Section]:
    """Return what a report says and shows of each scan that `bundle` has answered."""
    return [
        Section(
            name=Path(item.prediction.path).name,
            prediction=item.prediction,
            words=describe(item.prediction, bundle),
            stored=item.scan and stored_image(item.scan),
            prepared=item.prediction.heatmap and prepared_images(item.prediction.heatmap),
            strongest=strongest(item.prediction.heatmap) if item.prediction.heatmap else "",
            reader=item.reader,
        )
        for item in examined
    ]


def made_text(made: datetime) -> str:
    """Write when a report was made, to the minute."""
    return f"{made:%Y-%m-%d %H:%M} {made.tzname() or ''}".strip()


def describe(prediction: Prediction, bundle: Bundle) -> Wording:
    """Put a prediction of this bundle into words; one that failed gives its error."""
    headline = translate(HEADLINES.get(prediction.decision, prediction.decision))
    if prediction.error or prediction.tumor_probability is None:
        return Wording(headline, "", translate(prediction.error), "", "", "", "")
    if prediction.decision == "out of scope":
        warning = _warning(prediction, bundle)
        return Wording(headline, "", warning, "", "", "", _modality(prediction))
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
    figures = {"probability": f"{probability:.3f}", "threshold": f"{bundle.threshold:.3f}"}
    if probability >= bundle.threshold:
        return translate(
            "Tumor probability {probability}, at or above the threshold of {threshold} at which "
            "this bundle flags a scan.",
            **figures,
        )
    return translate(
        "Tumor probability {probability}, below the threshold of {threshold} at which this bundle "
        "flags a scan.",
        **figures,
    )


def _warning(prediction: Prediction, bundle: Bundle) -> str:
    if prediction.decision == "out of scope":
        return translate(
            "This scan is unlike those the bundle was trained on: farther from its nearest "
            "training scans than {share} of validation scans. No probability and no type are "
            "given.",
            share=_percent(bundle.ood_reference.kept, 1),
        )
    if prediction.decision == "uncertain":
        band = bundle.uncertainty_band
        error = _percent(band.error)
        beyond = (
            translate("of each, {error} lie beyond", error=error)
            if band.error_of == EACH_CLASS
            else translate("beyond, at most {error} of the answers were wrong", error=error)
        )
        return translate(
            "Between {low} and {high} validation scans with and without a tumor lie mixed "
            "({beyond}). A probability there does not decide.",
            low=f"{band.low:.3f}", high=f"{band.high:.3f}", beyond=beyond,
        )  # fmt: skip
    return ""


def _operating_point(prediction: Prediction, bundle: Bundle) -> str:
    chosen, measured = bundle.operating_point, bundle.performance.get(prediction.modality)
    at = translate(
        "Flagged at {threshold} (chosen on {part}: {aim})", threshold=f"{bundle.threshold:.3f}",
        part=translate(chosen.part), aim=translate(chosen.aim),
    )  # fmt: skip
    if measured:
        return f"{at}: " + translate(
            "sensitivity {sensitivity}, specificity {specificity} on {modality} validation scans. "
            "The threshold was chosen on these scans, so elsewhere expect less.",
            sensitivity=measured.sensitivity,
            specificity=measured.specificity,
            modality=_named(prediction),
        )
    return f"{at}: " + translate(
        "sensitivity {sensitivity}, specificity {specificity} on CT and MRI together; intervals "
        "and figures of one modality: not recorded in this bundle.",
        sensitivity=chosen.sensitivity,
        specificity=chosen.specificity,
    )


def _similar(prediction: Prediction, bundle: Bundle) -> str:
    similar = similar_scans(prediction, bundle)
    if similar is None:
        return translate("How often such a probability was a tumor: not recorded in this bundle.")
    found = similar.bin
    start = (
        translate("Of {n} {modality} validation scans with a probability of",
                  n=found.n, modality=_named(prediction))
        if similar.is_inside
        else translate("No validation scan had a probability like this one. Of the nearest {n}, at",
                       n=found.n)
    )  # fmt: skip
    return f"{start} " + translate(
        "{least} to {most}, {tumors} had a tumor ({share}, 95 % interval {low} to {high}; in those "
        "collections, not in any clinic).",
        least=f"{found.least:.3f}", most=f"{found.most:.3f}", tumors=found.tumors,
        share=_percent(found.tumors / found.n), low=_percent(found.low), high=_percent(found.high),
    )  # fmt: skip


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def _type(prediction: Prediction) -> str:
    status = type_status(prediction)
    if status in UNTYPED:
        return translate(UNTYPED[status])
    listed = ", ".join(
        f"{translate(name)} {p:.2f}" for name, p in prediction.type_probabilities.items()
    )
    name = translate(prediction.type).capitalize()
    if status == "undetermined":
        return translate(
            "{name} (none reaches one half); given a tumor: {listed}.", name=name, listed=listed
        )
    return translate("{name}; given a tumor: {listed}.", name=name, listed=listed)


def _modality(prediction: Prediction) -> str:
    share = prediction.modality_probability
    named = _named(prediction)
    if share is None:
        return named
    facts = {"modality": named, "share": f"{share:.3f}"}
    if prediction.seen_modality != prediction.modality:
        return translate("{modality}, as the file says (the network gives it {share})", **facts)
    return translate("{modality} (as the network sees it, {share})", **facts)


def _named(prediction: Prediction) -> str:
    return translate(MODALITIES.get(prediction.modality, "not known"))


def gray_levels(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Fill the gray scale with what lies between the 0.5th and the 99.5th percentile: [h, w]."""
    low, high = np.percentile(pixels, [0.5, 99.5])
    return np.clip((pixels - low) * (255 / max(high - low, 1e-12)), 0, 255).astype(np.uint8)


def stored_image(scan: Scan) -> NDArray[np.uint8]:
    """Show a scan as it was stored, in `gray_levels`, its longer side at most LONGEST: [h, w]."""
    gray = gray_levels(scan.pixels)
    scale = LONGEST / max(gray.shape)
    if scale >= 1:
        return gray
    size = tuple(max(1, round(length * scale)) for length in gray.shape[::-1])
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)


def prepared_images(heatmap: Heatmap) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Show what the network saw, and the same under its evidence: [SIDE, SIDE, 3] each."""
    both = overlay(heatmap, side=SIDE)
    return both[:, :SIDE], both[:, SIDE:]


def color_scale() -> NDArray[np.uint8]:
    """Draw the colors of the evidence, from none to this scan's strongest place."""
    height, width = LEGEND
    ramp = np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))
    return np.asarray(cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO), np.uint8)


def strongest(heatmap: Heatmap) -> str:
    """Say how strong the strongest place is, in logit units."""
    top = float(heatmap.evidence.max())
    if top <= 0:
        return translate("No place speaks for a tumor.")
    return translate("Strongest place: {top} logits. Colors are relative to it.", top=f"{top:+.1f}")
