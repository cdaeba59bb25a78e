"""Records as JSON and back: frozen dataclasses, and what they hold of one another."""

import json
import math
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from tumorlens.files import write_file
from tumorlens.records import Estimate

T = TypeVar("T")
JsonObject = Mapping[str, Any]  # as a file or a message holds it, before a record is made of it
_MANY = tuple[Estimate, ...]


def stored_as(name: str) -> dict[str, str]:
    """Return the metadata of a field that has another name in JSON."""
    return {"stored": name}


def counted_on(name: str) -> dict[str, str]:
    """Return the metadata of an estimate whose n is another field of its record than `n`."""
    return {"n": name}


def write_json(value: object, path: Path) -> None:
    """Write a record, or a mapping of them, whole, or leave what stood there."""
    write_file(path, json.dumps(to_json(value), indent=1, allow_nan=False) + "\n")


def to_json(value: Any) -> Any:
    """Return records, arrays and mappings as JSON holds them; what is not finite becomes None.

    An estimate stands flat, as `name`, `name_low`, `name_high` and `n`, in the record around it;
    a tuple of them as three lists, without `n`.
    """
    if is_dataclass(value):
        kinds, found = _kinds(type(value)), {}
        for part in fields(value):
            name, held = _stored_name(part), getattr(value, part.name)
            if isinstance(held, Estimate):
                found |= _flat(name, held) | ({} if "n" in part.metadata else {"n": held.n})
            elif kinds[part.name] == _MANY:
                rows = [_flat(name, one) for one in held]
                found |= {key: [row[key] for row in rows] for key in _ends(name)}
            else:
                found[name] = to_json(held)
        return found
    if isinstance(value, Mapping):
        return {str(key): to_json(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(held) for held in value]
    if isinstance(value, np.ndarray | np.generic):
        return to_json(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_json(kind: type[T], stored: Any) -> T:
    """Return the record that `to_json` wrote; keys that it does not know are no matter.

    Fields that lack take their default. Raises KeyError, TypeError or AttributeError where the
    JSON is not that of such a record.
    """
    return _from_json(kind, stored)


def as_record(kind: type[T], found: Mapping[str, object]) -> T:
    """Return the record of what was counted: numbers, arrays and records, flat as in JSON."""
    return from_json(kind, to_json(found))


def _from_json(kind: Any, stored: Any) -> Any:
    inside, outer = get_args(kind), get_origin(kind)
    if stored is None or (not inside and not is_dataclass(kind)):
        return stored
    if outer is UnionType:
        return _from_json(inside[0], stored)
    if outer is tuple:
        return tuple(_from_json(inside[0], row) for row in stored)
    if outer is Mapping:
        return {key: _from_json(inside[1], row) for key, row in stored.items()}
    if not (isinstance(kind, type) and is_dataclass(kind)):
        return stored
    found = {}
    for part in fields(kind):
        own, name = _kinds(kind)[part.name], _stored_name(part)
        if any(key in stored for key in (_ends(name) if own in (Estimate, _MANY) else (name,))):
            found[part.name] = _field(own, part, stored)
    return kind(**found)


def _field(kind: Any, part: Field[Any], stored: JsonObject) -> Any:
    name = _stored_name(part)
    if kind is not Estimate and kind != _MANY:
        return _from_json(kind, stored[name])
    n = stored.get(part.metadata.get("n", "n")) or 0
    value, low, high = (stored.get(key) for key in _ends(name))
    if kind is Estimate:
        return Estimate(value, low, high, n)
    nothing = [None] * len(value or ())
    rows = zip(value or (), low or nothing, high or nothing, strict=True)
    return tuple(Estimate(*row, n) for row in rows)


@lru_cache
def _kinds(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _stored_name(part: Field[Any]) -> str:
    return part.metadata.get("stored", part.name)


def _ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _flat(name: str, found: Estimate) -> dict[str, Any]:
    return to_json(dict(zip(_ends(name), (found.value, found.low, found.high), strict=True)))
