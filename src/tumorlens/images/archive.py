"""Zip archives from outside: looked through before a byte is unpacked, and bounded while it is.

An archive is refused as a whole if one member would leave its folder, is a link, or is encrypted,
or if it would unpack to more than the limits allow. Only stored and deflated members are read:
other methods may ask for any amount of memory.
"""

import os
import secrets
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from tumorlens.errors import ArchiveError
from tumorlens.files import short_name
from tumorlens.progress import Progress, silent

PIECE = 2**20  # bytes held while unpacking
TAIL = 2**16 + 22 + 76  # bytes: the longest comment, the end record and its 64-bit twin
_GET_AGAIN = "Fetch it again, or get it from the page of the set."
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, OverflowError,
           NotImplementedError)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to; the public sets stay far below."""

    members: int = 200_000
    total_bytes: int = 16 * 2**30
    member_bytes: int = 2**30
    ratio: float = 100.0  # unpacked to packed; scans are packed already, bombs reach 1,000
    ratio_from: int = 2**20  # bytes below which the ratio does not matter


LIMITS = Limits()


@dataclass(frozen=True)
class Member:
    """A file in an archive, under a path that stays inside any folder it is unpacked to."""

    name: str  # posix
    size: int  # bytes, unpacked
    crc: int
    info: zipfile.ZipInfo

    @property
    def is_hidden(self) -> bool:
        """Whether it is none of the set's own files, but one that an operating system left."""
        parts = PurePosixPath(self.name).parts
        return any(part.startswith(".") or part == "__MACOSX" for part in parts)


@dataclass(frozen=True)
class Opened:
    """An archive that was looked through."""

    path: Path
    zip: zipfile.ZipFile
    members: tuple[Member, ...]  # files only, by name


@contextmanager
def open_archive(path: Path, *, limits: Limits = LIMITS) -> Iterator[Opened]:
    """Open a zip file and look through its members.

    Raises ArchiveError if it is no zip file, is cut short, is unsafe, or is above the limits.
    """
    with _named(path):
        _check_directory(path, limits)
        archive = zipfile.ZipFile(path)
    with archive:
        infos = archive.infolist()
        members = [Member(_name(info), info.file_size, info.CRC, info) for info in infos
                   if not _name(info).endswith("/")]  # fmt: skip
        _check_names(path, infos, members)
        _check_sizes(path, members, limits)
        yield Opened(path, archive, tuple(sorted(members, key=lambda member: member.name)))


def read_member(opened: Opened, member: Member) -> bytes:
    """Read one file into memory; raises ArchiveError if it is damaged."""
    with _named(opened.path, member.name), opened.zip.open(member.info) as source:
        return source.read(member.size)


def unpack(
    opened: Opened, members: Sequence[Member], into: Path, *, progress: Progress = silent
) -> None:
    """Write members under the folder `into`; raises ArchiveError if one is damaged."""
    for number, member in enumerate(members, start=1):
        target = into / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            _named(opened.path, member.name),
            opened.zip.open(member.info) as source,
            target.open("xb") as file,
        ):
            shutil.copyfileobj(source, file, PIECE)
        progress(number, len(members))


@contextmanager
def unpacked(paths: Sequence[Path], *, limits: Limits = LIMITS) -> Iterator[dict[Path, Path]]:
    """Unpack the zip files among `paths` for a while; yields where each path's files lie.

    A path that is no zip file lies where it is. Raises as `open_archive`.
    """
    with tempfile.TemporaryDirectory(prefix="tumorlens-") as folder:
        lies: dict[Path, Path] = {}
        for number, path in enumerate(paths):
            lies[path] = path
            if path.suffix.lower() == ".zip" and path.is_file():
                lies[path] = Path(folder, str(number))
                with open_archive(path, limits=limits) as opened:
                    kept = [member for member in opened.members if not member.is_hidden]
                    unpack(opened, kept, lies[path])
        yield lies


