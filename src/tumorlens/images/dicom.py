"""DICOM files of CT and MR become Scans, with values in the file's own units (CT: HU).

What the header declares is checked against the caps before any pixel is decoded.
"""

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tumorlens.errors import ImageTooLargeError, ImageTooSmallError, UnreadableImageError
from tumorlens.images.dicom_header import (
    EXPORT_SLICES,
    SEND_AGAIN,
    attribute,
    frame_count,
    image_type,
    inflated,
    matrix,
    modality,
    parse,
    parsing,
    slice_headers,
    storage_name,
)
from tumorlens.images.raster import MIN_SIDE, image_colors
from tumorlens.images.slices import SliceHeader
from tumorlens.records import Scan
from tumorlens.settings import ReadLimits

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

AIR_HU = -1000.0  # also stands for what lies outside of the scanner's field of view
# The decoder of each transfer syntax, by its name in pydicom: none is chosen by what happens to
# be installed, and none of another license comes in.
_DECODERS = {
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG, 8 bits
    "1.2.840.10008.1.2.4.51": "gdcm",  # JPEG, 12 bits
    "1.2.840.10008.1.2.4.57": "gdcm",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "gdcm",
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # JPEG-LS
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",  # HTJ2K
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
    "1.2.840.10008.1.2.5": "pylibjpeg",  # RLE
}
# What is read here, deflated files apart: a small one may unpack to any size.
READ_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", *_DECODERS)


def decode_dicom(data: bytes, source: str, limits: ReadLimits) -> tuple[Scan, ...]:
    """Read every frame of a CT or MR file, in order along the normal; raises an ImageError."""
    with parsing(source):
        dataset = parse(io.BytesIO(inflated(data, source, limits)), source)
        check_image(dataset, source, limits, colors=True)
        headers = slice_headers(dataset, source)
        if _is_colored(dataset):
            scans = [_colored_scan(dataset, header) for header in headers]
        else:
            scans = [to_scan(decode_frame(dataset, header), dataset, header) for header in headers]
    return tuple(sorted(scans, key=lambda scan: (scan.position is None, scan.position or 0.0)))


def check_image(
    dataset: "Dataset", source: str, limits: ReadLimits, *, colors: bool = False
) -> None:
    """Refuse what is no CT or MR image, or larger than the caps; raises an ImageError.

    Slices stored as RGB or YBR are refused as well, unless `colors`.
    """
    _check_kind(dataset, source, colors=colors)
    _check_size(dataset, source, limits)


def _check_kind(dataset: "Dataset", source: str, *, colors: bool) -> None:
    if modality(dataset) is None:
        fact = f"is {storage_name(dataset)}, not a CT or MR image"
        raise UnreadableImageError(source, fact, EXPORT_SLICES)
    if "MOSAIC" in image_type(dataset):
        fact = "is a mosaic: many slices drawn into one image"
        raise UnreadableImageError(source, fact, "Convert the series to NIfTI.")
    if "PixelData" not in dataset:
        raise UnreadableImageError(source, "holds no pixels", EXPORT_SLICES)
    space, samples = _color_space(dataset), int(dataset.get("SamplesPerPixel") or 1)
    is_gray = space.startswith("MONOCHROME") and samples == 1
    is_rgb = _is_colored(dataset) and samples == 3 and dataset.BitsAllocated == 8
    if not is_gray and not (colors and is_rgb):
        fact = f"holds colors ({space}), as maps and reports do"
        raise UnreadableImageError(source, fact, EXPORT_SLICES)


def _color_space(dataset: "Dataset") -> str:
    return str(dataset.get("PhotometricInterpretation") or "MONOCHROME2")


def _is_colored(dataset: "Dataset") -> bool:
    """Tell whether pixels are stored in colors, as captures of a gray slice with marks are."""
    return _color_space(dataset).startswith(("RGB", "YBR"))


def _check_size(dataset: "Dataset", source: str, limits: ReadLimits) -> None:
    (rows, columns), frames = matrix(dataset), frame_count(dataset)
    size = f"{columns:,} x {rows:,} pixels"
    if rows * columns > limits.max_pixels:
        fact = f"declares {size}, above the cap of {limits.max_pixels:,}"
        raise ImageTooLargeError(source, fact, "Raise TUMORLENS_MAX_PIXELS.")
    if rows * columns * frames > limits.max_volume_pixels:
        fact = f"declares {frames:,} frames of {size}, above the cap of "
        fact += f"{limits.max_volume_pixels:,} in all"
        raise ImageTooLargeError(source, fact, "Raise TUMORLENS_MAX_VOLUME_PIXELS.")
    if min(rows, columns) < MIN_SIDE:
        fact = f"is {size}; a head cannot be seen below {MIN_SIDE}"
        raise ImageTooSmallError(source, fact, "Use the original slice instead of a thumbnail.")


