"""What DICOM files say of their slices: kind, identity and geometry, without pixels.

Classic files hold one frame; enhanced ones hold many, each with attributes of its own in
functional groups (PS3.3 C.7.6.16).
"""

import hashlib
import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumorlens.errors import ImageError, ImageTooLargeError, UnreadableImageError
from tumorlens.images.raster import first_line
from tumorlens.images.slices import SliceHeader
from tumorlens.records import Modality
from tumorlens.settings import ReadLimits

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

SEND_AGAIN = "Export it again, uncompressed, or convert the series to NIfTI."
EXPORT_SLICES = "Export the slices themselves, as CT or MR images."
# Storage classes (PS3.4 B.5): classic, enhanced, and enhanced made from classic.
MODALITY_OF_STORAGE: dict[str, Modality] = {
    "1.2.840.10008.5.1.4.1.1.2": "ct",
    "1.2.840.10008.5.1.4.1.1.2.1": "ct",
    "1.2.840.10008.5.1.4.1.1.2.2": "ct",
    "1.2.840.10008.5.1.4.1.1.4": "mri",
    "1.2.840.10008.5.1.4.1.1.4.1": "mri",
    "1.2.840.10008.5.1.4.1.1.4.4": "mri",
}
_MODALITY_OF_TAG: dict[str, Modality] = {"CT": "ct", "MR": "mri"}  # where no class is named
_DEFLATED, _PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
# Where an enhanced file keeps what a classic file keeps at its top.
_GROUP_OF: dict[Any, str] = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "TemporalPositionIndex": "FrameContentSequence",
}
# Ids of patients that anonymizers leave, without all but letters and digits.
_NOBODY = frozenset({"", "0", "00", "000", "0000", "none", "null", "na", "unknown", "anon",
                     "anonym", "anonymous", "anonymized", "anonymised", "noid", "patient",
                     "removed", "deidentified", "xxx", "xxxx"})  # fmt: skip
_ECHOES = ("EchoNumbers", "EffectiveEchoTime")
_B_VALUES = ("DiffusionBValue", 0x0019100C, 0x00431039, 0x20011003)  # the others are vendors' own
_GE_FLAG = 1e9  # is added to some b-values
_TIMES = ("TemporalPositionIdentifier", "TemporalPositionIndex")
_READ = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality",
    "PatientID", "SeriesDescription", "ProtocolName", "ImageType", "ComplexImageComponent",
    "Rows", "Columns",
    "NumberOfFrames", "InstanceNumber", "AcquisitionNumber", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", *_GROUP_OF, *_ECHOES, *_B_VALUES, *_TIMES,
]  # fmt: skip
_PIXELS = 0x7FE00000
_PLAIN_KINDS = {"UI": str, "CS": str, "DS": float, "IS": int}  # as they are read from text
_RUST = "pyo3_runtime"  # whose panics, of a decoder written in Rust, are no Exceptions
# What pydicom and its decoders raise on damaged files.
_PARSER_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    EOFError,
    MemoryError,
    AssertionError,
    struct.error,
    zlib.error,
)


def read_headers(
    path: str | Path, limits: ReadLimits = ReadLimits(), data: bytes | None = None
) -> tuple[SliceHeader, ...]:
    """Read what a file says of its slices, of any storage class; raises an ImageError.

    `data` is the whole file, where it is in memory and `path` only names it.
    """
    source = str(path)
    with parsing(source), open(path, "rb") if data is None else io.BytesIO(data) as file:
        start = file.read(1024)
        file.seek(0)
        is_deflated = _DEFLATED in start
        opened = io.BytesIO(inflated(file.read(), source, limits)) if is_deflated else file
        return slice_headers(parse(opened, source, header_only=True), source)