@contextmanager
def built_aside(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder` to fill, and rename it to `folder` at the end.

    Where the block fails, or is killed, there is no `folder`; a killed one leaves its
    `<folder>.<random>.partial`. Raises ArchiveError if `folder` exists and is not empty.
    """
    folder = Path(os.path.abspath(folder))  # "." has no name
    folder.parent.mkdir(parents=True, exist_ok=True)
    name = f"{short_name(folder.name)}.{secrets.token_hex(8)}.partial"
    partial = folder.with_name(name)
    partial.mkdir()
    try:
        yield partial
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        if folder.exists():
            raise ArchiveError(folder, "exists", "Name another folder.")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _named(path: Path, member: str = "") -> Iterator[None]:
    """Name the archive, and the file in it, in whatever the zip reader finds wrong."""
    try:
        yield
    except _DAMAGE as error:
        fact = f"cannot be unpacked ({error or type(error).__name__})"
        if member:
            fact = f"holds {member}, which {fact}"
        elif _first_bytes(path)[:2] != b"PK":
            fact = f"is {_kind(path)}, not a zip archive"
        raise ArchiveError(path, fact, _GET_AGAIN) from error


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _kind(path: Path) -> str:
    start = _first_bytes(path).lstrip().lower()
    return "empty" if not start else "a web page" if start.startswith(b"<") else "another file"


def _check_directory(path: Path, limits: Limits) -> None:
    """Refuse a list of members that would not fit into memory, before it is read."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - TAIL))
        tail = file.read()
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or len(tail) - found < 22:
        raise zipfile.BadZipFile("its end is missing: it is damaged or cut short")
    count, size = struct.unpack("<HL", tail[found + 10 : found + 16])
    wide = tail.rfind(b"PK\x06\x06", 0, found)
    if wide >= 0 and found - wide >= 56:
        count, size = struct.unpack("<QQ", tail[wide + 32 : wide + 48])
    if count > limits.members or size > limits.members * 300:
        raise _above(path, f"{count:,} files", f"{limits.members:,}")


def _name(info: zipfile.ZipInfo) -> str:
    return info.filename.replace("\\", "/")


def _leaves(info: zipfile.ZipInfo) -> bool:
    name = _name(info)
    windows = PureWindowsPath(name)
    return bool(name.startswith("/") or windows.drive or windows.root or ".." in windows.parts)


def _is_special(info: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(info.external_attr >> 16)
    return kind not in (0, stat.S_IFREG, stat.S_IFDIR)


_REFUSED: tuple[tuple[str, Callable[[zipfile.ZipInfo], bool]], ...] = (
    ("would be written outside of its folder", _leaves),
    ("is a link or a device", _is_special),
    ("is encrypted", lambda info: bool(info.flag_bits & 1)),
    (
        "is packed by a method that is not read here",
        lambda info: info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
    ),
    ("starts before the archive does", lambda info: info.header_offset < 0),
    ("has no name", lambda info: not PurePosixPath(_name(info)).name),
)


def _check_names(path: Path, infos: Sequence[zipfile.ZipInfo], members: Sequence[Member]) -> None:
    for info in infos:
        for fact, applies in _REFUSED:
            if applies(info):
                raise ArchiveError(path, f"holds {_name(info)!r}, which {fact}", _GET_AGAIN)
    doubled = [n for n, count in Counter(member.name for member in members).items() if count > 1]
    if doubled:
        raise ArchiveError(path, f"holds {doubled[0]!r} twice", _GET_AGAIN)


def _check_sizes(path: Path, members: Sequence[Member], limits: Limits) -> None:
    total = sum(member.size for member in members)
    packed = path.stat().st_size
    if len(members) > limits.members:
        raise _above(path, f"{len(members):,} files", f"{limits.members:,}")
    if total > limits.total_bytes:
        raise _above(path, f"{total:,} bytes", f"{limits.total_bytes:,}")
    _check_ratio(path, ("files of", total, packed), limits)
    for member in members:
        if member.size > limits.member_bytes:
            fact = f"{member.name} of {member.size:,} bytes"
            raise _above(path, fact, f"{limits.member_bytes:,}")
        _check_ratio(path, (f"{member.name} of", member.size, member.info.compress_size), limits)


def _check_ratio(path: Path, sizes: tuple[str, int, int], limits: Limits) -> None:
    name, size, stored = sizes
    if size > limits.ratio_from and size > limits.ratio * stored:
        raise _above(
            path, f"{name} {size:,} bytes packed into {stored:,}", f"{limits.ratio:g} to 1"
        )


def _above(path: Path, fact: str, cap: str) -> ArchiveError:
    return ArchiveError(path, f"holds {fact}, above the cap of {cap}", _GET_AGAIN)
