"""What studies wrote: records found in study folders, read by name and type."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice
from pathlib import Path
from typing import Any

from tumorlens.errors import StudyError
from tumorlens.json_records import Record

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
