"""Scans from outside are read in a process that a file can neither hold up nor bring down."""

from collections.abc import Iterator
from dataclasses import fields

import hostile_files
import numpy as np
import pytest
from support.broken_files import BROKEN, HEAD, WHOLE
from support.dicom_files import dicom_bytes, slice_dataset
from support.nifti_files import nifti_bytes, ras_volume
from support.not_plain import as_png, phantom, with_box

from tumorlens.errors import ImageTooLargeError
from tumorlens.images.readers import attempt, open_images_bytes, slice_headers_bytes
from tumorlens.records import Scan, Unusable
from tumorlens.services.scan_reader import ScanReader
from tumorlens.settings import ReadLimits

LIMITS = ReadLimits(max_pixels=16_000_000)
FILES = {
    "png": WHOLE["png"],
    "colored": as_png(with_box(phantom(0))),
    "dcm": dicom_bytes(slice_dataset(HEAD.astype(np.int16), modality="CT")),
    "nii": nifti_bytes(ras_volume()),
}


@pytest.fixture(scope="module")
def reader() -> Iterator[ScanReader]:
    made = ScanReader(LIMITS)
    yield made
    made.close()


@pytest.mark.parametrize("name", FILES)
def test_every_field_of_every_slice_comes_back(reader: ScanReader, name: str):
    found = reader.open_images(FILES[name], source="x")
    expected = open_images_bytes(FILES[name], source="x", limits=LIMITS)
    assert isinstance(found, tuple)
    for one, other in zip(found, expected, strict=True):
        for field in fields(Scan):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@pytest.mark.parametrize("name", FILES)
def test_what_a_file_says_of_its_slices_comes_back(reader: ScanReader, name: str):
    found = reader.slice_headers(FILES[name], source="x")
    assert found == slice_headers_bytes(FILES[name], source="x", limits=LIMITS)
    assert bool(found) == (name in ("dcm", "nii"))


@pytest.mark.parametrize("name", ["empty.png", "strip.png", "bomb.png"])
def test_a_refusal_is_the_same_as_in_the_process_itself(reader: ScanReader, name: str):
    data, kind = BROKEN[name]
    found = reader.open_images(data, source="x")
    expected = attempt(open_images_bytes, data, source="x", limits=LIMITS)
    assert isinstance(found, Unusable)
    assert isinstance(expected, Unusable)
    assert (type(found.error), found.reason) == (kind, expected.reason)


def test_a_file_that_takes_too_long_is_refused_and_the_next_one_is_read(
    reader: ScanReader, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as changed:
        changed.setattr(reader, "_seconds", 0.1)
        found = reader.open_images(hostile_files.jpeg_of_scans(100, side=4000), source="x")
    assert isinstance(found, Unusable)
    assert isinstance(found.error, ImageTooLargeError)
    assert isinstance(reader.open_images(FILES["png"], source="x"), tuple)
