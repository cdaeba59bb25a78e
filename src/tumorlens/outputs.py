"""What a command may write over: what tumorlens made before, and never what it reads.

A table of ours is known by its columns, a report by its title, creator or keys, a folder by the
file MARK in it. Anything else that stands where a command is to write is somebody's work.
"""

import csv
import json
import os
import stat
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from tumorlens.errors import OutputError
from tumorlens.files import read_columns, read_file, write_file

MARK = ".tumorlens"
DEMO_MARK = ".tumorlens-demo"  # of folders in which a demo may also remove what an earlier one left
_MARK_TEXT = "Made by tumorlens, which may write over its own files in this folder.\n"
# What folders of versions before the mark hold; one row of them is enough.
_OLD_MARKS = (
    (DEMO_MARK,),
    ("audit.json", "files.csv"),
    ("explore.json", "explore.html"),
    ("tabular.json", "tabular.html"),
    ("evaluation.json", "predictions.csv"),
    ("config.json", "environment.json"),
    ("plan.json", "experiments.json"),
    ("folds.json", "predictions.csv"),
    ("size_curve.json", "plan.json"),
    ("bundle.json", "model.onnx"),
)
_RENAME = "Name another place."
_ALLOW = "Name another place, or write over it with --overwrite."


class Outputs:
    """Where one command may write, given what it reads; each place is claimed before the work.

    With `overwrite` also over files, and into folders, that tumorlens did not make.
    """

    def __init__(self, *inputs: str | Path | None, overwrite: bool = False) -> None:
        """Take what is read, files and folders; what is not there, or None, does not count."""
        given = [Path(path) for path in inputs if path]
        self._inputs = [path for path in given if path.exists()]
        self._overwrite = overwrite
        self._claimed: set[Path] = set()

    def claim_table(self, out: Path, columns: Collection[str], needed: Collection[str]) -> None:
        """Claim a CSV file.

        One that stands there is ours if it has the `needed` columns, which every version wrote,
        and no other than `columns`. Raises OutputError.
        """
        self.claim_file(out, lambda: _is_table(out, columns, needed))

    def claim_report(self, out: Path) -> None:
        """Claim an HTML, PDF or JSON file. Raises OutputError."""
        self.claim_file(out, lambda: _is_report(out))

    def claim_folder(self, *outs: Path, mark: str = MARK) -> None:
        """Claim folders and mark them, but not those that are somebody's. Raises OutputError.

        With another `mark` only folders that have it are ours.
        """
        for out in outs:
            if self._check_folder(out, mark):
                mark_folder(out, mark)

    def _check_folder(self, out: Path, mark: str) -> bool:
        """Refuse a folder, or tell whether it is ours."""
        self._check_place(out)
        if os.path.lexists(out) and not out.is_dir():
            raise OutputError(out, "is no folder", "Name a new or empty folder.")
        is_ours = not out.exists() or not any(out.iterdir()) or is_marked(out, mark)
        for given in self._inputs:
            inside = is_within(given, out) and (given.parent.samefile(out) or not is_ours)
            if out.exists() and (given.samefile(out) or inside):
                what = "is" if given.samefile(out) else f"holds {given.name},"
                raise OutputError(out, f"{what} what is read", "Name a new or empty folder.")
        if not is_ours and not self._overwrite:
            maker, fix = ("tumorlens", _ALLOW) if mark == MARK else ("tumorlens demo", _RENAME)
            raise OutputError(out, f"holds files that {maker} did not make", fix)
        return is_ours

    def claim_file(self, out: Path, is_ours: Callable[[], bool]) -> None:
        """Claim a file of another kind, of which `is_ours` tells one that stands there.

        Raises OutputError.
        """
        self._check_place(out)
        if not os.path.lexists(out):
            return
        if out.exists() and any(given.samefile(out) for given in self._inputs):
            raise OutputError(out, "is one of the files that are read", _RENAME)
        if out.is_dir():
            raise OutputError(out, "is a folder", "Name a file in it.")
        if out.exists() and not out.is_file():
            raise OutputError(out, "is a pipe or a device", "Name a regular file.")
        is_link = stat.S_ISLNK(out.lstat().st_mode)
        if not is_link and (not out.stat().st_size or is_ours()):
            return
        if any(given.is_dir() and is_within(out, given) for given in self._inputs):
            raise OutputError(out, "lies among the files that are read", _RENAME)
        if not self._overwrite:
            fact = "is a link" if is_link else "is there, and no file of this kind by tumorlens"
            raise OutputError(out, fact, _ALLOW)

    def _check_place(self, out: Path) -> None:
        place = Path(os.path.abspath(out))
        if place in self._claimed:
            raise OutputError(out, "is named for two outputs", _RENAME)
        self._claimed.add(place)
        nearest = next(folder for folder in place.parents if os.path.lexists(folder))
        if not nearest.is_dir():
            raise OutputError(out, f"cannot be made: {nearest} is no folder", _RENAME)
        if not os.access(nearest, os.W_OK):
            raise OutputError(out, f"cannot be made: {nearest} may not be written to", _RENAME)


def is_marked(folder: Path, mark: str = MARK) -> bool:
    """Tell whether tumorlens made a folder, in this version or an older one."""
    names = set(os.listdir(folder))
    return mark in names or (mark == MARK and any(names.issuperset(row) for row in _OLD_MARKS))


def mark_folder(folder: Path, mark: str = MARK) -> None:
    """Mark a folder as made by tumorlens; it is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / mark).exists():
        write_file(folder / mark, _MARK_TEXT)


def is_within(path: Path, folder: Path) -> bool:
    """Return whether a path lies in a folder, or is it, once links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _is_table(path: Path, columns: Collection[str], needed: Collection[str]) -> bool:
    with suppress(OSError, ValueError, csv.Error):
        return set(needed) <= set(read_columns(path)) <= set(columns)
    return False


def _is_report(path: Path) -> bool:
    with suppress(OSError, ValueError):
        data = read_file(path)
        if data.startswith(b"%PDF"):
            return b"/Creator (Tumorlens)" in data
        if data.startswith(b"<!doctype html>"):
            return b"<title>Tumorlens" in data[:1000]
        stored = json.loads(data)
        return isinstance(stored, dict) and {"schema", "predictions"} <= stored.keys()
    return False
