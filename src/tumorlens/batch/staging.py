"""Files of a shard where they can be read: as they lie, fetched from a store, or unpacked."""

import posixpath
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from tumorlens.batch.storage import (
    concerns_one_file,
    file_system,
    is_full,
    is_remote,
    named_errors,
)
from tumorlens.errors import ArchiveError, ImageError, StorageError, UnreadableImageError
from tumorlens.images.archive import open_archive, unpack
from tumorlens.images.nifti import PAIR
from tumorlens.images.readers import find_files
from tumorlens.records import Prediction

AT_ONCE = 16  # files that are fetched side by side
_CHECK = "Check the name of it and your right to read it."
T = TypeVar("T")


@dataclass(frozen=True)
class StagedFiles:
    """Scans on this machine under the names by which they were given."""

    files: tuple[Path, ...]  # scans, in the order given; those of an archive in its place
    given: dict[str, str]  # name of a scan, by where it lies; of an archive ARCHIVE/MEMBER
    unusable: dict[str, ImageError]  # what could not be fetched or unpacked, by its name
    folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> "StagedFiles":
        return self

    def __exit__(self, *_failure: object) -> None:
        if self.folder is not None:
            self.folder.cleanup()

    def name_of(self, path: str) -> str:
        """Return the name that a scan or a series was given, by where it lies."""
        if path in self.given:
            return self.given[path]
        file, mark, number = path.rpartition("#")
        return f"{self.given[file]}#{number}" if mark and file in self.given else path

    def renamed(self, answer: Prediction) -> Prediction:
        """Return an answer under the name that its scan was given."""
        return replace(answer, path=self.name_of(answer.path), series=self.name_of(answer.series))


def stage(paths: Sequence[str]) -> StagedFiles:
    """Fetch what lies in a store and unpack archives, into a folder for a while.

    A file that is not there, or that alone is refused, is among the unusable. Raises StorageError
    where the store itself refuses or does not answer.
    """
    paths = list(dict.fromkeys(paths))
    if not any(is_remote(path) or _is_archive(path) for path in paths):
        return StagedFiles(tuple(map(Path, paths)), {path: path for path in paths}, {})
    folder = tempfile.TemporaryDirectory(prefix="tumorlens-")
    with ExitStack() as undo:
        undo.callback(folder.cleanup)
        staged = _stage(paths, Path(folder.name))
        undo.pop_all()
    return replace(staged, folder=folder)


def staged_ahead(groups: Iterable[Sequence[T]], paths_of: Callable[[Sequence[T]], list[str]],
                 ) -> Iterator[tuple[Sequence[T], StagedFiles]]:  # fmt: skip
    """Stage one group after the other; the next is fetched while one is worked on."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for group in groups:
            coming = (group, pool.submit(stage, paths_of(group)))
            if waiting is not None:
                with waiting[1].result() as staged:
                    yield waiting[0], staged
            waiting = coming
        if waiting is not None:
            with waiting[1].result() as staged:
                yield waiting[0], staged


def _stage(paths: Sequence[str], folder: Path) -> StagedFiles:
    remote = [path for path in paths if is_remote(path)]
    lies, unusable = _fetch(remote, folder) if remote else ({}, {})
    files: list[Path] = []
    given: dict[str, str] = {}
    for number, path in enumerate(paths):
        if path in unusable:
            continue
        at = lies.get(path, Path(path))
        if not _is_archive(path):
            files.append(at)
            given[str(at)] = path
            continue
        inside = folder / f"archive-{number}"
        try:
            with named_errors(path):
                members = _unpack(at, inside)
        except ArchiveError as error:
            unusable[path] = UnreadableImageError(path, error.fact, error.fix)
            continue
        files += members
        given |= {str(m): f"{path}/{m.relative_to(inside).as_posix()}" for m in members}
        if not members:
            unusable[path] = UnreadableImageError(path, "holds no scans", "Leave it out.")
    return StagedFiles(tuple(files), given, unusable)


def _is_archive(path: str) -> bool:
    return path.lower().endswith(".zip")


def _unpack(archive: Path, into: Path) -> list[Path]:
    try:
        with open_archive(archive) as opened:
            into.mkdir()
            unpack(opened, [member for member in opened.members if not member.is_hidden], into)
    except OSError as e:
        if is_full(e):
            raise
        raise ArchiveError(archive, f"cannot be opened ({e.strerror})", _CHECK) from e
    return list(find_files([into]).scans)


def _fetch(paths: Sequence[str], folder: Path) -> tuple[dict[str, Path], dict[str, ImageError]]:
    """Fetch files side by side; returns where each lies, and what alone cannot be had.

    Files of one folder stay together, for the two files of a pair, and in their order.
    """
    folders = sorted({posixpath.dirname(path) for path in paths})
    place = {name: folder / f"{number:06d}" for number, name in enumerate(folders)}
    for made in place.values():
        made.mkdir()
    lies = {path: place[posixpath.dirname(path)] / posixpath.basename(path) for path in paths}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        refusals = list(pool.map(_get, paths, [lies[path] for path in paths]))
    refused = {path: error for path, error in zip(paths, refusals, strict=True) if error}
    had = next((path for path in paths if path not in refused), None)
    _check_store(refused, had)
    return lies, {
        path: UnreadableImageError(path, error.fact, _CHECK) for path, error in refused.items()
    }


def _get(path: str, to: Path) -> StorageError | None:
    try:
        with named_errors(path):
            system, inside = file_system(path)
            system.get_file(inside, str(to))
            if to.suffix.lower() in PAIR:
                _get_other_of_pair(system, inside, to)
    except StorageError as error:
        return error
    return None


def _get_other_of_pair(system: Any, inside: str, to: Path) -> None:
    (other,) = set(PAIR) - {to.suffix.lower()}
    with suppress(FileNotFoundError):  # reading tells
        system.get_file(str(PurePosixPath(inside).with_suffix(other)), str(to.with_suffix(other)))


def _check_store(refused: dict[str, StorageError], had: str | None) -> None:
    """Raise the error of a store that refuses everything, and not that of one file.

    Credentials run out in the middle of a shard: what was had before is asked for again.
    """
    for error in refused.values():
        if not concerns_one_file(error):
            raise error
    serious = [e for e in refused.values() if not isinstance(e.__cause__, FileNotFoundError)]
    if not serious:
        return
    if had is None:
        raise serious[0]
    with named_errors(had):
        system, inside = file_system(had)
        system.cat_file(inside, start=0, end=1)
