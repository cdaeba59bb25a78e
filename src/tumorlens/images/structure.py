"""What an image file announces, counted before anything is decoded.

A file of a megabyte can ask for hours: 40,000 scans of a progressive JPEG, 60,000 pages of a TIFF,
millions of empty chunks of a PNG. Each function walks from part to part, in steps that the length
of the file bounds, and returns the size of the first image with what there is too much of.
"""

import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

MAX_SCANS = 100  # of a JPEG; a usual progressive one has 10
MAX_FRAMES = 1000  # of a TIFF, GIF or WebP
MAX_TAGS = 50_000  # of all pages of a TIFF together
MAX_TEXTS = 20  # of a PNG, compressed: each may unpack to a megabyte
MAX_STRIPS = 100_000  # or tiles, of the first page of a TIFF
FREE_PARTS = 1000  # chunks, segments or blocks that any file may have, then more for its length
MIN_PART_BYTES = 1024
MIN_GIF_BLOCK_BYTES = 64  # on average; a block has 255 at most

_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # neither stuffed zeros nor restarts
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA
# Rows and columns with their VR or without, and the text of the number of frames.
_DICOM_SIDES = (
    re.compile(rb"\x28\0\x10\0(?:US\x02\0|\x02\0\0\0)(..)", re.S),
    re.compile(rb"\x28\0\x11\0(?:US\x02\0|\x02\0\0\0)(..)", re.S),
)
_DICOM_FRAMES = re.compile(rb"\x28\0\x08\0(?:IS.\0|.\0\0\0) ?(\d{1,9})", re.S)
_DICOM_PIXELS = b"\xe0\x7f\x10\0"
DICOM_HEAD_BYTES = 2**18
_GIF_EXTENSION, _GIF_FRAME, _GIF_END = 0x21, 0x2C, 0x3B
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
               16: 8, 17: 8, 18: 8}  # fmt: skip
_WIDTH, _HEIGHT, _STRIPS, _TILE_WIDTH, _TILE_HEIGHT, _TILES = 256, 257, 273, 322, 323, 324


@dataclass(frozen=True)
class Structure:
    """The size of the first image, and what there is too much of, as the end of a sentence."""

    width: int
    height: int
    excess: str = ""
    frames: int = 1

    @property
    def pixels(self) -> int:
        """How many pixels will be decoded, or allocated to decode them."""
        return self.width * self.height


def png_structure(data: bytes) -> Structure:
    """Count the chunks of a PNG."""
    width, height = struct.unpack_from(">II", data, 16)
    at, chunks, texts, max_parts = 8, 0, 0, _max_parts(data)
    while at + 8 <= len(data) and (kind := data[at + 4 : at + 8]) != b"IEND":
        chunks, texts = chunks + 1, texts + (kind in (b"zTXt", b"iTXt", b"iCCP"))
        if chunks > max_parts:
            return Structure(width, height, f"has more than {max_parts:,} chunks")
        if texts > MAX_TEXTS:
            return Structure(width, height, f"has more than {MAX_TEXTS} compressed texts")
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return Structure(width, height)


def jpeg_structure(data: bytes) -> Structure:
    """Count the segments and scans of a JPEG."""
    width = height = scans = segments = 0
    at, max_parts = 2, _max_parts(data)
    while found := _JPEG_MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        if marker == _JPEG_END:
            break
        segments, scans = segments + 1, scans + (marker == _JPEG_SCAN)
        if scans > MAX_SCANS:
            return Structure(width, height, f"has more than {MAX_SCANS} scans")
        if segments > max_parts:
            return Structure(width, height, f"has more than {max_parts:,} segments")
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
        at += int.from_bytes(data[at : at + 2], "big")
    return Structure(width, height)


