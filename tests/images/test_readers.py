"""Facts about the table of formats."""

from dataclasses import replace

import numpy as np
import pytest
from support.broken_files import HEAD, encoded
from support.dicom_files import dicom_bytes, slice_dataset
from support.nifti_files import nifti_bytes, ras_volume

from tumorlens.errors import InvalidPixelsError, MissingExtraError, UnreadableImageError
from tumorlens.images import readers
from tumorlens.images.readers import (
    READERS,
    Reader,
    attempt,
    open_images,
    open_images_bytes,
    read_scan,
    readable_suffixes,
)
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Scan, Unusable


def stack(data, source, limits):
    """Three slices of one file, each as bright as its number."""
    return tuple(Scan(HEAD * np.float32(k + 1), source, frame=k) for k in range(3))


@pytest.fixture
def with_stacks(monkeypatch):
    """One more row: files that end in .stack and begin with STACK."""
    row = Reader("STACK", (".stack",), ((0, b"STACK"),), stack, "stacks")
    monkeypatch.setattr(readers, "READERS", (*READERS, row))
    return row


def bytes_in(reader):
    made = {"DICOM": lambda: dicom_bytes(slice_dataset(HEAD)),
            "NIfTI": lambda: nifti_bytes(ras_volume()[:, :, :1])}  # fmt: skip
    return made.get(reader.name, lambda: encoded(HEAD, reader.name))()


@pytest.mark.parametrize("reader", [row for row in READERS if row.read], ids=lambda row: row.name)
def test_every_readable_format_is_told_by_its_bytes(reader):
    data = bytes_in(reader)
    (scan,) = open_images_bytes(data, source="no ending")
    assert scan.notes == ()
    other = next(row for row in READERS if row.read and row is not reader)
    (named,) = open_images_bytes(data, source=f"x{other.suffixes[0]}")
    assert named.notes == (f"named {other.name}, is {reader.name}",)


def test_a_known_format_that_cannot_be_read_says_so(monkeypatch, with_stacks):
    monkeypatch.setattr(readers, "READERS", (*READERS, replace(with_stacks, read=None)))
    with pytest.raises(UnreadableImageError, match="is a STACK file, which cannot be read yet"):
        open_images_bytes(b"STACK", source="any name")


def test_an_image_named_like_another_format_is_read_and_noted(write_image):
    scan = read_scan(write_image(HEAD, "scan.nii", format="PNG"))
    assert scan.notes == ("named NIfTI, is PNG",)


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.JPG", "a.jpeg"])
def test_every_ending_of_jpeg_is_read_without_a_note(write_image, name):
    assert read_scan(write_image(HEAD, name, format="JPEG")).notes == ()
    assert f".{name.lower().split('.')[1]}" in readable_suffixes()


def test_readable_endings_are_those_of_the_rows_that_read():
    assert {".dcm", ".nii", ".nii.gz", ".png", ".jpg", ".bmp", ".tif", ".webp", ".gif"} < set(
        readable_suffixes()
    )


def test_one_row_makes_a_format_readable_with_all_its_frames(with_stacks, tmp_path, tiny_bundle):
    path = tmp_path / "a.stack"
    path.write_bytes(b"STACK")
    assert [scan.frame for scan in open_images(path)] == [0, 1, 2]
    np.testing.assert_array_equal(read_scan(path, frame=2).pixels, HEAD * np.float32(3))
    assert read_scan(path).frame == 0
    assert ".stack" in readable_suffixes()
    found = Predictor(tiny_bundle).predict([path])
    assert [(p.path, p.error) for p in found] == [(str(path), "")] * 3


def test_a_frame_that_is_not_there_is_refused(with_stacks, tmp_path):
    path = tmp_path / "a.stack"
    path.write_bytes(b"STACK")
    with pytest.raises(UnreadableImageError, match="no frame 3, it holds 3"):
        read_scan(path, frame=3)


def test_pixels_of_every_format_are_checked(monkeypatch, with_stacks):
    row = replace(with_stacks, read=lambda *_: (Scan(np.full((20, 20), np.nan), "a"),))
    monkeypatch.setattr(readers, "READERS", (*READERS, row))
    with pytest.raises(InvalidPixelsError):
        open_images_bytes(b"STACK", source="a")


def test_a_format_whose_libraries_lack_names_its_extra(monkeypatch, with_stacks):
    def without_library(*_):
        raise ModuleNotFoundError("No module named 'stacklib'", name="stacklib")

    row = replace(with_stacks, read=without_library)
    monkeypatch.setattr(readers, "READERS", (*READERS, row))
    with pytest.raises(MissingExtraError, match=r"needs stacklib.*tumorlens\[stacks\]"):
        open_images_bytes(b"STACK", source="a")


def test_an_attempt_gives_the_scan_or_what_is_wrong_with_it(write_image, tmp_path):
    assert attempt(read_scan, write_image(HEAD, "a.png")).pixels.shape == HEAD.shape
    found = attempt(read_scan, tmp_path / "gone.png")
    assert isinstance(found, Unusable)
    assert found.path == str(tmp_path / "gone.png")
    assert found.reason.startswith("cannot be opened (No such file or directory). Check")
