"""The model card of a bundle, from its own data and, where there is one, from an evaluation.

Text after Mitchell et al. (2019); the block on top is the metadata that the Hugging Face hub reads.
"""

from collections.abc import Iterator

from tumorlens.models.bundle import SHIPPED, Bundle
from tumorlens.reports.evaluation import EvaluationResult
from tumorlens.reports.page import render_page

# What every bundle of this project must not be trusted with; in cards and reports alike.
KNOWN_LIMITS = (
    "Public sets tell scanner and label apart together: figures inside one collection flatter, "
    "also when patients are kept whole. On other scanners and patients expect less.",
    '`ct_tumor` of the multimodal set is partly hemorrhage. A "tumor" on CT means a visible '
    "abnormality of that kind.",
    "One slice is judged at a time; a tumor outside the slice cannot be seen.",
    "Children, postoperative heads, metastases, abscesses and other lesions were not labeled as "
    "such.",
    "Metastases and rarer tumors are forced into the three types, or left undetermined.",
)
NOT_FOR = "Decide about a patient, exclude a tumor, prioritize a worklist, or rate a reader."
_METRICS = {"auc": "roc_auc", "sensitivity": "recall", "specificity": "specificity", "f1": "f1",
            "accuracy": "accuracy"}  # fmt: skip


def write_card(bundle: Bundle, evaluation: EvaluationResult | None = None) -> str:
    """Return the text of card.md; `evaluation` is the result of one of this bundle.

    Raises jinja2.UndefinedError for a bundle that does not say where it comes from.
    """
    shipped = {folder.name for folder in SHIPPED.iterdir()}
    return render_page(
        "card.md",
        bundle=bundle,
        limits=KNOWN_LIMITS,
        not_for=NOT_FOR,
        license="apache-2.0" if bundle.name in shipped else "unknown",
        evaluation=evaluation,
        results=list(_results(evaluation)) if evaluation else [],
    )


def _results(evaluation: EvaluationResult) -> Iterator[dict[str, str | float]]:
    """Yield each figure that could be measured as the hub wants it, named with interval and n."""
    found = [
        (f"tumor on a slice, {modality}", kind, name, getattr(detection, name))
        for modality, detection in evaluation.detection.items()
        for name, kind in _METRICS.items()
    ]
    if evaluation.type:
        found.append(("type of an MRI tumor", "accuracy", "accuracy", evaluation.type.accuracy))
    for task, kind, name, estimate in found:
        if estimate.value is not None:
            shown = f"{name} {str(estimate).split(' ', 1)[1]}"
            yield {"task": task, "type": kind, "value": round(estimate.value, 4), "name": shown}
