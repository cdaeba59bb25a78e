"""Records as JSON and back: frozen dataclasses, and what they hold of one another.

`Record` reads JSON that other versions may have written, by name and type.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from tumorlens.errors import StudyError
from tumorlens.files import write_file
from tumorlens.language import translate
from tumorlens.records import Estimate

T = TypeVar("T")
JsonObject = Mapping[str, Any]  # as a file or a message holds it, before a record is made of it
_MANY = tuple[Estimate, ...]
_Z = 1.959964  # of 95 %


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


@dataclass(frozen=True)
class Record:
    """One object of a record's JSON; a value of another type is an error that names it."""

    values: Mapping[str, Any]
    path: Path = Path("record.json")

    def text(self, name: str) -> str:
        """Return a text; "" where there is none."""
        return self._typed(name, str, "")

    def words(self, name: str) -> str:
        """Return a text that people read, in the language of the page."""
        return translate(self.text(name))

    def count(self, name: str) -> int:
        """Return a whole number."""
        return self._typed(name, int)

    def number(self, name: str) -> float:
        """Return a number; NaN where it could not be measured."""
        return self._typed(name, (int, float), math.nan)

    def estimate(self, name: str, *, n: str = "n") -> Estimate:
        """Return `name` with `name_low`, `name_high` and the count `n`."""
        value, low, high = (self.values.get(f"{name}{end}") for end in ("", "_low", "_high"))
        return with_width(Estimate(value, low, high, self.values.get(n) or 0))

    def estimates(self, name: str, *, n: str = "n") -> list[Estimate]:
        """Return the estimates of three columns."""
        columns = (self.items(f"{name}{end}") for end in ("", "_low", "_high"))
        rows = zip(*columns, strict=True)
        return [with_width(Estimate(*row, n=self.count(n))) for row in rows]

    def items(self, name: str) -> Sequence[Any]:
        """Return a list of texts, of numbers or of rows of numbers."""
        return self._typed(name, list, [])

    def names(self, name: str) -> Mapping[str, int]:
        """Return counts by name."""
        return self._typed(name, dict, {})

    def part(self, name: str) -> "Record":
        """Return an object; an empty one where there is none."""
        return Record(self._typed(name, dict, {}), self.path)

    def rows(self, name: str) -> "list[Record]":
        """Return a list of objects; an empty one where there is none."""
        return [Record(row, self.path) for row in self._typed(name, list, [])]

    def table(self, name: str) -> "dict[str, Record]":
        """Return objects by name, those that are None left out."""
        held = self._typed(name, dict, {})
        return {key: Record(row, self.path) for key, row in held.items() if row is not None}

    def image(self, name: str) -> bytes | None:
        """Return the PNG that a text names beside the record; None where it is not there.

        A name that leads out of the record's own folder is not followed.
        """
        folder = self.path.parent.resolve()
        path = (folder / self.text(name)).resolve()
        return path.read_bytes() if path.is_relative_to(folder) and path.is_file() else None

    def __bool__(self) -> bool:
        return bool(self.values)

    def _typed(self, name: str, kind: Any, default: Any = None) -> Any:
        value = self.values.get(name)
        value = default if value is None else value
        if not isinstance(value, kind):
            fix = "Make it again with this version of tumorlens."
            raise StudyError(self.path, f"holds {value!r} as `{name}`", fix)
        return value


def with_width(estimate: Estimate) -> Estimate:
    """Return an estimate of 0 or 1 with Wilson's interval where older records gave it no width.

    >>> print(with_width(Estimate(1.0, 1.0, 1.0, 24)))
    1.000 (0.862-1.000, n=24)
    """
    value, n = estimate.value, estimate.n
    if value not in (0, 1) or estimate.low != estimate.high or estimate.low is None or not n:
        return estimate
    far = _Z**2 / (n + _Z**2)  # of a share that no case contradicts
    low, high = (1 - far, 1.0) if value else (0.0, far)
    return Estimate(value, low, high, n)
