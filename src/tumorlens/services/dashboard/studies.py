"""What studies wrote: records found in study folders, read by name and type."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice
from pathlib import Path
from typing import Any

from tumorlens.errors import StudyError
from tumorlens.language import translate
from tumorlens.records import Estimate

Z = 1.959964  # of 95 %
MAX_DEPTH = 3  # folders below a study folder
MAX_ENTRIES = 2_000  # of one folder; a folder of scans is not walked further


@dataclass(frozen=True)
class Kind:
    """One sort of record."""

    file: str
    command: str  # that writes it
    schema: int


KINDS: Mapping[str, Kind] = {
    "explore": Kind("explore.json", "explore", 1),
    "audit": Kind("audit.json", "audit", 1),
    "evaluation": Kind("evaluation.json", "evaluate", 2),
}
HISTORY = "history.csv"  # of a training run
SPLIT = "split.csv"


def find_records(folders: Sequence[Path], file: str) -> dict[str, Path]:
    """Return the files of one name in study folders, newest first, by their folder's name."""
    found = {
        (Path(root.resolve().name) / folder.relative_to(root)).as_posix(): folder / file
        for root in folders
        for folder in _folders(root, MAX_DEPTH)
        if (folder / file).is_file()
    }
    return dict(sorted(found.items(), key=lambda row: -row[1].stat().st_mtime))


def new_folder(root: Path, kind: str) -> Path:
    """Return a folder for a new record of a kind, beside those that are there."""
    names = (kind if number == 1 else f"{kind}-{number}" for number in count(1))
    return next(root / name for name in names if not (root / name / KINDS[kind].file).exists())


def _folders(root: Path, depth: int) -> Iterator[Path]:
    try:
        entries = list(islice(os.scandir(root), MAX_ENTRIES))
    except OSError:
        return
    yield root
    if depth and len(entries) < MAX_ENTRIES:
        for entry in sorted(entries, key=lambda e: e.name):
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                yield from _folders(Path(entry.path), depth - 1)


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
    far = Z**2 / (n + Z**2)  # of a share that no case contradicts
    low, high = (1 - far, 1.0) if value else (0.0, far)
    return Estimate(value, low, high, n)


def read_record(path: Path, kind: str) -> Record:
    """Read a record; keys that are not known are no matter, another schema is.

    Raises StudyError where the file cannot be read, is no JSON, or is of another schema.
    """
    expected = KINDS[kind]
    fix = f"Make it again with `tumorlens {expected.command} DIR --out {path.parent}`."
    try:
        stored = _read_json(path, path.stat().st_mtime_ns)
    except (OSError, ValueError) as e:
        raise StudyError(path, f"cannot be read ({e})", fix) from e
    schema = stored.get("schema") if isinstance(stored, dict) else None
    if schema != expected.schema:
        fact = f"has schema {schema}, this tumorlens shows {expected.schema}"
        raise StudyError(path, fact, fix)
    return Record(stored, path)


@lru_cache(maxsize=8)
def _read_json(path: Path, _changed: int) -> Any:
    """Read a file once until it changes: a page asks for it at every click."""
    return json.loads(path.read_text(encoding="utf-8"))
