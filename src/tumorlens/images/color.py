"""Color of a file as it is before its pixels become gray: the mean of each cell of CELL pixels.

Means of cells, because noise of a camera and of JPEG cancels in them and a drawn line does not.
"""

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

CELL = 8  # pixels; also the strongest reduction at which a JPEG can be decoded
_GRAY_TOLERANCE = 2  # between the channels of a cell, of 255
_REDUCED = ("RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_EXPANDED = ("P", "PA")  # numbers of colors, which have no mean
Colors = NDArray[np.uint8]  # [ceil(h / CELL), ceil(w / CELL), 3], red green blue


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
