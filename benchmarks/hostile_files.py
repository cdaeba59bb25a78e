"""Files that ask for far more than they hold; tests and serve_hostile.py send them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def jpeg_of_scans(scans: int, side: int = 4000) -> bytes:
    """Write a valid progressive JPEG, black, whose every scan takes some 30 bytes."""
    blocks = (-(-side // 8)) ** 2
    runs = -(-blocks // 32_767)
    quantization = b"\xff\xdb" + struct.pack(">HB", 67, 0) + bytes([1] * 64)
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, side, side, 1) + b"\x01\x11\x00"
    # One code of one bit in each table: "no difference", and "32,767 blocks end here".
    tables = b"".join(
        b"\xff\xc4" + struct.pack(">HB", 20, kind) + b"\x01" + bytes(15) + bytes([symbol])
        for kind, symbol in ((0x00, 0x00), (0x10, 0xE0))
    )
    first = _scan(0, 0) + _bits("0" * blocks)
    again = _scan(1, 63) + _bits(("0" + "1" * 14) * runs)
    return b"\xff\xd8" + quantization + frame + tables + first + again * (scans - 1) + b"\xff\xd9"


def _scan(start: int, end: int) -> bytes:
    return b"\xff\xda" + struct.pack(">H", 8) + b"\x01\x01\x00" + bytes([start, end, 0])


def _bits(text: str) -> bytes:
    padded = text + "1" * (-len(text) % 8)
    packed = int(padded, 2).to_bytes(len(padded) // 8, "big")
    return packed.replace(b"\xff", b"\xff\x00")


def tiff_of_pages(pages: int) -> bytes:
    """Write a TIFF of many pages, each of a few tags."""
    parts, at = [b"II*\0" + struct.pack("<L", 8)], 8
    for page in range(pages):
        length = 2 + 9 * 12 + 4
        end = at + length
        parts.append(_directory(_gray_tags(16, 16, offset=8), end if page + 1 < pages else 0))
        at = end
    return b"".join([*parts, bytes(256)])


def tiff_with(changed: dict[int, tuple[int, int, int]], side: int = 64, extra: int = 0) -> bytes:
    """Write a gray TIFF with some tags changed: tag -> type, count, value."""
    tags = {**_gray_tags(side, side, offset=2 + 8 + 12 * 16), **changed}
    whole = b"II*\0" + struct.pack("<L", 8) + _directory(tags, 0)
    return whole + bytes(side * side + extra)


def _gray_tags(width: int, height: int, *, offset: int) -> dict[int, tuple[int, int, int]]:
    return {
        256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1),
        273: (4, 1, offset), 277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, width * height),
    }  # fmt: skip


def _directory(tags: dict[int, tuple[int, int, int]], following: int) -> bytes:
    rows = [struct.pack("<HHLL", tag, *tags[tag]) for tag in sorted(tags)]
    return struct.pack("<H", len(rows)) + b"".join(rows) + struct.pack("<L", following)


def png(width: int, height: int, *extra: bytes, rows: int = 1, idats: int = 1) -> bytes:
    """Write a gray PNG of zeros with a header of any size, chunks before its image, and so many."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(width + 1)) for _ in range(rows if width < 1e6 else 0))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    empty = chunk(b"IDAT", b"") * (idats - 1)
    body = chunk(b"IDAT", packed + packer.flush())
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", head), *extra, empty, body, chunk(b"IEND", b"")]
    )


def chunk(kind: bytes, body: bytes) -> bytes:
    """Write one chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def packed_zeros(mebibytes: int) -> bytes:
    """Compress many zeros."""
    packer = zlib.compressobj(9)
    return b"".join([packer.compress(bytes(2**20)) for _ in range(mebibytes)] + [packer.flush()])


def text_bomb(count: int = 1, mebibytes: int = 16) -> bytes:
    """Write a PNG with compressed texts that are far longer than the file."""
    text = chunk(b"zTXt", b"Comment\0\0" + packed_zeros(mebibytes))
    return png(64, 64, *[text] * count, rows=64)


def profile_bomb(mebibytes: int = 16) -> bytes:
    """Write a PNG with a color profile that is far longer than the file."""
    profile = chunk(b"iCCP", b"icc\0\0" + packed_zeros(mebibytes))
    return png(64, 64, profile, rows=64)


def exif_bomb() -> bytes:
    """Write a JPEG whose EXIF directory has 5,000 entries that all point at the whole of it."""
    entries = 5000
    table = b"".join(struct.pack("<HHLL", 1000 + n, 7, 60_000, 8) for n in range(entries))
    body = b"II*\0" + struct.pack("<L", 8) + struct.pack("<H", entries) + table + bytes(4)
    payload = b"Exif\0\0" + body
    segment = b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
    plain = encoded(np.zeros((64, 64), np.uint8), "JPEG")
    return plain[:2] + segment + plain[2:]


def gif_of_frames(frames: int) -> bytes:
    """Write a GIF of tiny frames, of 15 bytes each."""
    head = b"GIF89a" + struct.pack("<HHBBB", 64, 64, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * frames + b"\x3b"


def jpeg_declaring(data: bytes, width: int, height: int) -> bytes:
    """Change the size in the header of a JPEG."""
    at = next(data.index(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def declaring(format: str, width: int = 65_535, height: int = 65_535) -> bytes:
    """Write a file of a format that announces a huge image."""
    plain = encoded(np.zeros((64, 64), np.uint8), format)
    if format == "JPEG":
        return jpeg_declaring(plain, width, height)
    if format == "PNG":
        return png(width, height)
    if format == "TIFF":
        return tiff_with({256: (4, 1, width), 257: (4, 1, height)})
    if format == "GIF":
        return plain[:6] + struct.pack("<HH", width, height) + plain[10:]
    if format == "BMP":
        return plain[:18] + struct.pack("<ii", width, height) + plain[26:]
    # WebP keeps a size in 14 bits; only its extended header has more.
    extended = b"VP8X" + struct.pack("<L", 10) + bytes(4)
    extended += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + extended + plain[12:]
    return b"RIFF" + struct.pack("<L", len(body)) + body


def webp(side: int = 4000) -> bytes:
    """Write a WebP of one color: 16 megapixels in a few kilobytes."""
    return encoded(np.full((side, side, 3), 90, np.uint8), "WEBP", quality=1, method=0)


def encoded(pixels: np.ndarray, format: str, **options: object) -> bytes:
    """Encode pixels with Pillow."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()