def to_scan(stored: NDArray[np.integer[Any]], dataset: "Dataset", header: SliceHeader) -> Scan:
    """Bring one frame, as stored, to the file's own units, with padding as air."""
    notes: list[str] = []
    pixels = _rescale(stored, dataset, header.frame)
    padding = _padding(stored, dataset)
    if padding.any() and not padding.all():
        pixels[padding] = AIR_HU if header.modality == "ct" else pixels[~padding].min()
        notes.append("padding set to air")
    if header.modality != "ct" and dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = pixels.max() + pixels.min() - pixels
        notes.append("turned: it was stored with white as the lowest value")
    return Scan(
        pixels=np.ascontiguousarray(pixels, np.float32),
        source=header.path,
        modality=header.modality,
        notes=tuple(notes),
        plane=header.plane,
        spacing_mm=header.spacing_mm,
        position=header.position,
        frame=header.frame,
        series=header.series,
    )


def _colored_scan(dataset: "Dataset", header: SliceHeader) -> Scan:
    """Return gray levels and the colors beside them: these are no CT numbers."""
    stored = decode_frame(dataset, header, raw=False)
    image = Image.fromarray(np.ascontiguousarray(stored, np.uint8))
    return Scan(
        pixels=np.asarray(image.convert("L"), np.float32),
        source=header.path,
        notes=("stored in colors",),
        plane=header.plane,
        spacing_mm=header.spacing_mm,
        position=header.position,
        frame=header.frame,
        series=header.series,
        colors=image_colors(image),
    )


def decode_frame(
    dataset: "Dataset", header: SliceHeader, *, raw: bool = True
) -> NDArray[np.integer[Any]]:
    """Decode one frame as stored, [rows, columns], with its sign; not `raw`, colors as RGB."""
    from pydicom.pixels.decoders.base import get_decoder

    syntax = _transfer_syntax(dataset)
    if syntax.is_encapsulated and str(syntax) not in _DECODERS:
        fact = f"is encoded as {syntax.name}, which is not read here"
        raise UnreadableImageError(header.path, fact, SEND_AGAIN)
    decoder, plugin = get_decoder(syntax), _DECODERS.get(str(syntax), "")
    if plugin and plugin not in decoder.available_plugins:
        raise ModuleNotFoundError(f"No decoder {plugin}", name=plugin)
    if plugin:
        _check_codestream(dataset, header)
    return decoder.as_array(dataset, index=header.frame or 0, raw=raw, decoding_plugin=plugin)[0]


def _transfer_syntax(dataset: "Dataset") -> "UID":
    """Return how pixels are encoded; where no header says, how the tags were."""
    from pydicom import uid

    meta = dataset.file_meta
    if "TransferSyntaxUID" not in meta:
        is_implicit, is_little = dataset.original_encoding
        native = uid.ImplicitVRLittleEndian if is_implicit else uid.ExplicitVRLittleEndian
        meta.TransferSyntaxUID = native if is_little else uid.ExplicitVRBigEndian
    return meta.TransferSyntaxUID


def _check_codestream(dataset: "Dataset", header: SliceHeader) -> None:
    """Refuse a compressed image of another size than the header said, before it is decoded."""
    from pydicom.encaps import get_frame

    number, frames = header.frame or 0, frame_count(dataset)
    found = codestream_size(get_frame(dataset.PixelData, number, number_of_frames=frames))
    if found and found != header.matrix:
        fact = f"declares {header.matrix[1]} x {header.matrix[0]} pixels and holds "
        raise UnreadableImageError(header.path, f"{fact}{found[1]} x {found[0]}", SEND_AGAIN)


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """Return the rows and columns that a JPEG, JPEG-LS or JPEG 2000 codestream declares."""
    if data.startswith(b"\xff\x4f\xff\x51"):
        right, bottom, left, top = struct.unpack(">4L", data[8:24])
        return bottom - top, right - left
    at = 2
    while data.startswith(b"\xff\xd8") and at + 9 < len(data):
        marker, length, _, rows, columns = struct.unpack(">HHBHH", data[at : at + 9])
        # Frame headers are SOF0 to SOF15, without DHT, JPG and DAC among them, and SOF55.
        if (0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC)) or (
            marker == 0xFFF7
        ):
            return rows, columns
        at += 2 + length
    return None


def _rescale(
    stored: NDArray[np.integer[Any]], dataset: "Dataset", frame: int | None
) -> NDArray[np.float32]:
    """Bring stored values to the file's units; absent tags mean a slope of 1 and 0 added."""
    if dataset.get("ModalityLUTSequence"):
        from pydicom.pixels.processing import apply_modality_lut

        return np.array(apply_modality_lut(stored, dataset), np.float32)
    slope = attribute(dataset, "RescaleSlope", frame)
    intercept = attribute(dataset, "RescaleIntercept", frame)
    values = stored.astype(np.float32)
    values *= np.float32(slope or 1)
    values += np.float32(intercept or 0)
    return values


def _padding(stored: NDArray[np.integer[Any]], dataset: "Dataset") -> NDArray[np.bool_]:
    """Return which pixels the scanner filled in, [rows, columns]; a range where one is given."""
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, bool)
    # Some files write signed values as unsigned ones.
    limits = [first, dataset.get("PixelPaddingRangeLimit") or first]
    low, high = sorted(int(np.array(int(v)).astype(stored.dtype)) for v in limits)
    return (stored >= low) & (stored <= high)
