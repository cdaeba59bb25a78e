"""Bytes that are not a usable scan, with the error each has to give; read by two test files."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from tumorlens.errors import (
    ImageError,
    ImageTooLargeError,
    ImageTooSmallError,
    InvalidPixelsError,
    UnreadableImageError,
)
from tumorlens.study.phantom import draw_phantom

# The start of a program that measures its own peak of memory.
MEASURED_CHILD = """
import json, resource, sys
from pathlib import Path

def peak_kb():
    # ru_maxrss starts at the parent's; VmHWM is this process's own.
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

"""
HEAD = draw_phantom("mri", "glioma", seed=3, plane="axial", side=96).pixels
# Where truncation was met: every writer option has its own decoder behind it.
WRITERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "png": ("PNG", {}),
    "jpg": ("JPEG", {}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "bmp": ("BMP", {}),
    "gif": ("GIF", {}),
    "tif": ("TIFF", {}),
    "lzw.tif": ("TIFF", {"compression": "tiff_lzw"}),
    "webp": ("WEBP", {}),
    "lossless.webp": ("WEBP", {"lossless": True}),
}


def encoded(picture: np.ndarray | Image.Image, format: str, **options: Any) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


WHOLE = {name: encoded(HEAD, format, **options) for name, (format, options) in WRITERS.items()}


def png_declaring(width: int, height: int) -> bytes:
    """A PNG whose header promises far more pixels than its data hold."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg_declaring(width: int, height: int) -> bytes:
    data = WHOLE["jpg"]
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def bomb(side: int) -> bytes:
    """A few kilobytes that decode to side x side zeros."""
    return encoded(np.zeros((side, side), np.uint8), "PNG")


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("slice.png", WHOLE["png"])
    return file.getvalue()


def _with_pixel(value: float) -> bytes:
    pixels = HEAD.astype(np.float32)
    pixels[40, 40] = value
    return encoded(pixels, "TIFF")


BROKEN: Mapping[str, tuple[bytes, type[ImageError]]] = {
    "empty.png": (b"", UnreadableImageError),
    "empty.jpg": (b"", UnreadableImageError),
    "one byte.png": (b"\x89", UnreadableImageError),
    "zeros.tif": (bytes(5000), UnreadableImageError),
    "text.jpg": (b"this is not a picture\n" * 50, UnreadableImageError),
    "page.png": (b"<!doctype html><html><body>404</body></html>", UnreadableImageError),
    "archive.png": (_zip(), UnreadableImageError),
    "vector.gif": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnreadableImageError),
    "signature only.png": (b"\x89PNG\r\n\x1a\n", UnreadableImageError),
    "no size.png": (png_declaring(0, 100), UnreadableImageError),
    "other format.bmp": (encoded(HEAD, "PPM"), UnreadableImageError),
    "one pixel.png": (encoded(np.full((1, 1), 9, np.uint8), "PNG"), ImageTooSmallError),
    "strip.png": (encoded(np.full((500, 1), 9, np.uint8), "PNG"), ImageTooSmallError),
    "strip.bmp": (encoded(np.full((1, 500), 9, np.uint8), "BMP"), ImageTooSmallError),
    "nan.tif": (_with_pixel(np.nan), InvalidPixelsError),
    "infinite.tif": (_with_pixel(np.inf), InvalidPixelsError),
    "minus infinite.tif": (_with_pixel(-np.inf), InvalidPixelsError),
    "huge header.png": (png_declaring(50_000, 50_000), ImageTooLargeError),
    "huge header.jpg": (jpeg_declaring(60_000, 60_000), ImageTooLargeError),
    "large header.png": (png_declaring(10_000, 10_000), ImageTooLargeError),
    "longer than its data.jpg": (jpeg_declaring(96, 4000), UnreadableImageError),
    "bomb.png": (bomb(8000), ImageTooLargeError),
    **{
        f"cut at {share}.{name}": (WHOLE[name][: int(len(WHOLE[name]) * share)], error)
        for name in WHOLE
        for share in (0.02, 0.3, 0.6, 0.9)
        for error in (UnreadableImageError,)
    },
}
