"""Which files are scans, and how each format is read: one row a format."""

import os
import re
import stat
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import ParamSpec, TypeVar

from tumorlens.errors import (
    ImageError,
    ImageTooLargeError,
    InvalidPixelsError,
    MissingReaderError,
    UnreadableImageError,
)
from tumorlens.files import open_file
from tumorlens.images import nifti, structure
from tumorlens.images.dicom import decode_dicom
from tumorlens.images.dicom_header import read_headers
from tumorlens.images.frames import frame_path, split_frame_path
from tumorlens.images.raster import (
    SAVE_AS_PNG,
    check_pixels,
    decode_raster,
    first_line,
    stack_headers,
)
from tumorlens.images.slices import SliceHeader
from tumorlens.images.structure import Structure
from tumorlens.records import Scan, Unusable
from tumorlens.settings import ReadLimits

MAX_PIXEL_VALUE = 1e30  # sums of larger pixels overflow 32-bit floats
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Reader:
    """One format: how its files are named, told by their bytes, and read.

    `read` takes (data, source, limits) and returns every slice of the file. It raises an
    ImageError, and ModuleNotFoundError where the libraries of `extra` are not installed.
    `headers` takes (path, limits, data or None) and reads what a file says of its slices; None:
    it holds single images.
    `announce` counts what a file asks for, without decoding; None: the format is not counted.
    """

    name: str
    suffixes: tuple[str, ...]  # lower case
    signatures: tuple[tuple[int, bytes], ...] = ()  # offset and bytes; one of them is enough
    read: Callable[[bytes, str, ReadLimits], tuple[Scan, ...]] | None = None  # None: known only
    extra: str = ""
    announce: Callable[[bytes], Structure] | None = None
    is_volume: bool = False  # may hold many slices, and has caps of its own
    headers: Callable[[str, ReadLimits, bytes | None], tuple[SliceHeader, ...]] | None = None


# With the preamble; without it, by its first group: the meta header, or the data set in either
# byte order.
_DICOM_STARTS = ((128, b"DICM"), (0, b"\2\0\0\0"), (0, b"\x08\0"), (0, b"\0\x08\0"))
# Versions 1 and 2, alone or of a pair, and packed: nothing else that is read here is.
_NIFTI_STARTS = ((344, b"n+1\0"), (344, b"ni1\0"), (4, b"n+2\0"), (0, b"\x1f\x8b"))
READERS = (
    # First: its preamble may be the start of another format.
    Reader("DICOM", (".dcm", ".ima"), _DICOM_STARTS, decode_dicom, "dicom",
           announce=structure.dicom_structure, is_volume=True, headers=read_headers),
    Reader("PNG", (".png",), ((0, b"\x89PNG\r\n\x1a\n"),), decode_raster,
           announce=structure.png_structure),
    Reader("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), ((0, b"\xff\xd8\xff"),), decode_raster,
           announce=structure.jpeg_structure),
    Reader("BMP", (".bmp",), ((0, b"BM"),), decode_raster, announce=structure.bmp_structure),
    Reader("TIFF", (".tif", ".tiff"), ((0, b"II"), (0, b"MM")), decode_raster,
           announce=structure.tiff_structure, headers=stack_headers),
    Reader("WEBP", (".webp",), ((8, b"WEBP"),), decode_raster, announce=structure.webp_structure,
           headers=stack_headers),
    Reader("GIF", (".gif",), ((0, b"GIF8"),), decode_raster, announce=structure.gif_structure,
           headers=stack_headers),
    Reader("NIfTI", (".nii", ".nii.gz", ".img", ".hdr"), _NIFTI_STARTS, nifti.decode_nifti, "nifti",
           announce=structure.nifti_structure, is_volume=True, headers=nifti.read_headers),
)  # fmt: skip

