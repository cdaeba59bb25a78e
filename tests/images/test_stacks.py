"""Facts about TIFF, GIF, WebP and PNG files of several pages or frames."""

import io

import numpy as np
import pytest
from PIL import Image
from support.broken_files import HEAD, encoded

from tumorlens.errors import ImageTooLargeError, UnreadableImageError
from tumorlens.images.readers import open_images_bytes, read_scan_bytes, slice_headers
from tumorlens.settings import ReadLimits

PAGES = [HEAD, HEAD[::-1], HEAD.T]


def stacked(format: str, **options) -> bytes:
    file = io.BytesIO()
    first, *more = map(Image.fromarray, PAGES)
    first.save(file, format, save_all=True, append_images=more, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", ["TIFF", "GIF", "PNG", "WEBP"])
def test_every_frame_is_a_scan(format):
    options = {"lossless": True} if format == "WEBP" else {}
    scans = open_images_bytes(stacked(format, **options), source="a")
    assert [scan.frame for scan in scans] == [0, 1, 2]
    assert {scan.series for scan in scans} == {"a"}
    for scan, page in zip(scans, PAGES, strict=True):
        assert np.abs(scan.pixels - page).max() <= 1


def test_the_first_of_several_is_noted_where_one_is_asked_for():
    scan = read_scan_bytes(stacked("TIFF"), source="a")
    assert scan.notes == ("first of 3 frames read",)
    assert read_scan_bytes(encoded(HEAD, "TIFF"), source="a").notes == ()


@pytest.mark.parametrize(("format", "count"), [("TIFF", 3), ("GIF", 3)])
def test_headers_list_the_frames_of_a_stack_and_none_of_a_single_image(tmp_path, format, count):
    (tmp_path / "a").write_bytes(stacked(format))
    headers = slice_headers(tmp_path / "a")
    assert [header.frame for header in headers] == list(range(count))
    assert headers[0].matrix == HEAD.shape
    (tmp_path / "b").write_bytes(encoded(HEAD, format))
    assert slice_headers(tmp_path / "b") == ()


def test_all_frames_together_are_capped():
    limits = ReadLimits(max_volume_pixels=2 * HEAD.size)
    with pytest.raises(ImageTooLargeError, match="3 frames, above the cap"):
        open_images_bytes(stacked("TIFF"), source="a", limits=limits)


def test_a_stack_that_breaks_off_is_refused_as_a_whole():
    data = stacked("GIF")
    with pytest.raises(UnreadableImageError, match="damaged"):
        open_images_bytes(data[: len(data) * 5 // 6], source="a")
