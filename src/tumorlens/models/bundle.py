"""The one artifact that crosses from the bench to the services: a folder, no code, no pickle.

`model.onnx` (uint8 [N, side, side, 1] -> atoms [N, A], maps [N, h, w, A], embedding [N, D]),
`bundle.json` (everything the predictor needs to turn outputs into a Prediction) and `card.md`.
One hash over all three is its version, in every answer.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.errors import BundleError
from tumorlens.files import read_file, write_file
from tumorlens.inputs.prepare import InputSpec, load_spec
from tumorlens.json_records import JsonObject
from tumorlens.models.bundle_schema import (
    DECISION,
    DISTANCE,
    EACH_CLASS,
    check_record,
    check_references,
    check_settings,
    parse_settings,
)
from tumorlens.models.performance import (
    OperatingPoint,
    Provenance,
    ValidationPerformance,
    load_operating_point,
    load_performance,
    load_provenance,
)
from tumorlens.models.series_rule import SeriesRule, load_series_rule

SCHEMA = 1
GRAPH, SETTINGS, CARD = "model.onnx", "bundle.json", "card.md"
REFERENCE_SCALE = 1023  # embeddings are stored as whole numbers and normalized on loading
SHIPPED = Path(__file__).with_name("shipped")
SHIPPED_DEFAULT = "tumorlens-base"
_REFIT = "Fetch or train the bundle again."
_OLD_SELF_TEST = "golden"  # its key in bundles of before
_OWN_KEYS = {"schema", "name", "sha256", "atoms", "input", "temperature", "threshold", "scope",
             "threshold_choice", "abstention", "measured", "self_test", "series_rule",
             _OLD_SELF_TEST}  # fmt: skip
_ROW_OF_NUMBERS = re.compile(r"\[\s+(?:-?\d+,\s+)*-?\d+\s+\]")


@dataclass(frozen=True)
class UncertaintyBand:
    """Between `low` and `high` the tumor probability does not decide; equal: never."""

    low: float
    high: float
    error: float  # on validation: share of `error_of` that is decided wrongly
    error_of: str = EACH_CLASS  # or ANSWERED, all that gets an answer


@dataclass(frozen=True)
class OodReference:
    """What the training scans look like to the network: embeddings on the unit sphere."""

    references: NDArray[np.float32]  # [r, D], rows of length 1
    neighbors: int
    limit: float  # cosine distance to the k-th neighbor above which a scan is out of scope
    kept: float  # share of validation scans inside the limit
    refused: float | None = None  # share of drawn images of other things outside it


@dataclass(frozen=True)
class SelfTest:
    """A bundle's own answer to the scan that it is tested with; empty where it keeps none."""

    atoms: Mapping[str, float] = field(default_factory=dict)  # probabilities
    decision: str = ""  # older bundles keep neither this
    distance: float | None = None  # nor this: to the training scans

    def to_json(self) -> dict[str, object]:
        """Return it as bundle.json holds it."""
        more: dict[str, object] = {DECISION: self.decision or None, DISTANCE: self.distance}
        return {**self.atoms, **{name: value for name, value in more.items() if value is not None}}


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were found whole."""

    folder: Path
    name: str
    sha256: str  # of all its files: see `hash_files`
    atoms: tuple[str, ...]
    spec: InputSpec
    temperature: float
    operating_point: OperatingPoint
    uncertainty_band: UncertaintyBand
    ood_reference: OodReference
    provenance: Provenance = field(default_factory=Provenance)
    performance: Mapping[str, ValidationPerformance] = field(default_factory=dict)
    # on validation, by "all", "ct", "mri"; empty in bundles made before it was recorded
    self_test: SelfTest = SelfTest()
    graph_sha256: str = ""  # of model.onnx alone
    series_rule: SeriesRule | None = None  # None: answers for series are not calibrated

    @property
    def threshold(self) -> float:
        """The tumor probability at which a scan is flagged."""
        return self.operating_point.threshold

    @property
    def version(self) -> str:
        """Name and first 12 hex digits of its hash, as in `Prediction.bundle`."""
        return f"{self.name}@{self.sha256[:12]}"

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.folder / GRAPH


def load_bundle(folder: str | Path = "") -> Bundle:
    """Load and verify a bundle: a folder, or the name of a shipped one; "" is the default.

    Raises BundleError for a missing or altered file, another schema, and fields that are missing,
    out of range or of another type.
    """
    folder = _shipped(str(folder or SHIPPED_DEFAULT)) or Path(folder)
    # A run folder is accepted where its bundle is meant.
    if not (folder / SETTINGS).is_file() and (folder / "bundle" / SETTINGS).is_file():
        folder = folder / "bundle"
    files = _read_files(folder)
    stored = _read_settings(folder, files[SETTINGS])
    try:
        if _digest(files[GRAPH]) != stored["sha256"]:
            fact = "does not match the hash in bundle.json: it was altered or cut short"
            raise BundleError(folder / GRAPH, fact, _REFIT)
        return _from_json(folder, stored, sha256=hash_files(files))
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as e:
        fact = f"has missing or wrong fields ({type(e).__name__}: {str(e)[:200]})"
        raise BundleError(folder / SETTINGS, fact, _REFIT) from e


def hash_files(files: Mapping[str, bytes]) -> str:
    """Return one hash over files, given by name: of the lines that `sha256sum` writes of them.

    In a bundle's folder: `sha256sum bundle.json card.md model.onnx | sha256sum`.
    """
    lines = [f"{_digest(data)}  {name}\n" for name, data in sorted(files.items())]
    return _digest("".join(lines).encode())


def _shipped(name: str) -> Path | None:
    """Return the folder of a shipped bundle of that name; a folder of that name goes first."""
    is_name = name == Path(name).name and not Path(name).exists()
    return SHIPPED / name if is_name and (SHIPPED / name / SETTINGS).is_file() else None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read_files(folder: Path) -> dict[str, bytes]:
    """Read the files of a bundle; older ones may have no card."""
    files = {}
    for name in (SETTINGS, GRAPH, CARD):
        try:
            files[name] = read_file(folder / name)
        except (OSError, ValueError) as e:
            if name == CARD and isinstance(e, FileNotFoundError):
                continue
            fix = "Name a bundle folder, or a run folder that training finished."
            raise BundleError(folder, f"holds no {name} that can be read", fix) from e
    return files


def _read_settings(folder: Path, data: bytes) -> JsonObject:
    try:
        stored = parse_settings(data)
    except ValueError as e:
        raise BundleError(folder / SETTINGS, f"is not JSON ({str(e)[:200]})", _REFIT) from e
    if stored.get("schema") != SCHEMA:
        fact = f"has schema {str(stored.get('schema'))[:20]}, this tumorlens reads {SCHEMA}"
        raise BundleError(folder / SETTINGS, fact, "Use a matching tumorlens version.")
    return stored


def _from_json(folder: Path, stored: JsonObject, *, sha256: str) -> Bundle:
    check_settings(stored)
    bundle = Bundle(
        folder=folder,
        name=stored["name"],
        sha256=sha256,
        graph_sha256=stored["sha256"],
        atoms=tuple(stored["atoms"]),
        spec=load_spec(stored["input"]),
        temperature=float(stored["temperature"]),
        operating_point=load_operating_point(
            stored["threshold_choice"], threshold=float(stored["threshold"])
        ),
        uncertainty_band=UncertaintyBand(**stored["abstention"]),
        ood_reference=_load_reference(stored["scope"]),
        provenance=load_provenance({k: v for k, v in stored.items() if k not in _OWN_KEYS}),
        performance={
            name: load_performance(row) for name, row in dict(stored.get("measured", {})).items()
        },
        self_test=_load_self_test(stored.get("self_test") or stored.get(_OLD_SELF_TEST) or {}),
        series_rule=load_series_rule(stored["series_rule"]) if "series_rule" in stored else None,
    )
    rules = [bundle.series_rule] if bundle.series_rule else []
    records = (bundle.provenance, bundle.operating_point, *bundle.performance.values(), *rules)
    for record in records:
        check_record(record)
    return bundle


def _load_self_test(stored: JsonObject) -> SelfTest:
    atoms = {name: float(p) for name, p in stored.items() if name not in (DECISION, DISTANCE)}
    return SelfTest(atoms, stored.get(DECISION, ""), stored.get(DISTANCE))


def _load_reference(stored: JsonObject) -> OodReference:
    references = check_references(stored["references"])
    limit = float(stored["limit"])
    return OodReference(
        references, stored["neighbors"], limit, stored["kept"], stored.get("refused")
    )


def write_bundle(bundle: Bundle, card: str) -> None:
    """Write bundle.json and card.md beside the graph; the hash is taken from the graph."""
    ood = bundle.ood_reference
    stored = {
        "schema": SCHEMA,
        "name": bundle.name,
        "sha256": _digest(bundle.graph.read_bytes()),
        "atoms": list(bundle.atoms),
        "input": bundle.spec.to_json(),
        "temperature": bundle.temperature,
        "threshold": bundle.threshold,
        "threshold_choice": bundle.operating_point.to_json(),
        "abstention": vars(bundle.uncertainty_band),
        **bundle.provenance.to_json(),
        "self_test": bundle.self_test.to_json(),
        "measured": {name: row.to_json() for name, row in bundle.performance.items()},
        "scope": {
            "method": "cosine distance to the k-th nearest training embedding",
            **{name: value for name, value in vars(ood).items() if name != "references"},
            "references": np.rint(ood.references * REFERENCE_SCALE).astype(int).tolist(),
        },
    }
    if bundle.series_rule:
        stored["series_rule"] = bundle.series_rule.to_json()
    text = _ROW_OF_NUMBERS.sub(_on_one_line, json.dumps(stored, indent=1, allow_nan=False))
    write_file(bundle.folder / CARD, card)
    write_file(bundle.folder / SETTINGS, text + "\n")


def _on_one_line(row: re.Match[str]) -> str:
    return "".join(row[0].split())