def tiff_structure(data: bytes) -> Structure:
    """Count pages, tags, strips and tiles of a TIFF, and the bytes that its tags announce."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = struct.unpack_from(order + "H", data, 2)[0] == 43
    first: dict[int, tuple[int, int]] = {}  # tag of the first page -> count and value
    page = tags = announced = 0
    for page, entries in enumerate(_tiff_pages(data, order, is_big=is_big)):
        tags += len(entries)
        announced += sum(_TIFF_SIZES.get(kind, 0) * count for _, kind, count, _ in entries)
        if page == 0:
            first = {tag: (count, value) for tag, _, count, value in reversed(entries)}
        if page >= MAX_FRAMES:
            return _tiff_of(first, f"has more than {MAX_FRAMES:,} pages")
        if tags > MAX_TAGS:
            return _tiff_of(first, f"has more than {MAX_TAGS:,} tags")
        if announced > 4 * len(data) + 2**16:  # pages may share what they point at
            return _tiff_of(first, "announces more bytes in its tags than it holds")
    if max(first.get(tag, (0, 0))[0] for tag in (_STRIPS, _TILES)) > MAX_STRIPS:
        return _tiff_of(first, f"has more than {MAX_STRIPS:,} strips or tiles")
    return replace(_tiff_of(first), frames=page + 1)


def _tiff_pages(
    data: bytes, order: str, *, is_big: bool
) -> Iterator[list[tuple[int, int, int, int]]]:
    """Yield the entries of each page: tag, type, count and value or offset."""
    head, entry, link = ("Q", "HHQQ", "Q") if is_big else ("H", "HHLL", "L")
    at, seen = struct.unpack_from(order + link, data, 8 if is_big else 4)[0], set()
    while at and at not in seen and at < len(data):
        seen.add(at)
        count = struct.unpack_from(order + head, data, at)[0]
        at += struct.calcsize(order + head)
        end = at + count * struct.calcsize(order + entry)
        whole = struct.iter_unpack(order + entry, data[at:end]) if end <= len(data) else iter(())
        rows = islice(whole, MAX_TAGS + 1)
        # A value of two bytes stands at the start of its field.
        yield [
            (tag, kind, n, _tiff_value(value, kind, order, entry)) for tag, kind, n, value in rows
        ]
        if end + struct.calcsize(order + link) > len(data):
            return
        at = struct.unpack_from(order + link, data, end)[0]


def _tiff_value(field: int, kind: int, order: str, entry: str) -> int:
    if kind != 3:
        return field
    return field & 0xFFFF if order == "<" else field >> (48 if entry.endswith("Q") else 16)


def _tiff_of(first: dict[int, tuple[int, int]], excess: str = "") -> Structure:
    """Return the size of a page, or of its tiles where these are larger."""

    def value(tag: int) -> int:
        return first.get(tag, (0, 0))[1]

    page, tile = (value(_WIDTH), value(_HEIGHT)), (value(_TILE_WIDTH), value(_TILE_HEIGHT))
    width, height = max(page, tile, key=lambda size: size[0] * size[1])
    return Structure(width, height, excess)


def gif_structure(data: bytes) -> Structure:
    """Count the frames and blocks of a GIF."""
    width, height = struct.unpack_from("<HH", data, 6)
    at, frames, blocks = 13 + _gif_colors(data[10]), 0, 0
    stray = 0
    max_parts = FREE_PARTS + len(data) // MIN_GIF_BLOCK_BYTES
    while at < len(data) and data[at] != _GIF_END:
        if frames > MAX_FRAMES:
            return Structure(width, height, f"has more than {MAX_FRAMES:,} frames")
        if blocks > max_parts or stray > FREE_PARTS:
            return Structure(width, height, "has more than a thousand blocks without use")
        if data[at] not in (_GIF_FRAME, _GIF_EXTENSION):  # decoders pass over stray bytes
            stray, at = stray + 1, at + 1
            continue
        if data[at] == _GIF_FRAME:
            frames += 1
            at += 11 + _gif_colors(data[at + 9])
        else:
            at += 2
        while at < len(data) and data[at] and blocks <= max_parts:
            blocks, at = blocks + 1, at + 1 + data[at]
        at += 1
    return Structure(width, height)


def _gif_colors(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def bmp_structure(data: bytes) -> Structure:
    """Read the size of a BMP."""
    short = int.from_bytes(data[14:18], "little") == 12
    width, height = struct.unpack_from("<HH" if short else "<ii", data, 18)
    return Structure(abs(width), abs(height))


def webp_structure(data: bytes) -> Structure:
    """Count the chunks and frames of a WebP."""
    width, height = _webp_size(data)
    at, chunks, frames, max_parts = 12, 0, 0, _max_parts(data)
    while at + 8 <= len(data):
        chunks, frames = chunks + 1, frames + (data[at : at + 4] == b"ANMF")
        if frames > MAX_FRAMES:
            return Structure(width, height, f"has more than {MAX_FRAMES:,} frames")
        if chunks > max_parts:
            return Structure(width, height, f"has more than {max_parts:,} chunks")
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return Structure(width, height)


def dicom_structure(data: bytes) -> Structure:
    """Read rows, columns and frames of a DICOM file; the largest, where images lie in it."""
    head = data[: _dicom_head_length(data)]
    rows, columns = (max(map(_little, found.findall(head)), default=0) for found in _DICOM_SIDES)
    counts = [int(text) for text in _DICOM_FRAMES.findall(head)]
    return Structure(columns, rows, frames=max(counts, default=1) or 1)


def _dicom_head_length(data: bytes) -> int:
    """Return where pixels begin: only headers are searched, which takes long."""
    at = data.find(_DICOM_PIXELS, 0, DICOM_HEAD_BYTES)
    return DICOM_HEAD_BYTES if at < 0 else at


def nifti_structure(data: bytes) -> Structure:
    """Read the dimensions of a NIfTI file, packed or not."""
    head = data[:600]
    if head.startswith(b"\x1f\x8b"):
        head = zlib.decompressobj(wbits=31).decompress(data[: 2**16], 600)
    for order in "<>":
        if struct.unpack_from(order + "i", head)[0] == 540:
            dimensions = struct.unpack_from(order + "8q", head, 16)
            break
        if struct.unpack_from(order + "i", head)[0] == 348:
            dimensions = struct.unpack_from(order + "8h", head, 40)
            break
    else:
        return Structure(0, 0)
    width, height, *others = dimensions[1 : 1 + max(2, min(7, dimensions[0]))]
    return Structure(width, height, frames=max(1, math.prod(others)))


def _little(value: bytes) -> int:
    return int.from_bytes(value, "little")


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _max_parts(data: bytes) -> int:
    return FREE_PARTS + len(data) // MIN_PART_BYTES
