"""What the bench wrote: records found in study folders, read with care for their schema."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tumorlens.errors import StudyError

DEEPEST = 3  # folders below a study folder
MOST_ENTRIES = 2_000  # of one folder; a folder of scans is not walked further


@dataclass(frozen=True)
class Kind:
    """One sort of record."""

    file: str
    command: str  # that writes it
    schemas: tuple[int, ...]


KINDS: Mapping[str, Kind] = {
    "explore": Kind("explore.json", "explore", (1,)),
    "audit": Kind("audit.json", "audit", (1,)),
    "evaluation": Kind("evaluation.json", "evaluate", (2,)),
}
HISTORY = "history.csv"  # of a training run


@dataclass(frozen=True)
class Found:
    """A record that exists."""

    path: Path
    name: str  # as people choose it: its folder below the study folder
    changed: float  # seconds since 1970


def find_records(folders: Sequence[Path], file: str) -> list[Found]:
    """List the files of one name in study folders, newest first."""
    found = []
    for root in folders:
        for folder in _folders(root, DEEPEST):
            path = folder / file
            if path.is_file():
                below = folder.relative_to(root)
                name = root.resolve().name if below == Path() else f"{root.resolve().name}/{below}"
                found.append(Found(path, name, path.stat().st_mtime))
    return sorted(found, key=lambda record: -record.changed)


def _folders(root: Path, depth: int) -> Iterator[Path]:
    try:
        entries = list(_few(os.scandir(root)))
    except OSError:
        return
    yield root
    if depth and len(entries) < MOST_ENTRIES:
        for entry in sorted(entries, key=lambda e: e.name):
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                yield from _folders(Path(entry.path), depth - 1)


def _few(entries: Iterator[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    for _, entry in zip(range(MOST_ENTRIES), entries, strict=False):
        yield entry


def read_record(path: Path, kind: str) -> dict[str, Any]:
    """Read a record; keys that are not known are no matter, another schema is.

    Raises StudyError where the file cannot be read, is no JSON, or is of another schema.
    """
    expected = KINDS[kind]
    fix = f"Make it again with `tumorlens {expected.command} DIR --out {path.parent}`."
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise StudyError(path, f"cannot be read ({e})", fix) from e
    schema = stored.get("schema") if isinstance(stored, dict) else None
    if schema not in expected.schemas:
        known = ", ".join(map(str, expected.schemas))
        raise StudyError(path, f"has schema {schema}, this tumorlens shows {known}", fix)
    return stored


def read_picture(record: Path, name: str | None) -> bytes | None:
    """Give a PNG that a record names beside itself; None where it is not there.

    A name that leads out of the record's own folder is not followed.
    """
    if not name:
        return None
    path = (record.parent / name).resolve()
    if not path.is_relative_to(record.parent.resolve()) or not path.is_file():
        return None
    return path.read_bytes()
