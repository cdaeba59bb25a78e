"""predictions.csv: one row per scan, also for one that could not be read."""

from collections.abc import Iterable
from pathlib import Path

from tumorlens import files
from tumorlens.labels import TYPES
from tumorlens.records import Prediction

COLUMNS = ("path", "modality", "modality_probability", "tumor_probability", "decision", "type",
           *(f"p_{name}" for name in TYPES), "threshold", "bundle", "error")  # fmt: skip


def table_row(prediction: Prediction) -> dict[str, str]:
    """Give the columns of one prediction; what is not known is empty."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.6f}"

    return {
        "path": prediction.path,
        "modality": prediction.modality,
        "modality_probability": number(prediction.modality_probability),
        "tumor_probability": number(prediction.tumor_probability),
        "decision": prediction.decision,
        "type": prediction.type,
        **{f"p_{name}": number(prediction.type_probabilities.get(name)) for name in TYPES},
        "threshold": number(prediction.threshold),
        "bundle": prediction.bundle,
        "error": prediction.error,
    }


def write_predictions(predictions: Iterable[Prediction], out: Path) -> None:
    """Write predictions.csv whole, or leave what stood there."""
    files.write_table(out, COLUMNS, map(table_row, predictions))
