"""The color of a file is measured before its pixels become gray."""

import io

import numpy as np
import pytest
from PIL import Image
from support.not_plain import as_jpeg, as_png, colored, phantom, with_box

from tumorlens.images.raster import CELL
from tumorlens.images.readers import read_scan_bytes

GRAY = phantom(2, side=100)


def colors(image: Image.Image, kind: str, **options) -> np.ndarray | None:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return read_scan_bytes(file.getvalue(), source=f"slice.{kind.lower()}").colors


def test_a_gray_file_has_no_colors():
    assert read_scan_bytes(as_png(GRAY), source="a.png").colors is None
    assert read_scan_bytes(as_jpeg(GRAY), source="a.jpg").colors is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_three_equal_channels_have_no_colors(kind):
    assert colors(Image.fromarray(colored(GRAY)), kind) is None


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"),
    ("JPEG", "RGB"), ("JPEG", "CMYK"), ("BMP", "RGB"), ("TIFF", "RGB"), ("WEBP", "RGB"),
    ("GIF", "P")])  # fmt: skip
def test_a_mark_is_seen_in_every_format(kind, mode):
    found = colors(Image.fromarray(with_box(GRAY)).convert(mode), kind)
    assert found is not None
    assert found.shape == (13, 13, 3)  # of 100 pixels
    assert np.ptp(found.astype(int), axis=2).max() > 40


def test_what_is_transparent_has_no_color():
    image = np.dstack([with_box(GRAY), np.zeros(GRAY.shape, np.uint8)])
    image[:50, :50, 3] = 255
    image[:50, :50, :3] = 128
    assert colors(Image.fromarray(image), "PNG") is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_colors_are_turned_upright_with_the_pixels(orientation):
    image = colored(np.full((80, 120), 60, np.uint8))
    image[:24, :40] = (250, 20, 20)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", exif=exif, quality=95)
    scan = read_scan_bytes(file.getvalue(), source="a.jpg")
    assert scan.colors is not None
    redness = scan.colors[..., 0].astype(int) - scan.colors[..., 1]
    bright = scan.pixels[CELL // 2 :: CELL, CELL // 2 :: CELL] > 80
    assert ((redness > 100) == bright).all()