# Files that lie beside scans and are not meant as scans; anything else is tried.
BESIDE = frozenset({".csv", ".json", ".txt", ".md", ".html", ".xml", ".yaml", ".yml", ".pdf",
                    ".xlsx", ".zip", ".gz", ".py", ".ipynb", ".log"})  # fmt: skip
# What systems and burners of discs put there; "._" is the twin of a file on foreign disks of a Mac.
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store", "__macosx",
                          "$recycle.bin", "system volume information", "@eadir", "dicomdir",
                          "autorun.inf"})  # fmt: skip
SYSTEM_PREFIX = "._"
# What the mask of a scan is called that stands beside it: T_1_mask.png beside T_1.png.
MASK_ENDINGS = ("mask", "masks", "seg", "segmentation")
_MASK_NAME = re.compile(rf"(?P<scan>.+?)[ _.-]+(?:{'|'.join(MASK_ENDINGS)})", re.IGNORECASE)
MASK, SYSTEM, HIDDEN = "mask", "system file", "hidden file"  # kinds of what is no scan


def readable_suffixes() -> tuple[str, ...]:
    """Return the endings of names of files that can be read here, sorted, such as ".png"."""
    return tuple(sorted(s for reader in READERS if reader.read for s in reader.suffixes))


def reader_of_name(name: str | Path) -> Reader | None:
    """Return the format that a name promises; None where it promises none that is known."""
    lower = os.path.basename(name).lower()
    return next((reader for reader in READERS if lower.endswith(reader.suffixes)), None)


def slice_headers(
    path: str | Path, *, limits: ReadLimits = ReadLimits()
) -> tuple[SliceHeader, ...]:
    """Read what a file says of its slices, without pixels; none of an image that stands alone.

    Raises as `open_images`, where the file is of a format with such headers.
    """
    try:
        with open_file(Path(path)) as file:
            reader = reader_of_bytes(file.read(512)) or reader_of_name(path)
    except (OSError, ValueError):
        return ()  # reading it will tell
    return _headers(reader, str(path), limits, None)


def slice_headers_bytes(
    data: bytes, *, source: str, limits: ReadLimits = ReadLimits()
) -> tuple[SliceHeader, ...]:
    """Read from memory what a file says of its slices. Raises as `slice_headers`."""
    reader = reader_of_bytes(data) or reader_of_name(source)
    return _headers(reader, source, limits, data)


def _headers(
    reader: Reader | None, source: str, limits: ReadLimits, data: bytes | None
) -> tuple[SliceHeader, ...]:
    if reader is None or reader.headers is None:
        return ()
    with named_extra(reader, source):
        return reader.headers(source, limits, data)


@contextmanager
def named_extra(reader: Reader, source: str) -> Iterator[None]:
    """Say what to install where the libraries of a format lack."""
    try:
        yield
    except ModuleNotFoundError as e:
        fix = f'Run: pip install "tumorlens[{reader.extra}]"'
        raise MissingReaderError(source, f"is {reader.name}, which needs {e.name}", fix) from e


def reader_of_bytes(data: bytes) -> Reader | None:
    """Return the format that the first bytes show; None where they show none that is known."""
    for reader in READERS:
        if any(data.startswith(mark, at) for at, mark in reader.signatures):
            return reader
    return None


def open_images(path: str | Path, *, limits: ReadLimits = ReadLimits()) -> tuple[Scan, ...]:
    """Read every slice of a file, or the one that FILE#FRAME names.

    Raises an ImageError that names the file, the fact and the fix: UnreadableImageError (no
    file, a folder, another format, damaged), ImageTooLargeError, ImageTooSmallError,
    InvalidPixelsError (NaN or infinite), MissingReaderError (its libraries are not installed).
    """
    file, frame = split_frame_path(path)
    if frame is not None:
        return (replace(_frame_of(file, frame, limits), source=str(path)),)
    return open_images_bytes(read_bytes(path, limits=limits), source=str(path), limits=limits)


