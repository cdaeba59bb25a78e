"""A Prediction as plain data: its one JSON document, and its row of predictions.csv.

The document is the same everywhere, with a version in it. It holds everything but pixel arrays.
`to_document` and `from_document` are each other's inverse but for those. A reader should ignore
keys it does not know: new keys may come under the same `schema_version`; a changed or
removed one raises it.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from tumorlens import files
from tumorlens.errors import DocumentError
from tumorlens.json_records import JsonObject
from tumorlens.labels import TYPES
from tumorlens.records import Prediction

SCHEMA_VERSION = 1
NOTICE = "Research use only. Not a medical device."
_ARRAYS = ("heatmap", "embedding")
_FIELDS = tuple(field.name for field in fields(Prediction) if field.name not in _ARRAYS)
_NUMBERS = ("modality_probability", "tumor_probability", "threshold")  # or None
_COUNTS = ("frame", "slice")  # or None
_LATER = frozenset({"frame", "series", "slice"})  # not in documents of the first version
_TABLES = ("type_probabilities", "atoms")
COLUMNS = ("path", "series", "slice", "modality", "modality_probability", "tumor_probability",
           "decision", "type", *(f"p_{name}" for name in TYPES), "threshold", "bundle", "notes",
           "error")  # fmt: skip
FIRST_COLUMNS = ("path", "modality", "tumor_probability", "decision", "bundle", "error")  # ever


def to_document(prediction: Prediction) -> dict[str, object]:
    """Return a Prediction as plain data; probabilities keep every digit."""
    document: dict[str, object] = {"schema_version": SCHEMA_VERSION, "notice": NOTICE}
    for name in _FIELDS:
        value = getattr(prediction, name)
        if isinstance(value, Mapping):
            value = {key: float(number) for key, number in value.items()}
        document[name] = list(value) if isinstance(value, tuple) else value
    return document


def to_json(prediction: Prediction) -> str:
    """Write a Prediction on one line, keys in the order of the record; NaN is refused."""
    return json.dumps(to_document(prediction), ensure_ascii=False, allow_nan=False)


def from_document(document: JsonObject) -> Prediction:
    """Read a document back; unknown keys are ignored.

    Raises DocumentError for another schema version and for missing or wrong fields.
    """
    version = document.get("schema_version") if isinstance(document, Mapping) else None
    if version != SCHEMA_VERSION:
        fact = f"has schema version {version}, this tumorlens reads {SCHEMA_VERSION}"
        raise DocumentError("prediction", fact, "Use a matching tumorlens version.")
    try:
        known = [name for name in _FIELDS if name in document or name not in _LATER]
        return Prediction(**{name: _read(name, document[name]) for name in known})
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        fact = f"has missing or wrong fields ({type(e).__name__}: {e})"
        raise DocumentError("prediction", fact, "Ask for it again.") from e


def from_json(text: str | bytes) -> Prediction:
    """Read what `to_json` wrote; raises DocumentError."""
    try:
        return from_document(json.loads(text))
    except ValueError as e:
        raise DocumentError("prediction", f"is not JSON ({e})", "Ask for it again.") from e


def _read(name: str, value: Any) -> Any:
    if name in _NUMBERS:
        return None if value is None else _finite(value)
    if name in _COUNTS:
        return None if value is None else int(value)
    if name in _TABLES:
        return {str(key): _finite(number) for key, number in value.items()}
    if name == "notes":
        return tuple(map(str, value))
    if not isinstance(value, str):
        raise TypeError(f"{name} is not text")
    return value


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no probability")
    return number


def table_values(prediction: Prediction) -> dict[str, str | float | int | None]:
    """Return the columns of one prediction; numbers with every digit, None where not known."""
    types = {f"p_{name}": prediction.type_probabilities.get(name) for name in TYPES}
    return {
        "path": prediction.path,
        "series": prediction.series,
        "slice": prediction.slice,
        "modality": prediction.modality,
        "modality_probability": prediction.modality_probability,
        "tumor_probability": prediction.tumor_probability,
        "decision": prediction.decision,
        "type": prediction.type,
        **types,
        "threshold": prediction.threshold,
        "bundle": prediction.bundle,
        "notes": "; ".join(prediction.notes),
        "error": prediction.error,
    }


def table_cells(values: Mapping[str, str | float | int | None]) -> dict[str, str]:
    """Return the columns as text; what is not known is empty."""
    return {
        name: "" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)
        for name, value in values.items()
    }


def table_row(prediction: Prediction) -> dict[str, str]:
    """Return the columns of one prediction as predictions.csv has them."""
    return table_cells(table_values(prediction))


def write_predictions(predictions: Iterable[Prediction], out: Path) -> None:
    """Write predictions.csv whole, or leave what stood there."""
    files.write_table(out, COLUMNS, map(table_row, predictions))