@contextmanager
def parsing(source: str) -> Iterator[None]:
    """Turn whatever a damaged file makes the parser raise into an ImageError."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd values are tolerated
        try:
            yield
        except ImageError:
            raise
        except (*_PARSER_ERRORS, BytesLengthException, InvalidDicomError) as e:
            raise _damaged(source, e) from e
        except BaseException as e:
            if type(e).__module__ != _RUST:
                raise
            raise _damaged(source, e) from e


def _damaged(source: str, error: BaseException) -> UnreadableImageError:
    return UnreadableImageError(source, f"damaged or incomplete ({first_line(error)})", SEND_AGAIN)


def parse(file: Any, source: str, *, header_only: bool = False) -> "Dataset":
    """Parse a path or an open file, with or without a preamble."""
    from pydicom import dcmread
    from pydicom.filereader import read_partial

    if header_only:
        dataset = read_partial(
            file, lambda tag, *_: int(tag) >= _PIXELS, force=True, specific_tags=_wanted_tags()
        )
    else:
        dataset = dcmread(file, force=True)
    if not {_tag_of("SOPClassUID"), _tag_of("Rows")} & dataset.keys():
        raise UnreadableImageError(source, "is not a DICOM image", EXPORT_SLICES)
    return dataset


def inflated(data: bytes, source: str, limits: ReadLimits) -> bytes:
    """Unpack a file of the deflated transfer syntax, up to the cap; others stay as they are."""
    if _DEFLATED not in data[:1024]:
        return data
    if data[128:136] != b"DICM\x02\0\0\0":
        raise UnreadableImageError(source, "is deflated, without a whole header", SEND_AGAIN)
    end = 144 + struct.unpack("<L", data[140:144])[0]
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    body = inflater.decompress(data[end:], limits.max_volume_bytes)
    if inflater.unconsumed_tail:
        fact = f"inflates to more than the cap of {limits.max_volume_bytes:,} bytes"
        raise ImageTooLargeError(source, fact, "Export it uncompressed.")
    return data[:end].replace(_DEFLATED, _PLAIN) + body


def slice_headers(dataset: "Dataset", source: str) -> tuple[SliceHeader, ...]:
    """Return what a parsed file says of each of its frames, in the file's order."""
    frames = frame_count(dataset)
    is_stack = frames > 1 or "PerFrameFunctionalGroupsSequence" in dataset
    return tuple(_header(dataset, source, k if is_stack else None) for k in range(frames))


def frame_count(dataset: "Dataset") -> int:
    """Return how many frames a file declares, at least 1."""
    return max(1, int(attribute(dataset, "NumberOfFrames") or 1))


def matrix(dataset: "Dataset") -> tuple[int, int]:
    """Return the rows and columns a file declares; 0 where it declares none."""
    return int(attribute(dataset, "Rows") or 0), int(attribute(dataset, "Columns") or 0)


def modality(dataset: "Dataset") -> Modality | None:
    """Return what the storage class says; None for other images, reports, plans."""
    storage = attribute(dataset, "SOPClassUID")
    if storage:
        return MODALITY_OF_STORAGE.get(str(storage))
    return _MODALITY_OF_TAG.get(str(attribute(dataset, "Modality")))


def storage_name(dataset: "Dataset") -> str:
    """Return the name of the storage class, as of "CT Image Storage"."""
    storage = attribute(dataset, "SOPClassUID")
    if storage:
        return _uid_name(str(storage))
    return f"of modality {dataset.get('Modality') or 'unknown'}"


@cache
def _uid_name(uid: str) -> str:
    from pydicom.uid import UID

    return str(UID(uid).name)


def image_type(dataset: "Dataset") -> tuple[str, ...]:
    """Return the values of ImageType, and of the part of the complex signal, in capitals."""
    return (
        *_words(attribute(dataset, "ImageType")),
        *_words(attribute(dataset, "ComplexImageComponent")),
    )


def attribute(dataset: "Dataset", name: Any, frame: int | None = None) -> Any:
    """Look a value up in the groups of one frame, then in those all share, then at the top."""
    if frame is not None and name in _GROUP_OF:
        per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
        shared = dataset.get("SharedFunctionalGroupsSequence") or []
        for groups in (*per_frame[frame : frame + 1], *shared[:1]):
            group = groups.get(_GROUP_OF[name])
            if group and group[0].get(name) is not None:
                return group[0].get(name)
    tag = _tag_of(name)
    if tag not in dataset.keys():  # noqa: SIM118 -- much faster
        return None
    value = _plain_value(dataset.get_item(tag))
    return dataset[tag].value if value is None else value