def _frame_of(file: Path, frame: int, limits: ReadLimits) -> Scan:
    """Return one slice; the slices of a volume are asked for together, and decoded once."""
    try:
        changed_ns = file.stat().st_mtime_ns
    except (OSError, ValueError):
        changed_ns = 0  # reading tells
    whole, slices = frame, _slices_of_volume(file, changed_ns, limits)
    if slices and limits.volume < 0:
        volume, frame = divmod(frame, slices)
        limits = replace(limits, volume=volume)
    with _DECODING[hash(file) % len(_DECODING)]:
        found = _decoded(file, changed_ns, limits)
    if isinstance(found, Unusable):
        error = found.error
        raise type(error)(frame_path(file, whole), error.fact, error.fix)
    return choose_frame(found, frame)


@lru_cache(maxsize=64)
def _slices_of_volume(file: Path, _changed_ns: int, limits: ReadLimits) -> int:
    """Return how many slices each volume of a NIfTI file with several has; 0 of other files.

    They are counted on from volume to volume.
    """
    reader = reader_of_name(file)
    if reader is None or reader.name != "NIfTI":
        return 0
    with named_extra(reader, str(file)):
        found = attempt(nifti.count_volumes, str(file), limits)
    if isinstance(found, Unusable):
        return 0  # reading it tells
    volumes, slices = found
    return slices if volumes > 1 else 0


_DECODING = tuple(Lock() for _ in range(16))  # threads wait for one another over one file alone


@lru_cache(maxsize=2)
def _decoded(file: Path, _changed_ns: int, limits: ReadLimits) -> tuple[Scan, ...] | Unusable:
    return attempt(open_images, file, limits=limits)


def open_images_bytes(
    data: bytes, *, source: str, limits: ReadLimits = ReadLimits()
) -> tuple[Scan, ...]:
    """Read every slice from memory; `source` names it in errors. Raises as `open_images`."""
    named, found = reader_of_name(source), reader_of_bytes(data)
    reader = found or named
    _check_length(len(data), source, reader, limits)
    if reader is None:
        raise UnreadableImageError(source, f"is not a {_listed_formats()} image", SAVE_AS_PNG)
    if reader.read is None:
        fact = f"is a {reader.name} file, which cannot be read yet"
        raise UnreadableImageError(source, fact, SAVE_AS_PNG)
    announced_pixels(data, source=source, limits=limits)
    with named_extra(reader, source):
        scans = reader.read(data, source, limits)
    for scan in scans:
        _check_values(scan)
    if found and named and found is not named:
        note = f"named {named.name}, is {found.name}"
        scans = tuple(replace(scan, notes=(note, *scan.notes)) for scan in scans)
    return scans


def announced_pixels(data: bytes, *, source: str, limits: ReadLimits = ReadLimits()) -> int:
    """Return how many pixels a file announces, without decoding; the cap where it cannot be told.

    0 for bytes of no known format: there is nothing to decode. Raises ImageTooLargeError above the
    cap, and for more scans, pages, chunks or tags than an image needs: its decoder would be busy
    for hours. What is damaged passes: reading tells how.
    """
    reader = reader_of_bytes(data)
    if reader is None:
        return 0
    if reader.announce is None:
        return limits.max_pixels
    try:
        found = reader.announce(data)
    except (struct.error, IndexError, zlib.error):
        return limits.max_pixels
    if found.excess:
        raise ImageTooLargeError(source, found.excess, SAVE_AS_PNG)
    check_pixels((found.width, found.height), source, limits.max_pixels)
    slices = found.frames if reader.is_volume else 1  # of other files the first image is read
    return slices * found.pixels or limits.max_pixels


def read_scan(
    path: str | Path, *, frame: int | None = None, limits: ReadLimits = ReadLimits()
) -> Scan:
    """Read one slice of a file, the first where no `frame` is named. Raises as `open_images`."""
    return choose_frame(open_images(path, limits=limits), frame)


