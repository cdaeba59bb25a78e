"""What can be told of a file without looking at the brain in it.

The header gives size, mode, format and the fields in which people write names and places; the
pixels give brightness, background, border and corners. Where such facts tell the classes of a
set apart, a network can learn them instead of the disease.
"""

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tumorlens.images.raster import FORMATS

PIXEL_FACTS = ("mean", "std", "black_share", "border_mean", "border_std", "corner_edges",
               "corner_mean")  # fmt: skip
BLACK = 5  # of 255: as near to the minimum as JPEG noise leaves black
BORDER = 0.03  # width of the outermost ring, of each side
CORNER = 0.2  # side of the corner squares, of the shorter side of the image
EDGE = 80  # of 255: the brightness step that a Sobel filter sees at a stroke, not in anatomy
_SOBEL_GAIN = 4  # a step of height s gives 4 s
_ROBUST = (0.1, 99.9)  # percentiles taken for the range of images that are not 8-bit

# EXIF 2.32 and TIFF 6 fields that hold words of people, by tag.
EXIF_FIELDS = {
    0x010D: "DocumentName", 0x010E: "ImageDescription", 0x011D: "PageName", 0x013B: "Artist",
    0x013C: "HostComputer", 0x8298: "Copyright", 0x9C9B: "XPTitle", 0x9C9C: "XPComment",
    0x9C9D: "XPAuthor", 0x9C9E: "XPKeywords", 0x9C9F: "XPSubject",
}  # fmt: skip
EXIF_INNER_FIELDS = {0x9286: "UserComment", 0xA430: "CameraOwnerName"}
_EXIF_INNER, _GPS = 0x8769, 0x8825
_CHARSETS = (b"ASCII", b"UNICODE", b"JIS")  # what a UserComment starts with

# PNG keywords, lower case; a keyword in neither table is told as "other text".
PNG_FIELDS = {name.lower(): name for name in
              ("Author", "Artist", "Comment", "Copyright", "Description", "Disclaimer", "Source",
               "Title", "Warning")}  # fmt: skip
_PNG_HARMLESS = re.compile(
    r"software|creation ?time|date:|png:|exif:|thumb::|dpi|signature|raw profile type icc"
)
_ENCODER_COMMENT = re.compile(
    rb"\s*(CREATOR: gd-jpeg|LEAD Technologies|Intel\(R\) JPEG|Created with|Optimized by|AppleMark"
    rb"|Handmade Software|File written by|Compressed by|Lavc|JPEG Encoder)"
)
_XMP_KEYWORD = "xml:com.adobe.xmp"
_XMP_FIELD = re.compile(
    rb"<(dc:(?:creator|description|title|rights)|photoshop:(?:City|State|Country))>"
    rb"(?:\s*<(?!/)[^>]*>){0,4}\s*[^\s<]"
)
_IPTC_BLOCK = 0x0404  # among the Photoshop blocks of a JPEG
_IPTC_FIELD = re.compile(rb"\x1c\x02[^\x00]\x00[^\x00]")  # not its version, and not empty
_LONGEST_TEXT = 2**16  # bytes of a compressed text looked at