def _plain_value(raw: Any) -> Any:
    """Read a usual value of an element that is not parsed yet; None leaves it to pydicom.

    That takes ten times as long, for what few values need: other kinds, odd or empty ones.
    """
    if not getattr(raw, "is_raw", False) or not raw.value:
        return None
    kind = raw.VR or _kind_of(raw.tag)
    try:
        if kind == "US" and len(raw.value) == 2:
            return int.from_bytes(raw.value, "little" if raw.is_little_endian else "big")
        read = _PLAIN_KINDS[kind]
        parts = [read(part.strip(" \0")) for part in raw.value.decode("ascii").split("\\")]
    except (KeyError, ValueError):
        return None
    return parts if len(parts) > 1 else parts[0]


@cache
def _kind_of(tag: int) -> str:
    from pydicom.datadict import dictionary_VR

    try:
        return dictionary_VR(tag)
    except KeyError:  # private
        return ""


@cache
def _tag_of(name: Any) -> "BaseTag":
    from pydicom.tag import Tag

    return Tag(name)


@cache
def _wanted_tags() -> list[int]:
    return [int(_tag_of(name)) for name in _READ]  # tags of pydicom compare slowly


def diffusion_b_value(dataset: "Dataset") -> float | None:
    """Return the b-value of a classic file, also where a maker keeps it in a private attribute."""
    for name in _B_VALUES:
        value = attribute(dataset, name)
        with suppress(TypeError, ValueError, LookupError):
            first = float(value if isinstance(value, int | float | bytes) else value[0])
            return first % _GE_FLAG
    return None


def _header(dataset: "Dataset", source: str, frame: int | None) -> SliceHeader:
    def text(*names: Any) -> str:
        values = (attribute(dataset, name, frame) for name in names)
        return next((str(value) for value in values if value not in (None, "", b"")), "")

    spacing = _numbers(attribute(dataset, "PixelSpacing", frame), 2)
    number = text("InstanceNumber")
    return SliceHeader(
        path=source,
        frame=frame,
        study=text("StudyInstanceUID"),
        series=text("SeriesInstanceUID"),
        instance=text("SOPInstanceUID"),
        patient=pseudonym(text("PatientID")) or pseudonym(text("StudyInstanceUID")),
        modality=modality(dataset),
        storage=storage_name(dataset),
        image_type=image_type(dataset),
        sequence=text("SeriesDescription", "ProtocolName"),
        matrix=matrix(dataset),
        orientation=_cosines(attribute(dataset, "ImageOrientationPatient", frame)),
        corner=_numbers(attribute(dataset, "ImagePositionPatient", frame), 3),
        spacing_mm=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        number=int(number) if number.lstrip("-").isdecimal() else None,
        acquisition=text("AcquisitionNumber"),
        kind=(text(*_ECHOES), text(*_B_VALUES), text(*_TIMES)),
    )


@lru_cache(maxsize=1024)
def pseudonym(patient: str) -> str:
    """Return a hash that stands for a patient; "" for an id that names nobody.

    >>> pseudonym("4711"), pseudonym("Anonymous")
    ('id-de650d61f5bd', '')
    """
    name = patient.strip()
    if re.sub("[^a-z0-9]", "", name.lower()) in _NOBODY:
        return ""
    return f"id-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:12]}"


def _words(value: Any) -> tuple[str, ...]:
    """Return one value or several as words in capitals."""
    values = [value] if isinstance(value, str) else value or []
    return tuple(str(word).strip().upper() for word in values)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """Return so many finite numbers; None for anything else, as malformed tags hold."""
    try:
        numbers = tuple(float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _cosines(value: Any) -> tuple[float, ...] | None:
    """Return two directions at right angles, of length 1; None where they are none."""
    numbers = _numbers(value, 6)
    if numbers is None:
        return None
    row, column = numbers[:3], numbers[3:]
    off_unit = max(abs(math.hypot(*row) - 1), abs(math.hypot(*column) - 1))
    return (
        numbers
        if max(off_unit, abs(sum(a * b for a, b in zip(row, column, strict=True)))) <= 0.01
        else None
    )
