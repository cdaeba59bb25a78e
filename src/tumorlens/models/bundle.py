"""The one artifact that crosses from the bench to the services: a folder, no code, no pickle.

`model.onnx` (uint8 [N, side, side, 1] -> atoms [N, A], maps [N, h, w, A], embedding [N, D]),
`bundle.json` (everything the predictor needs to turn outputs into a Prediction) and `card.md`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import BundleError
from tumorlens.files import read_file, write_file
from tumorlens.inputs.prepare import InputSpec, load_spec
from tumorlens.models.performance import (
    OperatingPoint,
    Provenance,
    ValidationPerformance,
    load_operating_point,
    load_performance,
    load_provenance,
)

SCHEMA = 1
GRAPH, SETTINGS, CARD = "model.onnx", "bundle.json", "card.md"
REFERENCE_SCALE = 1023  # embeddings are stored as whole numbers and normalized on loading
SHIPPED = Path(__file__).with_name("shipped")
SHIPPED_DEFAULT = "tumorlens-small"
_REFIT = "Fetch or train the bundle again."
_OLD_SELF_TEST = "golden"  # its key in bundles of before
_OWN_KEYS = {"schema", "name", "sha256", "atoms", "input", "temperature", "threshold", "scope",
             "threshold_choice", "abstention", "measured", "self_test", _OLD_SELF_TEST}  # fmt: skip
_ROW_OF_NUMBERS = re.compile(r"\[\s+(?:-?\d+,\s+)*-?\d+\s+\]")


@dataclass(frozen=True)
class UncertaintyBand:
    """Between `low` and `high` the tumor probability does not decide; equal: never."""

    low: float
    high: float
    error: float  # share of each class let outside its side, on validation


@dataclass(frozen=True)
class OodReference:
    """What the training scans look like to the network: embeddings on the unit sphere."""

    references: NDArray[np.float32]  # [r, D], rows of length 1
    neighbors: int
    limit: float  # cosine distance to the k-th neighbor above which a scan is out of scope
    kept: float  # share of validation scans inside the limit
    refused: float | None = None  # share of drawn images of other things outside it


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were found whole."""

    folder: Path
    name: str
    sha256: str  # of model.onnx
    atoms: tuple[str, ...]
    spec: InputSpec
    temperature: float
    operating_point: OperatingPoint
    uncertainty_band: UncertaintyBand
    ood_reference: OodReference
    provenance: Provenance = field(default_factory=Provenance)
    performance: Mapping[str, ValidationPerformance] = field(default_factory=dict)
    # on validation, by "all", "ct", "mri"; empty in bundles made before it was recorded
    self_test: Mapping[str, float] = field(default_factory=dict)
    # its own answer to the self-test scan, by atom; empty where it keeps none

    @property
    def threshold(self) -> float:
        """The tumor probability at which a scan is flagged."""
        return self.operating_point.threshold

    @property
    def version(self) -> str:
        """Name and first 12 hex digits of the graph's hash, as in `Prediction.bundle`."""
        return f"{self.name}@{self.sha256[:12]}"

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.folder / GRAPH


def load_bundle(folder: str | Path = "") -> Bundle:
    """Load and verify a bundle: a folder, or the name of a shipped one; "" is the default.

    Raises BundleError for a missing or altered file, another schema, or missing fields.
    """
    folder = _shipped(str(folder or SHIPPED_DEFAULT)) or Path(folder)
    # A run folder is accepted where its bundle is meant.
    if not (folder / SETTINGS).is_file() and (folder / "bundle" / SETTINGS).is_file():
        folder = folder / "bundle"
    stored = _read_settings(folder)
    digest = _hash_graph(folder)
    try:
        if digest != stored["sha256"]:
            fact = "does not match the hash in bundle.json: it was altered or cut short"
            raise BundleError(folder / GRAPH, fact, _REFIT)
        return _from_json(folder, stored)
    except (KeyError, TypeError, ValueError) as e:
        fact = f"has missing or wrong fields ({type(e).__name__}: {e})"
        raise BundleError(folder / SETTINGS, fact, _REFIT) from e