# Pillow's plugins raise any of these on damaged files.
_HEADER_ERRORS = (
    OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError,
    AttributeError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


@dataclass(frozen=True)
class FileFacts:
    """What the header of one file says."""

    width: int  # of the stored image, before any turning by EXIF
    height: int
    mode: str  # Pillow's name: "L", "RGB", "I;16", ...; "" of DICOM and NIfTI
    format: str  # one of raster.FORMATS, DICOM or NIfTI
    bytes: int
    exif: tuple[str, ...]  # filled fields that can name people or places; never their values


def read_file_facts(data: bytes) -> FileFacts | None:
    """Read the header of a file in memory; None where it is not a header that is read here.

    No pixel is decoded, so a file cut short behind its header still has its facts.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd tags are no reason to speak on a terminal
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                names = dict.fromkeys(_naming_fields(image, data))
                return FileFacts(
                    width, height, image.mode, image.format or "", len(data), tuple(names)
                )
        except _HEADER_ERRORS:
            return None


def _naming_fields(image: Image.Image, data: bytes) -> Iterator[str]:
    """List field names as far as damaged metadata lets itself be read."""
    try:
        if image.format == "PNG":  # Pillow decodes a PNG before it tells all of its text
            yield from _png_fields(data)
            return
        yield from _exif_fields(image.getexif())
        comment = image.info.get("comment", b"")
        if _filled(comment) and not _ENCODER_COMMENT.match(comment):
            yield "comment"
        if _IPTC_FIELD.search(image.info.get("photoshop", {}).get(_IPTC_BLOCK, b"")):
            yield "IPTC"
        yield from _xmp_fields(image.info.get("xmp", b""))
    except _HEADER_ERRORS:
        return


def _exif_fields(exif: Image.Exif) -> Iterator[str]:
    for tag, name in EXIF_FIELDS.items():
        if _filled(exif.get(tag)):
            yield name
    inner = exif.get_ifd(_EXIF_INNER)
    for tag, name in EXIF_INNER_FIELDS.items():
        if _filled(inner.get(tag)):
            yield name
    if set(exif.get_ifd(_GPS)) - {0}:  # tag 0 is the version of the table alone
        yield "GPSInfo"


def _xmp_fields(packet: bytes | str) -> Iterator[str]:
    raw = packet.encode() if isinstance(packet, str) else packet
    for match in _XMP_FIELD.finditer(raw):
        yield f"XMP {match[1].decode()}"


def _filled(value: Any) -> bool:
    """Tell whether a field holds more than blanks; XP fields are UTF-16, so zeros are blank."""
    if isinstance(value, str):
        return bool(value.strip("\0 \t\r\n"))
    if isinstance(value, bytes):
        for charset in _CHARSETS:
            value = value.removeprefix(charset)
        return bool(value.strip(b"\0 \t\r\n"))
    if isinstance(value, list | tuple):
        return any(map(_filled, value))
    return value is not None


def _png_fields(data: bytes) -> Iterator[str]:
    """Walk the chunks, because text may stand behind the pixels."""
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        if kind == b"eXIf":
            exif = Image.Exif()
            exif.load(body)
            yield from _exif_fields(exif)
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            yield from _png_text(kind, body)
        at += 12 + length


def _png_text(kind: bytes, body: bytes) -> Iterator[str]:
    keyword, _, text = body.partition(b"\0")
    packed = kind == b"zTXt"
    if kind == b"iTXt":  # flag, method, language and translated keyword come before the text
        packed = text[:1] == b"\1"
        text = text[2:].split(b"\0", 2)[-1]
    elif packed:
        text = text[1:]
    if packed:
        text = zlib.decompressobj().decompress(text, _LONGEST_TEXT)
    key = keyword.decode("latin-1").strip().lower()
    if key == _XMP_KEYWORD:
        yield from _xmp_fields(text)
    elif not _PNG_HARMLESS.match(key) and _filled(text):
        yield PNG_FIELDS.get(key, "other text")


def pixel_facts(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Measure a gray image, [h, w], finite, of any type: one value for each of PIXEL_FACTS.

    Brightness is 0 to 1. Images within 0 to 255 keep that scale, so that a set that never
    reaches white shows it; others (16-bit, CT numbers, 0 to 1) use their own robust range.
    """
    gray = eight_bits(pixels)
    mean, std = cv2.meanStdDev(gray)
    floor = int(cv2.minMaxLoc(gray)[0])
    black = cv2.countNonZero(cv2.inRange(gray, np.array(floor), np.array(floor + BLACK)))
    ring = _ring(gray)
    edges, corner_mean = _corners(gray)
    levels = np.array([mean[0, 0], std[0, 0], ring.mean(), ring.std(), corner_mean]) / 255
    values = (levels[0], levels[1], black / gray.size, levels[2], levels[3], edges, levels[4])
    return np.array(values, np.float32)


def eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring any gray image to 0 to 255 on the scale of `pixel_facts`."""
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    real = np.ascontiguousarray(pixels, np.float32)
    low, high, *_ = cv2.minMaxLoc(real)
    if low >= 0 and 1 < high <= 255:
        return np.asarray(cv2.convertScaleAbs(real), np.uint8)
    robust_low, robust_high = map(float, np.percentile(real, _ROBUST))
    if robust_high > robust_low:
        low, high = robust_low, robust_high
    if high <= low:
        return np.zeros(real.shape, np.uint8)
    return np.clip((real - low) * (255 / (high - low)), 0, 255).astype(np.uint8)


def _ring(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = gray.shape
    y, x = max(1, round(BORDER * height)), max(1, round(BORDER * width))
    strips = (gray[:y], gray[y:][-y:], gray[y:-y, :x], gray[y:-y, x:][:, -x:])
    return np.concatenate([strip.ravel() for strip in strips])


def _corners(gray: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the share of strong edges and the mean of the four corner squares."""
    side = max(1, round(CORNER * min(gray.shape)))
    squares = [gray[rows, columns] for rows in (slice(side), slice(-side, None))
               for columns in (slice(side), slice(-side, None))]  # fmt: skip
    strong = 0
    for square in squares:
        across = cv2.Sobel(square, cv2.CV_32F, 1, 0)
        down = cv2.Sobel(square, cv2.CV_32F, 0, 1)
        strong += int((cv2.magnitude(across, down) > _SOBEL_GAIN * EDGE).sum())
    total = float(sum(int(cv2.sumElems(square)[0]) for square in squares))
    return strong / (4 * side * side), total / (4 * side * side)
