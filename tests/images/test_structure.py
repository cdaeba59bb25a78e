"""What a file asks for is counted before it is decoded; what asks for too much is refused."""

import gzip
import time

import hostile_files
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom.uid import ImplicitVRLittleEndian
from support.broken_files import HEAD, WHOLE, encoded
from support.dicom_files import dicom_bytes, slice_dataset, without_preamble
from support.nifti_files import nifti_bytes, ras_volume

from tumorlens.errors import ImageTooLargeError, UnreadableImageError
from tumorlens.images.raster import STRIP_ROWS
from tumorlens.images.readers import announced_pixels, read_scan_bytes
from tumorlens.settings import ReadLimits

SERVICE = ReadLimits(max_pixels=16_000_000)
OVERLAPPING = dict.fromkeys(range(1000, 1009), (7, 10**6, 8))  # nine times the whole file
EXCESSIVE = {
    "scans of a JPEG": (lambda: hostile_files.jpeg_of_scans(40_000), "scans"),
    "segments of a JPEG": (
        lambda: b"\xff\xd8\xff" + b"\xfe\x00\x02\xff" * 100_000 + WHOLE["jpg"][3:], "segments"
    ),
    "pages of a TIFF": (lambda: hostile_files.tiff_of_pages(60_000), "pages"),
    "strips of a TIFF": (
        lambda: hostile_files.tiff_with({273: (4, 200_000, 8)}, extra=900_000), "strips"
    ),
    "tags of a TIFF that overlap": (
        lambda: hostile_files.tiff_with(OVERLAPPING, extra=10**6), "tags"
    ),
    "chunks of a PNG": (lambda: hostile_files.png(64, 64, rows=64, idats=100_000), "chunks"),
    "texts of a PNG": (lambda: hostile_files.text_bomb(60, 1), "texts"),
    "frames of a GIF": (lambda: hostile_files.gif_of_frames(100_000), "frames"),
    "stray bytes of a GIF": (lambda: hostile_files.gif_of_frames(1)[:-1] + bytes(10**6), "blocks"),
    "frames of a WebP": (
        lambda: WHOLE["webp"] + (b"ANMF\x10\0\0\0" + bytes(16)) * 2000, "frames"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXCESSIVE)
def test_a_file_of_too_many_parts_is_refused_at_once(name: str):
    make, fact = EXCESSIVE[name]
    data = make()
    started = time.process_time()
    with pytest.raises(ImageTooLargeError, match=f"{fact}"):
        read_scan_bytes(data, source="x", limits=SERVICE)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF"])
def test_a_header_of_65535_squared_is_refused_before_anything_is_decoded(format: str):
    with pytest.raises(ImageTooLargeError, match=r"65,535 x 65,535"):
        announced_pixels(hostile_files.declaring(format), source="x")


def test_a_tiff_with_tiles_larger_than_any_image_is_refused():
    lying = {322: (4, 1, 60_000), 323: (4, 1, 60_000), 324: (4, 1, 300), 325: (4, 1, 100)}
    with pytest.raises(ImageTooLargeError, match="60,000 x 60,000"):
        read_scan_bytes(hostile_files.tiff_with(lying), source="x")


def test_a_tiff_whose_tiles_lie_outside_it_is_unreadable():
    lying = {322: (4, 1, 64), 323: (4, 1, 64), 324: (4, 1, 10**9), 325: (4, 1, 10**9)}
    with pytest.raises(UnreadableImageError):
        read_scan_bytes(hostile_files.tiff_with(lying), source="x")


@pytest.mark.parametrize("make", [hostile_files.text_bomb, hostile_files.profile_bomb])
def test_what_unpacks_to_more_than_its_file_is_unreadable(make):
    with pytest.raises(UnreadableImageError, match="too large"):
        read_scan_bytes(make(), source="x")


@pytest.mark.parametrize("name", WHOLE)
def test_every_writer_announces_the_pixels_it_wrote(name: str):
    assert announced_pixels(WHOLE[name], source="x") == HEAD.size


@pytest.mark.parametrize(
    ("size", "options"),
    [((1000, 30), {"lossless": True}), ((30, 1000), {}), ((77, 33), {"save_all": True})],
)
def test_a_webp_announces_its_pixels_in_each_of_its_headers(size, options):
    data = encoded(Image.new("RGBA", size, (9, 9, 9, 50)), "WEBP", **options)
    assert announced_pixels(data, source="x") == size[0] * size[1]


@pytest.mark.parametrize("format", ["TIFF", "GIF", "PNG", "WEBP"])
def test_a_file_of_some_frames_is_read_and_says_so(format: str):
    frames = [Image.fromarray(np.roll(HEAD, shift, axis=0)) for shift in range(3)]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    assert read_scan_bytes(data, source="x").notes == ("first of 3 frames read",)


def test_a_big_tiff_and_one_of_the_other_byte_order_announce_their_pixels():
    wide = Image.new("L", (300, 20), 7)
    assert announced_pixels(encoded(wide, "TIFF", big_tiff=True), source="x") == 6000
    other = encoded(Image.frombytes("I;16B", (300, 20), bytes(12_000)), "TIFF")
    assert other[:2] == b"MM"
    assert announced_pixels(other, source="x") == 6000


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_anywhere_announces_no_more_than_the_cap(name: str):
    for length in range(1, min(400, len(WHOLE[name]))):
        assert announced_pixels(WHOLE[name][:length], source="x") <= ReadLimits().max_pixels


def test_an_image_with_alpha_is_the_same_in_strips_as_whole():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (2 * STRIP_ROWS + 7, 40, 4), np.uint8), "RGBA")
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    whole = np.asarray(Image.alpha_composite(black, image).convert("L"), np.float32)
    np.testing.assert_array_equal(read_scan_bytes(encoded(image, "PNG"), source="x").pixels, whole)


@pytest.mark.parametrize(
    "write",
    [
        dicom_bytes,
        lambda dataset: dicom_bytes(dataset, syntax=ImplicitVRLittleEndian),
        lambda dataset: without_preamble(dataset, implicit=True),
    ],
)
def test_a_dicom_file_announces_the_pixels_of_all_its_frames(write):
    frames = np.zeros((7, 40, 50), np.uint16)
    assert announced_pixels(write(slice_dataset(frames[0])), source="x") == 40 * 50
    many = slice_dataset(frames, NumberOfFrames="7")
    assert announced_pixels(write(many), source="x") == 7 * 40 * 50
    huge = slice_dataset(frames[0], Rows=65_535, Columns=65_535)
    with pytest.raises(ImageTooLargeError, match="65,535 x 65,535"):
        announced_pixels(write(huge), source="x")


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_nifti_file_announces_its_voxels_packed_or_not(kind, pack):
    data = pack(nifti_bytes(ras_volume(), kind=kind))
    assert announced_pixels(data, source="x") == ras_volume().size


def test_a_packed_file_that_is_no_volume_announces_the_cap():
    for data in (gzip.compress(bytes(100)), b"\x1f\x8b", b"\x1f\x8b" + bytes(100)):
        assert announced_pixels(data, source="x") == ReadLimits().max_pixels
