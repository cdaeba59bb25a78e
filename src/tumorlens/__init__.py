"""Brain tumors on CT and MRI slices: probability, type, heatmap. Research use only.

>>> from tumorlens import load_predictor  # doctest: +SKIP
>>> load_predictor().predict(["slice.png"])[0].decision  # doctest: +SKIP
'no tumor'
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_PUBLIC = {
    "InputSpec": "tumorlens.inputs.prepare",
    "Prediction": "tumorlens.records",
    "Predictor": "tumorlens.predictions.predictor",
    "Scan": "tumorlens.records",
    "TumorlensError": "tumorlens.errors",
    "load_bundle": "tumorlens.models.bundle",
    "load_predictor": "tumorlens.predictions.predictor",
    "prepare": "tumorlens.inputs.prepare",
    "read_scan": "tumorlens.images.readers",
}
__all__ = sorted(_PUBLIC)  # noqa: PLE0605 (one table, not two)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `import tumorlens` loads nothing."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tumorlens' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
