"""Records as JSON and back: frozen dataclasses, and what they hold of one another."""

import json
import math
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from tumorlens.files import replacing
from tumorlens.records import Estimate

T = TypeVar("T")


def stored_as(name: str) -> dict[str, str]:
    """Return the metadata of a field that has another name in JSON."""
    return {"stored": name}


def write_json(value: object, path: Path) -> None:
    """Write a record, or a mapping of them, whole, or leave what stood there."""
    with replacing(path) as partial:
        text = json.dumps(to_json(value), indent=1, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def to_json(value: Any) -> Any:
    """Return records, arrays and mappings as JSON holds them; what is not finite becomes None.

    An estimate stands flat, as `name`, `name_low`, `name_high` and `n`, in the record around it.
    """
    if is_dataclass(value):
        found: dict[str, Any] = {}
        for part in fields(value):
            name, held = _stored_name(part), getattr(value, part.name)
            found |= _flat(name, held) if isinstance(held, Estimate) else {name: to_json(held)}
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
    if not is_dataclass(kind):
        return stored
    kinds = get_type_hints(kind)
    known = [part for part in fields(kind) if _stored_name(part) in stored]
    return kind(**{part.name: _field(kinds[part.name], part, stored) for part in known})


def _field(kind: Any, part: Field[Any], stored: Mapping[str, Any]) -> Any:
    name = _stored_name(part)
    if kind is not Estimate:
        return _from_json(kind, stored[name])
    return Estimate(stored[name], stored.get(f"{name}_low"), stored.get(f"{name}_high"),
                    n=stored["n"] or 0)  # fmt: skip


def _stored_name(part: Field[Any]) -> str:
    return part.metadata.get("stored", part.name)


def _flat(name: str, found: Estimate) -> dict[str, Any]:
    ends = {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return to_json(ends | {"n": found.n})
