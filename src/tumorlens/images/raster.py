"""PNG, JPEG, BMP, TIFF, WebP and GIF files become Scans.

The header is read first: format against an allow-list, size against a pixel cap. Only then
is anything decoded. 8-bit JPEGs go through simplejpeg (strict: a damaged stream is an error,
where libjpeg alone would fill the rest with grey), all else through Pillow.
"""

import io
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tumorlens.errors import (
    ImageTooLargeError,
    ImageTooSmallError,
    InvalidPixelsError,
    UnreadableImageError,
)
from tumorlens.records import Scan

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 40_000_000
MIN_SIDE = 16
LARGEST = 1e30  # sums of larger pixels overflow 32-bit floats
JPEG_REDUCED_SIDE = 1024  # longer JPEGs are decoded at 1/2, 1/4 or 1/8, never below this
NAMED_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".tif": "TIFF",
                 ".tiff": "TIFF", ".webp": "WEBP", ".gif": "GIF"}  # fmt: skip

# Pillow's plugins raise any of these on damaged files.
_DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    MemoryError,
    Image.DecompressionBombError,
)
_SAVE_AS_PNG = "Export the slice again as PNG or JPEG."
_SMALLER = "Export the slice at its own resolution, or raise TUMORLENS_MAX_PIXELS."