def _shipped(name: str) -> Path | None:
    """Return the folder of a shipped bundle of that name; a folder of that name goes first."""
    is_name = name == Path(name).name and not Path(name).exists()
    return SHIPPED / name if is_name and (SHIPPED / name / SETTINGS).is_file() else None


def _read_settings(folder: Path) -> dict[str, Any]:
    try:
        stored = json.loads(read_file(folder / SETTINGS))
    except OSError as e:
        fix = "Name a bundle folder, or a run folder that training finished."
        raise BundleError(folder, f"holds no {SETTINGS}", fix) from e
    except ValueError as e:
        raise BundleError(folder / SETTINGS, f"is not JSON ({e})", _REFIT) from e
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        found = stored.get("schema") if isinstance(stored, dict) else None
        fact = f"has schema {found}, this tumorlens reads {SCHEMA}"
        raise BundleError(folder / SETTINGS, fact, "Use a matching tumorlens version.")
    return stored


def _hash_graph(folder: Path) -> str:
    try:
        return hashlib.sha256(read_file(folder / GRAPH)).hexdigest()
    except OSError as e:
        raise BundleError(folder, f"holds no {GRAPH}", _REFIT) from e


def _from_json(folder: Path, stored: Mapping[str, Any]) -> Bundle:
    temperature = float(stored["temperature"])
    if not temperature > 0:
        raise ValueError("the temperature is out of range")
    return Bundle(
        folder=folder,
        name=str(stored["name"]),
        sha256=stored["sha256"],
        atoms=tuple(stored["atoms"]),
        spec=load_spec(stored["input"]),
        temperature=temperature,
        operating_point=load_operating_point(
            stored["threshold_choice"], threshold=float(stored["threshold"])
        ),
        uncertainty_band=UncertaintyBand(**stored["abstention"]),
        ood_reference=_load_reference(stored["scope"]),
        provenance=load_provenance({k: v for k, v in stored.items() if k not in _OWN_KEYS}),
        performance={
            name: load_performance(row) for name, row in dict(stored.get("measured", {})).items()
        },
        self_test=stored.get("self_test") or stored.get(_OLD_SELF_TEST) or {},
    )


def _load_reference(stored: Mapping[str, Any]) -> OodReference:
    references = np.array(stored["references"], np.float32)
    references /= np.linalg.norm(references, axis=1, keepdims=True)
    if not np.isfinite(references).all():
        raise ValueError("a scope reference is out of range")
    neighbors, limit = int(stored["neighbors"]), float(stored["limit"])
    return OodReference(references, neighbors, limit, stored["kept"], stored.get("refused"))


def write_bundle(bundle: Bundle, card: str) -> None:
    """Write bundle.json and card.md beside the graph; the hash is taken from the graph."""
    ood = bundle.ood_reference
    stored = {
        "schema": SCHEMA,
        "name": bundle.name,
        "sha256": _hash_graph(bundle.folder),
        "atoms": list(bundle.atoms),
        "input": bundle.spec.to_json(),
        "temperature": bundle.temperature,
        "threshold": bundle.threshold,
        "threshold_choice": bundle.operating_point.to_json(),
        "abstention": vars(bundle.uncertainty_band),
        **bundle.provenance.to_json(),
        "self_test": dict(bundle.self_test),
        "measured": {name: row.to_json() for name, row in bundle.performance.items()},
        "scope": {
            "method": "cosine distance to the k-th nearest training embedding",
            **{name: value for name, value in vars(ood).items() if name != "references"},
            "references": np.rint(ood.references * REFERENCE_SCALE).astype(int).tolist(),
        },
    }
    text = _ROW_OF_NUMBERS.sub(_on_one_line, json.dumps(stored, indent=1, allow_nan=False))
    write_file(bundle.folder / CARD, card)
    write_file(bundle.folder / SETTINGS, text + "\n")


def _on_one_line(row: re.Match[str]) -> str:
    return "".join(row[0].split())
