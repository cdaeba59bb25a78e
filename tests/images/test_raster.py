"""Facts about reading one slice: whole pictures of every kind, and refusals."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.broken_files import (
    BROKEN,
    HEAD,
    MEASURED_CHILD,
    WHOLE,
    bomb,
    encoded,
    jpeg_declaring,
    png_declaring,
)

from tumorlens.errors import (
    ImageError,
    ImageTooLargeError,
    ImageTooSmallError,
    UnreadableImageError,
)
from tumorlens.images import readers
from tumorlens.images.raster import MIN_SIDE
from tumorlens.images.readers import read_scan, read_scan_bytes
from tumorlens.settings import ReadLimits

SETTINGS = settings(max_examples=50)
GRAY = HEAD.astype(np.float32)


def likeness(pixels: np.ndarray, truth: np.ndarray = GRAY) -> float:
    assert pixels.shape == truth.shape
    return float(np.corrcoef(pixels.ravel(), truth.ravel())[0, 1])


def picture(mode: str) -> Image.Image:
    """The head in one of Pillow's modes; the gray value is the same in all of 8 bits."""
    made = {
        "I;16": lambda: Image.fromarray(HEAD.astype(np.uint16) * 257),
        "I": lambda: Image.fromarray(HEAD.astype(np.int32) * 1000 - 60_000),
        "F": lambda: Image.fromarray(HEAD.astype(np.float32) / 7 - 20),
        "1": lambda: Image.fromarray(HEAD > 60),
    }
    return made[mode]() if mode in made else Image.fromarray(HEAD).convert(mode)


EXACT = [
    *[("L", f) for f in ("PNG", "BMP", "TIFF", "GIF")],
    *[("RGB", f) for f in ("PNG", "BMP", "TIFF")],
    *[("RGBA", f) for f in ("PNG", "TIFF")],
    *[("P", f) for f in ("PNG", "BMP", "TIFF", "GIF")],
    *[("LA", f) for f in ("PNG", "TIFF")],
    ("CMYK", "TIFF"),
]
LOSSY = [("L", "JPEG"), ("RGB", "JPEG"), ("CMYK", "JPEG"), ("L", "WEBP"), ("RGB", "WEBP"),
         ("RGBA", "WEBP")]  # fmt: skip


@pytest.mark.parametrize(("mode", "format"), EXACT)
def test_a_lossless_picture_keeps_every_grey_value(mode, format):
    scan = read_scan_bytes(encoded(picture(mode), format), source="x")
    assert scan.pixels.dtype == np.float32
    assert scan.pixels.flags.c_contiguous
    np.testing.assert_array_equal(scan.pixels, GRAY)
    assert scan.notes == ()


@pytest.mark.parametrize(("mode", "format"), LOSSY)
def test_a_lossy_picture_keeps_its_look(mode, format):
    scan = read_scan_bytes(encoded(picture(mode), format, quality=95), source="x")
    assert scan.pixels.dtype == np.float32
    assert likeness(scan.pixels) > 0.99
    assert abs(scan.pixels.mean() - GRAY.mean()) < 3


@pytest.mark.parametrize(
    ("mode", "format", "truth"),
    [
        ("I;16", "PNG", GRAY * 257),
        ("I;16", "TIFF", GRAY * 257),
        ("I", "TIFF", GRAY * 1000 - 60_000),
        ("F", "TIFF", GRAY / 7 - 20),
    ],
)
def test_a_deep_picture_keeps_its_own_units(mode, format, truth):
    scan = read_scan_bytes(encoded(picture(mode), format), source="x")
    np.testing.assert_allclose(scan.pixels, truth, rtol=1e-6)


def test_a_16_bit_tiff_of_the_other_byte_order_is_read():
    data = encoded(Image.frombytes("I;16B", (96, 96), (HEAD.astype(">u2") * 257).tobytes()), "TIFF")
    assert data[:2] == b"MM"
    np.testing.assert_array_equal(read_scan_bytes(data, source="x").pixels, GRAY * 257)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF"])
