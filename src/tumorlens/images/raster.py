"""PNG, JPEG, BMP, TIFF, WebP and GIF files become Scans.

The header is read first: format against an allow-list, size against a pixel cap. Only then
is anything decoded. 8-bit JPEGs go through simplejpeg (strict: a damaged stream is an error,
where libjpeg alone would fill the rest with gray), all else through Pillow.

Where a file has color, its `colors` are those before its pixels become gray: the mean of each cell
of CELL pixels, because noise of a camera and of JPEG cancels in them and a drawn line does not.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from tumorlens.errors import ImageTooLargeError, ImageTooSmallError, UnreadableImageError
from tumorlens.images.slices import SliceHeader
from tumorlens.images.structure import tiff_structure
from tumorlens.records import Scan
from tumorlens.settings import ReadLimits

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
MIN_SIDE = 16
STRIP_ROWS = 256
JPEG_REDUCED_SIDE = 1024  # longer JPEGs are decoded at 1/2, 1/4 or 1/8, never below this

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
SAVE_AS_PNG = "Export the slice again as PNG or JPEG."
_SMALLER = "Export the slice at its own resolution, or raise TUMORLENS_MAX_PIXELS."
CELL = 8  # pixels; also the strongest reduction at which a JPEG can be decoded
_GRAY_TOLERANCE = 2  # between the channels of a cell, of 255
_REDUCED = ("RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_EXPANDED = ("P", "PA")  # numbers of colors, which have no mean
Colors = NDArray[np.uint8]  # [ceil(h / CELL), ceil(w / CELL), 3], red green blue


def encode_png(pixels: NDArray[np.integer]) -> bytes:
    """Return a lossless PNG of 8 or 16 bits.

    It is made in memory: cv2.imwrite fails in silence, and on Windows for many paths.
    """
    return cv2.imencode(".png", pixels)[1].tobytes()


def decode_raster(data: bytes, source: str, limits: ReadLimits) -> tuple[Scan, ...]:
    """Read every page or frame of a file of one of FORMATS; raises an ImageError."""
    with warnings.catch_warnings():
        # Pillow's own bomb warning comes at another limit than ours, and TIFF tags it dislikes
        # are no reason to speak on a terminal.
        warnings.simplefilter("ignore")
        try:
            return _decode(data, source, limits)
        except _DECODER_ERRORS as e:
            fact = f"damaged or incomplete ({first_line(e)})"
            raise UnreadableImageError(source, fact, SAVE_AS_PNG) from e


def stack_headers(
    path: str, _limits: ReadLimits, data: bytes | None = None
) -> tuple[SliceHeader, ...]:
    """List the pages or frames of a file with several; none of one that is a single image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = Path(path).read_bytes() if data is None else data
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                frames, (width, height) = _count_frames(image, data), image.size
        except _DECODER_ERRORS:
            return ()  # reading it tells what is wrong
    numbers = range(frames) if frames > 1 else ()
    return tuple(SliceHeader(path, frame=n, matrix=(height, width), number=n) for n in numbers)


def _decode(data: bytes, source: str, limits: ReadLimits) -> tuple[Scan, ...]:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as e:
        fact = f"is not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image"
        raise UnreadableImageError(source, fact, SAVE_AS_PNG) from e
    except Image.DecompressionBombError as e:
        # Pillow's own cap, checked before ours can be.
        fact = f"declares an image above the cap of {limits.max_pixels:,} pixels ({first_line(e)})"
        raise ImageTooLargeError(source, fact, _SMALLER) from e
    with image:
        _check_size(image.size, source, limits.max_pixels)
        frames = _count_frames(image, data)
        if frames == 1:
            return (_read_frame(image, data, source),)
        return tuple(_read_stack(image, data, source, frames=frames, limits=limits))


def _read_stack(
    image: Image.Image, data: bytes, source: str, *, frames: int, limits: ReadLimits
) -> Iterator[Scan]:
    """Read one frame after the other, up to the cap of all together."""
    pixels = 0
    for frame in range(frames):
        image.seek(frame)
        _check_size(image.size, source, limits.max_pixels)
        pixels += image.size[0] * image.size[1]
        if pixels > limits.max_volume_pixels:
            fact = f"holds {frames:,} frames, above the cap of {limits.max_volume_pixels:,} pixels"
            fix = "Split it, or raise TUMORLENS_MAX_VOLUME_PIXELS."
            raise ImageTooLargeError(source, fact, fix)
        yield replace(_read_frame(image, data, source), frame=frame, series=source)