def read_scan_bytes(data: bytes, *, source: str, limits: ReadLimits = ReadLimits()) -> Scan:
    """Read the first slice from memory. Raises as `open_images`."""
    return choose_frame(open_images_bytes(data, source=source, limits=limits), None)


def attempt(step: Callable[P, T], *args: P.args, **options: P.kwargs) -> T | Unusable:
    """Return what a step makes of a scan, or why that scan cannot be used.

    The step is any function that raises an ImageError: reading, finding the head, preparing.
    """
    try:
        return step(*args, **options)
    except ImageError as error:
        # Tracebacks hold the pixels, in a circle that only the garbage collector opens.
        error.__context__ = error.__cause__ = None
        return Unusable(error.with_traceback(None))


def choose_frame(scans: Sequence[Scan], frame: int | None) -> Scan:
    """Return one slice of a file, the first where no frame is named. Raises as `open_images`."""
    if frame is None and len(scans) > 1:
        note = f"first of {len(scans)} frames read"
        return replace(scans[0], notes=(*scans[0].notes, note))
    if frame is None:
        return scans[0]
    for scan in scans:
        if (scan.frame or 0) == frame:
            return scan
    fact = f"has no frame {frame}, it holds {len(scans)}"
    raise UnreadableImageError(scans[0].source, fact, "Frames count from 0.")


def _listed_formats() -> str:
    *names, last = [reader.name for reader in READERS if reader.read]
    return f"{', '.join(names)} or {last}"


def _check_values(scan: Scan) -> None:
    # NaN goes through min and max, and compares false.
    if not (scan.pixels.min() > -MAX_PIXEL_VALUE and scan.pixels.max() < MAX_PIXEL_VALUE):
        fact = "holds pixels that are not numbers (NaN, infinite, or as good as infinite)"
        fix = "Replace them before export, for example by 0."
        raise InvalidPixelsError(scan.source, fact, fix)


def read_bytes(path: str | Path, *, limits: ReadLimits = ReadLimits()) -> bytes:
    """Read a whole file that may hold images; raises an ImageError as `open_images`."""
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableImageError(path, "is a folder", "Name a file, or a folder of files.")
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImageError(path, "is not a regular file", "Name an image file.")
        with open_file(path) as file:
            start = file.read(512)
            file.seek(0)
            reader = reader_of_bytes(start) or reader_of_name(path)
            _check_length(status.st_size, str(path), reader, limits)
            if reader and reader.name == "NIfTI" and path.suffix.lower() in nifti.PAIR:
                return nifti.read_pair(path, limits)
            return file.read()
    except (OSError, ValueError) as e:  # ValueError: a zero byte in the path
        reason = getattr(e, "strerror", None) or first_line(e)
        raise UnreadableImageError(
            path, f"cannot be opened ({reason})", "Check the path and your right to read it."
        ) from e


def _check_length(length: int, source: str, reader: Reader | None, limits: ReadLimits) -> None:
    if length == 0:
        raise UnreadableImageError(source, "is empty (0 bytes)", "Copy or export it again.")
    is_volume = reader is not None and reader.is_volume
    cap = limits.max_volume_bytes if is_volume else limits.max_bytes
    if length > cap:
        fact = f"has {length:,} bytes, above the cap of {cap:,}"
        setting = "TUMORLENS_MAX_VOLUME_BYTES" if is_volume else "TUMORLENS_MAX_BYTES"
        fix = f"Export one slice per file, or raise {setting}."
        raise ImageTooLargeError(source, fact, fix)


@dataclass(frozen=True)
class FoundFiles:
    """What stands under the paths that were given."""

    scans: tuple[Path, ...]
    masks: Mapping[Path, Path]  # of a scan, by its path
    passed_over: Mapping[str, int]  # how many files of each kind are no scans


def find_scans(paths: Iterable[str | Path]) -> list[Path]:
    """List every scan under `paths`, as `find_files` does."""
    return list(find_files(paths).scans)


