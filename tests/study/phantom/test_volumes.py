"""Facts about drawn heads: their slices fit, and DICOM and NIfTI hold the same head."""

import numpy as np
import pytest

from tumorlens.images.listing import list_series
from tumorlens.images.readers import find_files, find_scans, open_images
from tumorlens.inputs.prepare import prepare
from tumorlens.study.phantom import volumes
from tumorlens.study.phantom.volumes import (
    SLICES,
    STEP_MM,
    draw_volume,
    write_dicom,
    write_nifti,
    write_volumes,
)

SIDE = 64


@pytest.fixture(scope="module", params=["ct", "mri"])
def head(request):
    return draw_volume(request.param, "glioma", seed=5, side=SIDE)


def test_a_series_of_a_head_is_used_in_the_order_it_was_drawn(tmp_path, head):
    write_dicom(head, tmp_path, seed=5)
    (series,) = list_series(find_scans([tmp_path])).series
    assert (series.reason, series.plane, series.notes) == ("", "axial", ())
    assert series.spacing_mm == pytest.approx(STEP_MM)
    assert len(series.slices) == SLICES
    for header, drawn in zip(series.slices, head.voxels, strict=True):
        np.testing.assert_array_equal(open_images(header.path)[0].pixels, drawn)


def test_dicom_and_nifti_of_a_head_hold_the_same_slices_in_the_same_place(tmp_path, head):
    write_dicom(head, tmp_path / "series", seed=5)
    write_nifti(head, tmp_path / "head.nii.gz")
    (series,) = list_series(find_scans([tmp_path / "series"])).series
    volume = open_images(tmp_path / "head.nii.gz")
    for header, scan in zip(series.slices, volume, strict=True):
        (other,) = open_images(header.path)
        np.testing.assert_array_equal(scan.pixels, other.pixels)
        assert scan.position == pytest.approx(other.position)
        assert scan.spacing_mm == pytest.approx(other.spacing_mm)
        assert scan.modality in (other.modality, None)
    middle = SLICES // 2
    np.testing.assert_array_equal(
        prepare(volume[middle]).pixels, prepare(open_images(series.slices[middle].path)[0]).pixels
    )


def test_the_tumor_lies_in_some_slices_and_its_mask_beside_the_volume(tmp_path, head):
    shown = head.mask.any(axis=(1, 2))
    assert 1 <= shown.sum() < SLICES
    write_nifti(head, tmp_path / "head.nii.gz")
    found = find_files([tmp_path])
    assert found.scans == (tmp_path / "head.nii.gz",)
    assert found.masks == {tmp_path / "head.nii.gz": tmp_path / "head_mask.nii.gz"}
    mask = open_images(tmp_path / "head_mask.nii.gz")
    np.testing.assert_array_equal([scan.pixels.any() for scan in mask], shown)


def test_the_tumor_alone_differs_between_a_head_and_its_healthy_twin():
    ill = draw_volume("mri", "glioma", seed=5, side=SIDE)
    well = draw_volume("mri", "healthy", seed=5, side=SIDE)
    assert not well.mask.any()
    outside = ~ill.mask.any(axis=(1, 2))
    assert outside.any()
    np.testing.assert_array_equal(ill.voxels[outside], well.voxels[outside])


@pytest.mark.parametrize(("form", "files"), [("dicom", 6 * 5), ("nifti", 6)])
def test_every_class_has_its_heads(tmp_path, form, files, monkeypatch):
    monkeypatch.setattr(volumes, "SLICES", 5)
    write_volumes(tmp_path, form=form, per_class=1, seed=2, side=32)
    assert len(find_scans([tmp_path])) == files
    series = list_series(find_scans([tmp_path])).series
    assert len(series) == 6
    assert all(one.is_used for one in series)