def _read_frame(image: Image.Image, data: bytes, source: str) -> Scan:
    """Read the frame that an open image stands at."""
    orientation, notes = image.getexif().get(0x0112, 1), []
    if image.format == "JPEG" and image.mode in ("L", "RGB"):
        gray = _decode_jpeg(data, image.size)
        colors = jpeg_colors(data, image.size) if image.mode == "RGB" else None
    else:
        if image.format == "JPEG":
            simplejpeg.decode_jpeg(data, colorspace="CMYK")  # only to be strict
        gray = _decode_with_pillow(image, source)
        if _is_clear(image):
            notes.append("transparency ignored: every pixel is wholly transparent")
        colors = image_colors(image)
    # Pillow turns TIFF files itself while loading, and takes the tag away.
    left = image.getexif().get(0x0112, 1)
    if orientation in _UPRIGHT:
        notes.append("turned upright by its EXIF orientation")
    if left in _UPRIGHT:
        gray = _UPRIGHT[left](gray)
        colors = None if colors is None else _UPRIGHT[left](colors)
    return Scan(np.ascontiguousarray(gray, np.float32), source, notes=tuple(notes), colors=colors)


def _count_frames(image: Image.Image, data: bytes) -> int:
    """Count frames; Pillow would take a millisecond for each page of a TIFF."""
    return tiff_structure(data).frames if image.format == "TIFF" else getattr(image, "n_frames", 1)


def check_pixels(size: tuple[int, int], source: str, max_pixels: int) -> None:
    """Raise ImageTooLargeError for a size above the cap."""
    width, height = size
    if width * height > max_pixels:
        fact = f"declares {width:,} x {height:,} pixels, above the cap of {max_pixels:,}"
        raise ImageTooLargeError(source, fact, _SMALLER)


def _check_size(size: tuple[int, int], source: str, max_pixels: int) -> None:
    check_pixels(size, source, max_pixels)
    width, height = size
    if min(width, height) < MIN_SIDE:
        raise ImageTooSmallError(
            source,
            f"is {width} x {height} pixels; a head cannot be seen below {MIN_SIDE}",
            "Use the original slice instead of a thumbnail.",
        )


def _decode_jpeg(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode to gray [h, w]; very large images at the codec's own reduced scale."""
    longest = max(size)
    smallest = [max(1, side * JPEG_REDUCED_SIDE // longest) for side in size]
    if longest <= JPEG_REDUCED_SIDE:
        smallest = [0, 0]
    return simplejpeg.decode_jpeg(
        data, colorspace="GRAY", min_width=smallest[0], min_height=smallest[1]
    )[:, :, 0]


def _decode_with_pillow(image: Image.Image, source: str) -> NDArray[Any]:
    image.load()
    if image.mode not in _TO_GRAY:
        fact = f"has the pixel mode {image.mode}, which is not read here"
        raise UnreadableImageError(source, fact, SAVE_AS_PNG)
    return _TO_GRAY[image.mode](image)


def _luminance(image: Image.Image) -> NDArray[Any]:
    return np.asarray(image.convert("L"))


def _on_black(image: Image.Image) -> NDArray[np.uint8]:
    """Lay an image with alpha on black, the background of scans; strip by strip, to save memory."""
    if _is_clear(image):
        return _luminance(image.convert("RGBA").convert("RGB"))
    width, height = image.size
    gray = np.empty((height, width), np.uint8)
    for top in range(0, height, STRIP_ROWS):
        strip = image.crop((0, top, width, min(height, top + STRIP_ROWS))).convert("RGBA")
        black = Image.new("RGBA", strip.size, (0, 0, 0, 255))
        gray[top : top + STRIP_ROWS] = np.asarray(Image.alpha_composite(black, strip).convert("L"))
    return gray


def _is_clear(image: Image.Image) -> bool:
    """Tell whether nothing would be seen of an image on any background."""
    if not image.has_transparency_data:
        return False
    return image.convert("RGBA").getchannel("A").getextrema() == (0, 0)


def _palette(image: Image.Image) -> NDArray[Any]:
    has_alpha = "transparency" in image.info
    return _on_black(image) if has_alpha else _luminance(image.convert("RGB"))


_TO_GRAY: dict[str, Callable[[Image.Image], NDArray[Any]]] = {
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

# EXIF 2.32, tag 0x0112: what brings a stored image upright.
_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


def first_line(error: BaseException) -> str:
    """Return the beginning of what an error says, or its name."""
    text = str(error).strip().splitlines()
    return text[0][:120] if text else type(error).__name__


def jpeg_colors(data: bytes, size: tuple[int, int]) -> Colors | None:
    """Return the colors of a JPEG of three channels, of `size` (width, height); None if gray."""
    width, height = (max(1, side // CELL) for side in size)
    return _unless_gray(
        simplejpeg.decode_jpeg(data, colorspace="RGB", min_width=width, min_height=height)
    )


def image_colors(image: Image.Image) -> Colors | None:
    """Return the colors of a loaded image, laid on black where it has alpha; None if gray."""
    if image.mode in _EXPANDED:
        image = image.convert("RGBA")
    elif image.mode not in _REDUCED:
        return None
    small = image.reduce(CELL)
    if small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, (0, 0, 0, 255)), small)
    return _unless_gray(np.asarray(small.convert("RGB")))


def _unless_gray(colors: Colors) -> Colors | None:
    red, green, blue = cv2.split(colors)
    farthest = max(cv2.norm(red, green, cv2.NORM_INF), cv2.norm(green, blue, cv2.NORM_INF))
    return None if farthest <= _GRAY_TOLERANCE else colors
