"""What bundle.json may say: finite numbers in their range, known atoms, records of known types.

A threshold that is no number would call every scan "no tumor", and nothing else would show it.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from tumorlens.json_records import JsonObject
from tumorlens.labels import ATOMS

MAX_NAME = 187  # characters: with "@" and 12 digits it has to fit where answers are stored
MAX_REFERENCE = 1e6  # of a coordinate, before it is normalized
DECISION, DISTANCE = "decision", "distance"  # of the self-test, beside its atoms


@dataclass(frozen=True)
class _Range:
    """What a number may be; both ends count."""

    low: float
    high: float
    is_whole: bool = False
    may_lack: bool = False  # be null, or not be there

    def problem(self, value: object) -> str:
        """Return what is wrong with a value; "" is nothing."""
        if value is None and self.may_lack:
            return ""
        if isinstance(value, bool) or not isinstance(value, int if self.is_whole else int | float):
            return f"is no {'whole ' if self.is_whole else ''}number"
        return "" if self.low <= value <= self.high else f"is not from {self.low} to {self.high}"


EACH_CLASS, ANSWERED = "each class", "answered"  # what the error of a band is a share of
_SHARE, _SHARE_OR_NONE = _Range(0, 1), _Range(0, 1, may_lack=True)
_COUNT = _Range(0, 2**53, is_whole=True)
RANGES: Mapping[str, _Range] = {
    "temperature": _Range(1e-3, 1e3),
    "threshold": _SHARE,
    "threshold_choice.threshold": _SHARE_OR_NONE,
    "threshold_choice.sensitivity": _SHARE_OR_NONE,
    "threshold_choice.specificity": _SHARE_OR_NONE,
    "threshold_choice.n": _COUNT,
    "threshold_choice.n_tumor": _COUNT,
    "abstention.low": _SHARE,
    "abstention.high": _SHARE,
    "abstention.error": _SHARE,
    "scope.neighbors": _Range(1, 2**20, is_whole=True),
    "scope.limit": _Range(0, 2),
    "scope.kept": _SHARE,
    "scope.refused": _SHARE_OR_NONE,
    "input.side": _Range(16, 4096, is_whole=True),
    "input.margin": _Range(0, 0.45),
    "input.low": _Range(0, 100),
    "input.high": _Range(0, 100),
}


def parse_settings(data: bytes) -> JsonObject:
    """Read a JSON object; raises ValueError for NaN and for a key that stands twice.

    The standard's own reader takes the last of two keys, where another may take the first.
    """
    try:
        found = json.loads(data, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return found if isinstance(found, dict) else {}


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _unique(pairs: Sequence[tuple[str, Any]]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)} stands twice")
    return found


def check_settings(stored: JsonObject) -> None:
    """Raise KeyError, TypeError or ValueError, with the field, where a bundle cannot be true."""
    for path, allowed in RANGES.items():
        if problem := allowed.problem(_at(stored, path, may_lack=allowed.may_lack)):
            raise ValueError(f"{path} {problem}")
    _check_name(stored["name"])
    _check_atoms(stored["atoms"])
    choice, band, scope = (stored[name] for name in ("threshold_choice", "abstention", "scope"))
    for fact, is_so in {
        "threshold_choice has another threshold": choice.get("threshold", stored["threshold"])
        not in (None, stored["threshold"]),
        "threshold_choice.n_tumor is above n": choice["n_tumor"] > choice["n"],
        "abstention.error_of is unknown": band.get("error_of", EACH_CLASS)
        not in (EACH_CLASS, ANSWERED),
        "abstention.low is above high": band["low"] > band["high"],
        "input.low is not below high": stored["input"]["low"] >= stored["input"]["high"],
        "scope.neighbors is above its references": scope["neighbors"] > len(scope["references"]),
    }.items():
        if is_so:
            raise ValueError(fact)
    _check_window(stored["input"].get("ct_window", [40.0, 80.0]))
    _check_self_test(stored.get("self_test") or stored.get("golden") or {}, stored["atoms"])


def _at(stored: Any, path: str, *, may_lack: bool) -> Any:
    for name in path.split("."):
        if not isinstance(stored, dict):
            raise TypeError(f"{path} is not in an object")
        if name not in stored and may_lack:
            return None
        stored = stored[name]
    return stored


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise ValueError(f"name is no text of 1 to {MAX_NAME} printable characters")


def _check_atoms(atoms: object) -> None:
    if not isinstance(atoms, list) or not all(isinstance(atom, str) for atom in atoms):
        raise TypeError("atoms is no list of names")
    if unknown := set(atoms) - set(ATOMS):
        raise ValueError(f"atoms has unknown names: {', '.join(sorted(unknown))}")
    if len(set(atoms)) < len(atoms):
        raise ValueError("atoms has a name twice")
    if len({atom.endswith("_healthy") for atom in atoms}) < 2:
        raise ValueError("atoms has none that is healthy, or none that is a tumor")


def _check_window(window: Any) -> None:
    center, width = window
    if _Range(-(2**15), 2**15).problem(center) or _Range(1, 2**16).problem(width):
        raise ValueError("input.ct_window is no center and width in HU")


def _check_self_test(answer: object, atoms: Sequence[str]) -> None:
    if not isinstance(answer, dict):
        raise TypeError("self_test is no object")
    given = set(answer) - {DECISION, DISTANCE}
    if answer and given != set(atoms):
        raise ValueError("self_test has not the atoms of the bundle")
    problems = [_SHARE.problem(answer[atom]) for atom in given]
    problems.append(_Range(-1e-3, 2, may_lack=True).problem(answer.get(DISTANCE)))
    if any(problems) or not isinstance(answer.get(DECISION, ""), str):
        raise ValueError("self_test is no answer")


def check_references(stored: Any) -> NDArray[np.float32]:
    """Return the references, [r, D], on the unit sphere; raises ValueError for what are none."""
    references = np.array(stored, np.float64)
    if references.ndim != 2 or not references.size:
        raise ValueError("scope.references are no rows of numbers")
    lengths = np.linalg.norm(references, axis=1, keepdims=True)
    if not (np.abs(references) <= MAX_REFERENCE).all() or not (lengths > 0).all():
        raise ValueError("scope.references are out of range")
    # In 32 bits, as ever: so distances stay the same to the last digit.
    rows = references.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def check_record(record: Any) -> None:
    """Raise TypeError where a field of a record is not of its type, at any depth."""
    for path in _wrong_fields(type(record), record, type(record).__name__):
        raise TypeError(f"{path} is of another type than it should be")


def _wrong_fields(kind: Any, value: Any, path: str) -> Iterator[str]:
    """Yield the paths of fields that are of another type than their record declares."""
    outer, inside = get_origin(kind), get_args(kind)
    if outer in (UnionType, Union):
        if all(any(True for _ in _wrong_fields(option, value, path)) for option in inside):
            yield path
    elif not _is_instance(outer or kind, value):
        yield path
    elif is_dataclass(kind):
        for part in fields(kind):
            own, held = _kinds(kind)[part.name], getattr(value, part.name)
            yield from _wrong_fields(own, held, f"{path}.{part.name}")
    elif isinstance(value, Mapping) and inside:
        for key, held in value.items():
            yield from _wrong_fields(inside[1], held, f"{path}.{key}")
    elif isinstance(value, tuple):
        for held in value:
            yield from _wrong_fields(inside[0], held, path)


@cache
def _kinds(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _is_instance(kind: Any, value: Any) -> bool:
    if kind is Any:
        return True
    if kind in (float, int):
        numbers = int | float if kind is float else int
        is_number = isinstance(value, numbers) and not isinstance(value, bool)
        return is_number and math.isfinite(value)
    return isinstance(value, kind)