def find_files(paths: Iterable[str | Path]) -> FoundFiles:
    """List every scan under `paths`, sorted within each; nothing is dropped in silence.

    A file named outright is always listed. In a folder, hidden files, those of systems, the kinds
    in BESIDE and masks beside their scans are counted and not listed; a folder named like an
    image, a broken link and a link that leads back up are listed, so that reading them gives an
    error that can be shown, and so are files of formats that are known and cannot be read.
    """
    scans: list[Path] = []
    masks: dict[Path, Path] = {}
    passed: Counter[str] = Counter()
    for given in map(Path, paths):
        if not os.path.isdir(given):
            scans.append(given)
            continue
        for path, kind in sorted(_walk(given, frozenset())):
            if kind:
                passed[kind] += 1
            else:
                scans.append(path)
            if kind == MASK:
                masks |= dict.fromkeys(_masked_by(path), path)
    return FoundFiles(tuple(scans), masks, dict(sorted(passed.items())))


def _walk(folder: Path, above: frozenset[str]) -> Iterator[tuple[Path, str]]:
    """Yield each file below a folder, and what it is if it is no scan."""
    real = os.path.realpath(folder)
    if real in above:
        yield folder, ""
        return
    try:
        entries = list(os.scandir(folder))
    except OSError:
        yield folder, ""
        return
    is_folder = {
        entry.name: _is_folder(entry) and Path(entry.name).suffix.lower() not in readable_suffixes()
        for entry in entries
    }
    kinds = kinds_in_folder([entry.name for entry in entries])
    for entry in entries:
        kind = kinds.get(entry.name)
        if not is_folder[entry.name]:
            if kind is not None:
                yield Path(entry.path), kind
        elif kind not in (SYSTEM, HIDDEN):
            yield from _walk(Path(entry.path), above | {real})


def kinds_in_folder(names: Sequence[str]) -> dict[str, str]:
    """Return what each file of a folder is if it is no scan, by its name; "" is what may be one.

    The header of a pair is not among them: a pair is one volume, listed by its .img.
    """
    lower, stems = {name.lower() for name in names}, {name_stem(Path(name)) for name in names}
    kinds: dict[str, str] = {}
    for name in names:
        path = Path(name)
        if path.suffix.lower() == ".hdr" and f"{path.stem.lower()}.img" in lower:
            continue
        if is_system_file(name) or name.startswith("."):
            kinds[name] = SYSTEM if is_system_file(name) else HIDDEN
        elif scan_of_mask(name_stem(path)) in stems:
            kinds[name] = MASK
        elif reader_of_name(name) is None and path.suffix.lower() in BESIDE:
            kinds[name] = f"{path.suffix.lower()} file"
        else:
            kinds[name] = ""
    return kinds


def is_system_file(name: str) -> bool:
    """Tell whether a name is that of a file or folder which an operating system put there."""
    return name.lower() in SYSTEM_FILES or name.startswith(SYSTEM_PREFIX)


def name_stem(path: Path) -> str:
    """Return a name without its ending, of which .nii.gz is one."""
    return path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem


def scan_of_mask(stem: str) -> str | None:
    """Return the stem of the scan that a file is the mask of, by its name; None where it is none.

    >>> scan_of_mask("T_1_mask"), scan_of_mask("T_1")
    ('T_1', None)
    """
    found = _MASK_NAME.fullmatch(stem)
    return found["scan"] if found else None


def _masked_by(mask: Path) -> list[Path]:
    """Return the scans beside a mask that it belongs to."""
    stem = scan_of_mask(name_stem(mask))
    suffixes = ("", *_either_case(readable_suffixes()))  # "": the folder of a series
    names = (mask.with_name(f"{stem}{suffix}") for suffix in suffixes)
    return [path for path in names if path.exists()]


def _either_case(suffixes: Sequence[str]) -> list[str]:
    return [*suffixes, *(suffix.upper() for suffix in suffixes)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