def read_scan(
    path: str | Path, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> Scan:
    """Read one slice from a file.

    Raises an ImageError that names the file, the fact and the fix: UnreadableImageError (no
    file, a folder, another format, damaged), ImageTooLargeError, ImageTooSmallError,
    InvalidPixelsError (NaN or infinite).
    """
    path = Path(path)
    return read_scan_bytes(
        _bytes_of(path, max_bytes), source=str(path), max_bytes=max_bytes, max_pixels=max_pixels
    )


def read_scan_bytes(
    data: bytes, *, source: str, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> Scan:
    """Read one slice from memory; `source` names it in errors. Raises as `read_scan`."""
    _check_length(len(data), source, max_bytes)
    notes: list[str] = []
    with warnings.catch_warnings():
        # Pillow's own bomb warning comes at another limit than ours, and TIFF tags it dislikes
        # are no reason to speak on a terminal.
        warnings.simplefilter("ignore")
        try:
            pixels = _decode(data, source, max_pixels, notes)
        except _DECODER_ERRORS as e:
            fact = f"damaged or incomplete ({_first_line(e)})"
            raise UnreadableImageError(source, fact, _SAVE_AS_PNG) from e
    # NaN goes through min and max, and compares false.
    if not (pixels.min() > -LARGEST and pixels.max() < LARGEST):
        fact = "holds pixels that are not numbers (NaN, infinite, or as good as infinite)"
        raise InvalidPixelsError(source, fact, "Replace them before export, for example by 0.")
    return Scan(pixels=pixels, source=source, notes=tuple(notes))


def _bytes_of(path: Path, max_bytes: int) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableImageError(path, "is a folder", "Name a file, or a folder of files.")
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImageError(path, "is not a regular file", "Name an image file.")
        _check_length(status.st_size, str(path), max_bytes)
        return path.read_bytes()
    except (OSError, ValueError) as e:  # ValueError: a zero byte in the path
        reason = getattr(e, "strerror", None) or _first_line(e)
        raise UnreadableImageError(
            path, f"cannot be opened ({reason})", "Check the path and your right to read it."
        ) from e


def _check_length(length: int, source: str, max_bytes: int) -> None:
    if length == 0:
        raise UnreadableImageError(source, "is empty (0 bytes)", "Copy or export it again.")
    if length > max_bytes:
        raise ImageTooLargeError(
            source,
            f"has {length:,} bytes, above the cap of {max_bytes:,}",
            "Export one slice per file, or raise TUMORLENS_MAX_BYTES.",
        )


def _decode(data: bytes, source: str, max_pixels: int, notes: list[str]) -> NDArray[np.float32]:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as e:
        fact = f"is not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"
        raise UnreadableImageError(source, fact, _SAVE_AS_PNG) from e
    except Image.DecompressionBombError as e:
        # Pillow's own cap, checked before ours can be.
        fact = f"declares a picture above the cap of {max_pixels:,} pixels ({_first_line(e)})"
        raise ImageTooLargeError(source, fact, _SMALLER) from e
    with image:
        _check_size(image.size, source, max_pixels)
        _note_oddities(image, source, notes)
        orientation = image.getexif().get(0x0112, 1)
        if image.format == "JPEG" and image.mode in ("L", "RGB"):
            grey = _decode_jpeg(data, image.size)
        else:
            if image.format == "JPEG":
                simplejpeg.decode_jpeg(data, colorspace="CMYK")  # only to be strict
            grey = _decode_with_pillow(image, source)
        # Pillow turns TIFF files itself while loading, and takes the tag away.
        left = image.getexif().get(0x0112, 1)
    if orientation in _UPRIGHT:
        notes.append("turned upright by its EXIF orientation")
    if left in _UPRIGHT:
        grey = _UPRIGHT[left](grey)
    return np.ascontiguousarray(grey, np.float32)


def _check_size(size: tuple[int, int], source: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLargeError(
            source,
            f"declares {width:,} x {height:,} pixels, above the cap of {max_pixels:,}",
            _SMALLER,
        )
    if min(width, height) < MIN_SIDE:
        raise ImageTooSmallError(
            source,
            f"is {width} x {height} pixels; a head cannot be seen below {MIN_SIDE}",
            "Use the original slice instead of a thumbnail.",
        )


def _note_oddities(image: Image.Image, source: str, notes: list[str]) -> None:
    expected = NAMED_FORMATS.get(Path(source).suffix.lower())
    if expected and image.format and expected != image.format:
        notes.append(f"named {expected}, is {image.format}")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        notes.append(f"first of {frames} frames read")


def _decode_jpeg(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode to grey [h, w]; very large pictures at the codec's own reduced scale."""
    longest = max(size)
    least = [max(1, side * JPEG_REDUCED_SIDE // longest) for side in size]
    if longest <= JPEG_REDUCED_SIDE:
        least = [0, 0]
    return simplejpeg.decode_jpeg(data, colorspace="GRAY", min_width=least[0], min_height=least[1])[
        :, :, 0
    ]


def _decode_with_pillow(image: Image.Image, source: str) -> NDArray[Any]:
    image.load()
    if image.mode not in _TO_GREY:
        fact = f"has the pixel mode {image.mode}, which is not read here"
        raise UnreadableImageError(source, fact, _SAVE_AS_PNG)
    return _TO_GREY[image.mode](image)


def _luminance(image: Image.Image) -> NDArray[Any]:
    return np.asarray(image.convert("L"))


def _on_black(image: Image.Image) -> NDArray[Any]:
    """Lay a picture with alpha on black, the background of scans."""
    layered = image.convert("RGBA")
    black = Image.new("RGBA", layered.size, (0, 0, 0, 255))
    return np.asarray(Image.alpha_composite(black, layered).convert("L"))


def _palette(image: Image.Image) -> NDArray[Any]:
    has_alpha = "transparency" in image.info
    return _on_black(image) if has_alpha else _luminance(image.convert("RGB"))


_TO_GREY: dict[str, Callable[[Image.Image], NDArray[Any]]] = {
    "L": np.asarray,
    "1": _luminance,
    "RGB": _luminance,
    "YCbCr": _luminance,
    "LAB": lambda image: np.asarray(image)[:, :, 0],
    "CMYK": lambda image: _luminance(image.convert("RGB")),
    "P": _palette,
    "PA": _on_black,
    "LA": _on_black,
    "La": _on_black,
    "RGBA": _on_black,
    "RGBX": lambda image: _luminance(image.convert("RGB")),
    **dict.fromkeys(("I", "F", "I;16", "I;16B", "I;16L", "I;16N"), np.asarray),
}

# EXIF 2.32, tag 0x0112: what brings a stored picture upright.
_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: np.rot90,
}


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:120] if text else type(error).__name__
