"""One answer in sentences, from the bundle's own statistics."""

from dataclasses import dataclass

from tumorlens.models.bundle import Bundle
from tumorlens.predictions.interpretation import similar_scans, type_status
from tumorlens.records import Prediction
from tumorlens.services.dashboard.texts import Say


@dataclass(frozen=True)
class InWords:
    """What a page writes of one answer."""

    decision: str
    type: str
    similar: str  # how often such an answer was a tumor on validation
    small: str  # modality, bundle, what was tolerated


def in_words(prediction: Prediction, bundle: Bundle, say: Say) -> InWords:
    """Say what was decided and why, in the language of `say`."""
    return InWords(
        decision=_decision(prediction, bundle, say),
        type=_type(prediction, say),
        similar=_similar(prediction, bundle, say),
        small=_small(prediction, say),
    )


def _decision(prediction: Prediction, bundle: Bundle, say: Say) -> str:
    band = bundle.abstention
    return say(
        f"words.{prediction.decision}",
        probability=f"{prediction.tumor_probability:.3f}",
        threshold=f"{bundle.threshold:.3f}",
        low=f"{band.low:.3f}",
        high=f"{band.high:.3f}",
        error=f"{100 * band.error:.0f} %",
        kept=f"{100 * bundle.scope.kept:.1f} %",
    )


def _type(prediction: Prediction, say: Say) -> str:
    status = type_status(prediction)
    if status in ("not asked", "not typed on CT"):
        return say("words.type_none" if status == "not asked" else "words.type_ct")
    return say(f"type.{prediction.type}")


def _similar(prediction: Prediction, bundle: Bundle, say: Say) -> str:
    similar = similar_scans(prediction, bundle)
    if similar is None:
        return say("words.not_recorded")
    found = similar.bin
    return say(
        "words.similar" if similar.is_inside else "words.nearest",
        n=found.n,
        modality=prediction.modality.upper(),
        least=f"{found.least:.3f}",
        most=f"{found.most:.3f}",
        tumors=found.tumors,
        share=f"{found.tumors / found.n:.3f}",
        low=f"{found.low:.3f}",
        high=f"{found.high:.3f}",
    )


def _small(prediction: Prediction, say: Say) -> str:
    modality = f"{prediction.modality.upper()} {prediction.modality_probability:.2f}"
    parts = [say("words.looks_like", modality=modality), say("words.by", bundle=prediction.bundle)]
    return " · ".join([*parts, *prediction.notes])