def test_a_picture_of_one_bit_is_black_and_white(format):
    scan = read_scan_bytes(encoded(picture("1"), format), source="x")
    np.testing.assert_array_equal(scan.pixels, np.where(HEAD > 60, 255, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_what_is_transparent_is_black_whatever_color_hides_there(mode, format):
    image = Image.fromarray(np.where(HEAD > 20, HEAD, 255).astype(np.uint8)).convert(mode)
    image.putalpha(Image.fromarray(np.where(HEAD > 20, 255, 0).astype(np.uint8)))
    scan = read_scan_bytes(encoded(image, format), source="x")
    np.testing.assert_array_equal(scan.pixels, np.where(HEAD > 20, HEAD, 0))


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_black(format):
    indices = Image.fromarray(np.where(HEAD > 20, HEAD, 0).astype(np.uint8), "L")
    image = Image.frombytes("P", indices.size, indices.tobytes())
    grays = [255, *range(1, 256)]  # entry 0 is white, and transparent
    image.putpalette([value for gray in grays for value in (gray, gray, gray)])
    scan = read_scan_bytes(encoded(image, format, transparency=0), source="x")
    np.testing.assert_array_equal(scan.pixels, np.where(HEAD > 20, HEAD, 0))


def test_colors_become_luminance():
    color = np.zeros((20, 20, 3), np.uint8)
    color[..., 1] = 200
    pixels = read_scan_bytes(encoded(color, "PNG"), source="x").pixels
    assert pixels[5, 5] == pytest.approx(0.587 * 200, abs=1)


# EXIF 2.32: how a camera that wrote this orientation had stored an upright picture.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", sorted(STORED))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_gives_the_same_upright_picture(format, orientation):
    upright = Image.fromarray(HEAD[10:74])
    how = STORED[orientation]
    stored = upright if how is None else upright.transpose(how)
    exif = Image.Exif()
    exif[0x0112] = orientation
    scan = read_scan_bytes(encoded(stored, format, exif=exif), source="x")
    assert likeness(scan.pixels, GRAY[10:74]) > 0.985
    assert any("upright" in note for note in scan.notes) == (orientation != 1)


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    scan = read_scan_bytes(encoded(HEAD, "PNG", exif=exif), source="x")
    np.testing.assert_array_equal(scan.pixels, GRAY)


def test_a_png_named_jpg_is_read_and_noted(write_image):
    path = write_image(HEAD, "scan.jpg", format="PNG")
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.pixels, GRAY)
    assert scan.notes == ("named JPEG, is PNG",)
    assert scan.source == str(path)


@pytest.mark.parametrize("name", ["scan", "scan.xyz", "SCAN.PNG"])
def test_a_name_that_promises_no_other_format_is_not_noted(write_image, name):
    assert read_scan(write_image(HEAD, name, format="PNG")).notes == ()


@pytest.mark.parametrize("format", ["GIF", "PNG", "TIFF", "WEBP"])
def test_of_several_frames_the_first_is_read_and_noted(format):
    others = [Image.fromarray(np.rot90(HEAD, k).copy()) for k in (1, 2)]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(HEAD, format, save_all=True, append_images=others, **options)
    scan = read_scan_bytes(data, source="x")
    np.testing.assert_array_equal(scan.pixels, GRAY)
    assert scan.notes == ("first of 3 frames read",)


def test_a_very_large_jpeg_is_decoded_at_a_reduced_scale():
    large = Image.fromarray(HEAD).resize((4096, 2048), Image.Resampling.BICUBIC)
    pixels = read_scan_bytes(encoded(large, "JPEG"), source="x").pixels
    assert pixels.shape == (512, 1024)
    small = np.asarray(Image.fromarray(HEAD).resize((1024, 512), Image.Resampling.BICUBIC))
    assert likeness(pixels, small.astype(np.float32)) > 0.99


def test_a_jpeg_up_to_the_reduced_side_keeps_its_size():
    data = encoded(Image.fromarray(HEAD).resize((1024, 700)), "JPEG")
    assert read_scan_bytes(data, source="x").pixels.shape == (700, 1024)


def test_the_least_side_is_still_read():
    data = encoded(np.full((MIN_SIDE, MIN_SIDE), 9, np.uint8), "PNG")
    assert read_scan_bytes(data, source="x").pixels.shape == (MIN_SIDE, MIN_SIDE)
    with pytest.raises(ImageTooSmallError):
        read_scan_bytes(encoded(np.full((MIN_SIDE, MIN_SIDE - 1), 9, np.uint8), "PNG"), source="x")


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_file_is_refused_by_its_exact_error(tmp_path, name):
    data, kind = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read_scan(path)
    assert type(caught.value) is kind
    assert str(path) in str(caught.value)
    assert caught.value.fact
    assert caught.value.fix.endswith(".")


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_a_cut_file_is_refused_or_has_lost_nothing_of_its_picture(name):
    whole = read_scan_bytes(WHOLE[name], source="x").pixels
    length = len(WHOLE[name])
    for kept in {*range(length - 16, length), *range(1, length, length // 25)}:
        try:
            pixels = read_scan_bytes(WHOLE[name][:kept], source="x").pixels
        except UnreadableImageError:
            continue
        np.testing.assert_array_equal(pixels, whole, err_msg=f"cut at {kept} of {length}")


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_jpeg_that_was_closed_again_is_never_filled_with_grey(mode, progressive):
    data = encoded(picture(mode), "JPEG", progressive=progressive)
    with pytest.raises(UnreadableImageError):
        read_scan_bytes(data[: len(data) * 6 // 10] + b"\xff\xd9", source="x")


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("empty.png", "empty"),
        ("strip.png", "1 x 500"),
        ("text.jpg", "is not a PNG"),
        ("large header.png", "10,000 x 10,000"),
        ("huge header.png", "above the cap"),
        ("huge header.jpg", "above the cap"),
        ("nan.tif", "NaN"),
    ],
)
def test_a_refusal_says_what_was_found(name, fact):
    with pytest.raises(ImageError, match=re.escape(fact)):
        read_scan_bytes(BROKEN[name][0], source=name)


def test_a_missing_file_a_folder_and_a_loop_of_links_are_refused(tmp_path):
    (tmp_path / "x.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "pool.png")
    (tmp_path / "pool.png").symlink_to(tmp_path / "loop.png")
    for name, fact in (("missing.png", "No such file"), ("x.png", "is a folder"),
                       ("loop.png", "symbolic links"), ("a" * 300, "too long")):  # fmt: skip
        with pytest.raises(UnreadableImageError, match=fact) as caught:
            read_scan(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_a_path_with_a_zero_byte_is_refused_like_any_missing_file():
    with pytest.raises(UnreadableImageError):
        read_scan("nul\0byte.png")


def test_a_file_that_may_not_be_read_is_refused(write_image, monkeypatch):
    path = write_image(HEAD, "locked.png")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(readers, "open_file", refuse)
    with pytest.raises(UnreadableImageError, match="Permission denied"):
        read_scan(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    pipe, refused = tmp_path / "pipe.png", []
    os.mkfifo(pipe)

    def read() -> None:
        with pytest.raises(UnreadableImageError, match="regular"):
            read_scan(pipe)
        refused.append(True)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(20)
    assert refused


def test_the_cap_on_bytes_is_checked_before_a_byte_is_read(tmp_path, monkeypatch):
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(2**31)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("was read"))
    with pytest.raises(ImageTooLargeError, match="2,147,483,648 bytes"):
        read_scan(path)


def test_a_file_of_exactly_the_cap_is_read():
    data = WHOLE["png"]
    assert (
        read_scan_bytes(data, source="x", limits=ReadLimits(max_bytes=len(data))).pixels.shape
        == HEAD.shape
    )
    with pytest.raises(ImageTooLargeError, match="cap"):
        read_scan_bytes(data, source="x", limits=ReadLimits(max_bytes=len(data) - 1))


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_the_cap_on_pixels_holds_for_every_format(name):
    limits = ReadLimits(max_pixels=96 * 96)
    assert read_scan_bytes(WHOLE[name], source="x", limits=limits).pixels.shape == (96, 96)
    with pytest.raises(ImageTooLargeError, match="96 x 96"):
        read_scan_bytes(WHOLE[name], source="x", limits=ReadLimits(max_pixels=96 * 96 - 1))


def test_a_picture_above_the_cap_takes_no_memory(tmp_path):
    (tmp_path / "bomb.png").write_bytes(bomb(8000))
    (tmp_path / "header.png").write_bytes(png_declaring(50_000, 50_000))
    (tmp_path / "header.jpg").write_bytes(jpeg_declaring(60_000, 60_000))
    (tmp_path / "large.png").write_bytes(png_declaring(12_000, 12_000))
    child = (
        MEASURED_CHILD
        + """
from tumorlens.errors import ImageError
from tumorlens.images.readers import read_scan
from tumorlens.settings import ReadLimits

before, refused = peak_kb(), 0
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        read_scan(path, limits=ReadLimits(max_pixels=1_000_000))
    except ImageError:
        refused += 1
print(refused, peak_kb() - before)
"""
    )
    done = subprocess.run(
        [sys.executable, "-c", child, str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    refused, growth_kb = map(int, done.stdout.split())
    assert refused == 4
    assert growth_kb < 30_000


def check_scan_or_error(data: bytes) -> None:
    try:
        scan = read_scan_bytes(data, source="some.png", limits=ReadLimits(max_pixels=4_000_000))
    except ImageError as refusal:
        error = refusal
    else:
        assert np.isfinite(scan.pixels).all()
        assert scan.pixels.ndim == 2
        return
    assert error.subject == "some.png"
    assert error.fact


@SETTINGS
@given(
    start=st.sampled_from([b"", *(data[:16] for data in WHOLE.values())]),
    rest=st.binary(max_size=300),
)
def test_random_bytes_give_a_scan_or_an_image_error(start, rest):
    check_scan_or_error(start + rest)


@pytest.mark.parametrize("name", [n for n in sorted(WHOLE) if n != "lzw.tif"])
@SETTINGS
@given(where=st.floats(0, 1, exclude_max=True), early=st.booleans(), value=st.integers(0, 255))
def test_one_changed_byte_gives_a_scan_or_an_image_error(name, where, early, value):
    data = bytearray(WHOLE[name])
    data[int(where * (60 if early else len(data)))] = value
    check_scan_or_error(bytes(data))
