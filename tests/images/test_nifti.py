"""Facts about NIfTI volumes: how they lie, what is refused, and what is damaged."""

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.broken_files import HEAD
from support.dicom_files import dicom_bytes, slice_dataset
from support.nifti_files import RAS, SLICES, nifti_bytes, ras_volume

from tumorlens.errors import (
    ImageError,
    ImageTooLargeError,
    ImageTooSmallError,
    InvalidPixelsError,
    MissingReaderError,
    UnreadableImageError,
)
from tumorlens.images import nifti
from tumorlens.images.readers import (
    attempt,
    find_scans,
    open_images,
    open_images_bytes,
    read_scan,
    read_scan_bytes,
    slice_headers,
)
from tumorlens.inputs.prepare import prepare
from tumorlens.records import Scan
from tumorlens.settings import ReadLimits

VOLUME = ras_volume()


def scans(data: bytes, **limits) -> tuple[Scan, ...]:
    return open_images_bytes(data, source="a.nii", limits=ReadLimits(**limits))


def turned(volume: np.ndarray, codes: str) -> bytes:
    """The same head, stored along other axes."""
    target = nib.orientations.axcodes2ornt(tuple(codes))
    return nib.Nifti1Image(volume, RAS).as_reoriented(
        nib.orientations.ornt_transform(nib.orientations.io_orientation(RAS), target)
    ).to_bytes()  # fmt: skip


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PSR", "ASL", "SRP", "IPL", "RSA"])
def test_axial_slices_look_as_dicom_shows_them_however_they_are_stored(codes):
    found = scans(turned(VOLUME, codes))
    assert [scan.position for scan in found] == list(range(SLICES))
    assert {scan.plane for scan in found} == {"axial"}
    for k, scan in enumerate(found):
        np.testing.assert_array_equal(scan.pixels, HEAD.astype(np.float32) + k)


@pytest.mark.parametrize(
    ("across", "plane", "shown"),
    [
        (0, "sagittal", lambda v, k: v[k, ::-1, ::-1].T),
        (1, "coronal", lambda v, k: v[::-1, k, ::-1].T),
    ],
)
def test_slices_are_cut_across_the_thickest_voxels(across, plane, shown):
    sides = np.ones(4)
    sides[across] = 5
    volume = np.arange(20 * 24 * 28, dtype=np.int16).reshape(20, 24, 28)
    found = scans(nifti_bytes(volume, np.diag(sides)))
    assert {scan.plane for scan in found} == {plane}
    assert [scan.position for scan in found] == sorted(scan.position for scan in found)
    for scan in found:
        np.testing.assert_array_equal(scan.pixels, shown(volume, scan.frame))


def test_headers_say_what_the_scans_say_without_voxels(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(nifti_bytes(VOLUME)))
    headers, found = slice_headers(tmp_path / "a.nii.gz"), open_images(tmp_path / "a.nii.gz")
    assert [(h.frame, h.plane, h.position, h.spacing_mm, h.matrix) for h in headers] == [
        (s.frame, s.plane, s.position, s.spacing_mm, s.pixels.shape) for s in found
    ]


def test_spacing_and_position_are_in_mm():
    affine = np.diag([0.5, 0.7, 1.0, 1.0])
    affine[:3, 3] = 5, -6, 12.5
    first = scans(nifti_bytes(VOLUME, affine))[0]
    assert first.spacing_mm == pytest.approx((0.7, 0.5))
    assert first.position == 12.5


def test_a_slope_is_applied():
    image = nib.Nifti1Image(VOLUME, RAS)
    image.header.set_slope_inter(2.0, -5.0)
    found = scans(nib.Nifti1Image(VOLUME, RAS, image.header).to_bytes())
    plain = scans(nifti_bytes(VOLUME))
    raw = bytearray(nifti_bytes(VOLUME))
    struct.pack_into("<ff", raw, 112, 2.0, -5.0)
    np.testing.assert_allclose(scans(bytes(raw))[0].pixels, plain[0].pixels * 2 - 5)
    assert len(found) == SLICES


def test_sform_goes_before_qform_and_a_difference_is_noted():
    data = bytearray(nifti_bytes(VOLUME, qform=1))
    assert scans(bytes(data))[0].notes == ()
    struct.pack_into("<f", data, 268, 40.0)  # the x offset of the qform
    (first, *_) = scans(bytes(data))
    assert first.notes == ("sform and qform differ: sform taken",)
    np.testing.assert_array_equal(first.pixels, HEAD)
    only_qform = nifti_bytes(VOLUME, sform=0, qform=1)
    assert scans(only_qform)[0].plane == "axial"


def test_without_a_form_no_side_is_claimed():
    (first, *_) = scans(nifti_bytes(VOLUME, sform=0, qform=0))
    assert first.plane is None
    assert first.position is None
    assert first.notes == ("orientation unknown: left may be right",)


def test_a_form_that_is_no_affine_counts_as_none():
    data = bytearray(nifti_bytes(VOLUME))
    struct.pack_into("<4f", data, 280, 0, 0, 0, 0)  # the first row of the sform
    assert scans(bytes(data))[0].plane is None


def test_sheared_axes_are_noted():
    affine = RAS.copy()
    affine[0, 2] = 0.3
    (first, *_) = scans(nifti_bytes(VOLUME, affine))
    assert "its axes are not at right angles" in first.notes
    assert first.plane == "axial"


def test_a_last_axis_of_one_is_dropped():
    assert len(scans(nifti_bytes(VOLUME[..., None]))) == SLICES


def test_several_volumes_are_refused_until_one_is_named():
    several = np.stack([VOLUME, VOLUME + np.int16(100), VOLUME + np.int16(7)], axis=-1)
    data = nifti_bytes(several)
    with pytest.raises(UnreadableImageError, match=r"3 volumes.*--volume, 0 to 2"):
        scans(data)
    found = scans(data, volume=1)
    np.testing.assert_array_equal(found[0].pixels, HEAD.astype(np.float32) + 100)
    assert found[0].notes == ("volume 1 of 3",)
    with pytest.raises(UnreadableImageError, match="no volume 3, it holds 3"):
        scans(data, volume=3)


def test_a_single_slice_is_read():
    (scan,) = scans(nifti_bytes(VOLUME[:, :, :1]))
    np.testing.assert_array_equal(scan.pixels, HEAD)


def test_a_few_voxels_that_are_no_numbers_become_zero():
    volume = ras_volume(np.float32)
    volume[3, 3, :2] = np.nan, np.inf
    found = scans(nifti_bytes(volume))
    assert found[0].notes == ("2 voxels that are not numbers set to 0",)
    assert all(np.isfinite(scan.pixels).all() for scan in found)


def test_many_voxels_that_are_no_numbers_are_an_error():
    volume = ras_volume(np.float32)
    volume[:10] = np.nan
    with pytest.raises(InvalidPixelsError, match="10% voxels that are not numbers"):
        scans(nifti_bytes(volume))


def test_air_at_minus_one_thousand_means_ct_numbers():
    volume = ras_volume() * np.int16(8) - np.int16(1000)
    assert {scan.modality for scan in scans(nifti_bytes(volume))} == {"ct"}
    assert {scan.modality for scan in scans(nifti_bytes(VOLUME))} == {None}
    standardized = (ras_volume(np.float32) - 60) / 40
    assert {scan.modality for scan in scans(nifti_bytes(standardized))} == {None}


def test_version_2_and_big_endian_are_read():
    second = scans(nifti_bytes(VOLUME, kind=nib.Nifti2Image))
    swapped = nib.Nifti1Image(VOLUME, RAS, nib.Nifti1Header(endianness=">")).to_bytes()
    for found in (second, scans(swapped)):
        np.testing.assert_array_equal(found[0].pixels, HEAD)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "volume"])
def test_a_file_is_told_by_its_bytes_packed_or_not(tmp_path, name, packed):
    data = nifti_bytes(VOLUME)
    (tmp_path / name).write_bytes(gzip.compress(data) if packed else data)
    np.testing.assert_array_equal(open_images(tmp_path / name)[0].pixels, HEAD)


def test_a_pair_of_header_and_image_is_one_volume(tmp_path):
    nib.save(nib.Nifti1Pair(VOLUME, RAS), tmp_path / "a.img")
    assert find_scans([tmp_path]) == [tmp_path / "a.img"]
    for name in ("a.img", "a.hdr"):
        np.testing.assert_array_equal(open_images(tmp_path / name)[0].pixels, HEAD)
    assert len(slice_headers(tmp_path / "a.img")) == SLICES


def test_half_a_pair_is_refused(tmp_path):
    nib.save(nib.Nifti1Pair(VOLUME, RAS), tmp_path / "a.img")
    header = (tmp_path / "a.hdr").read_bytes()
    (tmp_path / "a.hdr").unlink()
    with pytest.raises(UnreadableImageError, match=r"has no a\.hdr beside it"):
        open_images(tmp_path / "a.img")
    with pytest.raises(UnreadableImageError, match="the header of a pair"):
        open_images_bytes(header, source="a.hdr")


def test_an_older_kind_of_pair_is_refused(tmp_path):
    nib.save(nib.AnalyzeImage(VOLUME, RAS), tmp_path / "a.img")
    with pytest.raises(UnreadableImageError, match="no NIfTI pair"):
        open_images(tmp_path / "a.img")


def declaring(shape: tuple[int, ...]) -> bytes:
    """A small file whose header claims another size."""
    data = bytearray(nifti_bytes(VOLUME))
    struct.pack_into(f"<{1 + len(shape)}h", data, 40, len(shape), *shape)
    return bytes(data)


def test_a_file_that_claims_terabytes_is_refused_before_voxels_are_touched(monkeypatch):
    monkeypatch.setattr(nifti, "_voxels", lambda *_: pytest.fail("touched"))
    for data in (declaring((30_000,) * 3), gzip.compress(declaring((30_000,) * 3))):
        with pytest.raises(ImageTooLargeError, match="above the cap"):
            scans(data)


def test_a_packed_bomb_stops_at_the_cap():
    with pytest.raises(ImageTooLargeError, match="more than 500,000 bytes"):
        scans(gzip.compress(nifti_bytes(VOLUME) + bytes(2_000_000)), max_volume_bytes=500_000)


@pytest.mark.parametrize("shape", [(96, 8, 4), (96,), (1, 1, 6)])
def test_a_volume_too_small_for_a_head_is_refused(shape):
    with pytest.raises(ImageTooSmallError):
        scans(declaring(shape))


@pytest.mark.parametrize(
    ("code", "fact"), [(128, r"colors \(RGB\)"), (2304, "RGBA"), (32, "complex numbers")]
)
def test_colors_and_complex_numbers_are_refused(code, fact):
    data = bytearray(nifti_bytes(VOLUME))
    struct.pack_into("<h", data, 70, code)
    with pytest.raises(UnreadableImageError, match=fact):
        scans(bytes(data))


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:-100],
        lambda d: gzip.compress(d)[:-20],
        lambda d: gzip.compress(d)[:-6] + b"wrong!",
        lambda d: gzip.compress(d[:-100]),
        lambda d: gzip.compress(b"text" * 500),
        lambda d: b"\x1f\x8b" + d,
    ],
    ids=["cut", "packed and cut", "checksum", "cut and packed", "another file", "no gzip"],
)
def test_a_damaged_file_is_refused(damage):
    with pytest.raises(ImageError, match=r"damaged|not a NIfTI"):
        scans(damage(nifti_bytes(VOLUME)))


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    def missing(*_):
        raise ModuleNotFoundError("No module named 'nibabel'", name="nibabel")

    monkeypatch.setattr(nifti, "_header", missing)
    with pytest.raises(MissingReaderError, match=r"needs nibabel.*tumorlens\[nifti\]"):
        scans(nifti_bytes(VOLUME))


def test_the_same_slice_is_prepared_alike_from_png_dicom_and_nifti(write_image):
    """A phantom slice in CT numbers, and as a viewer exports it."""
    numbers = HEAD.astype(np.int16) * 3 - 300
    numbers[:4] = -1000
    exported = np.clip(np.rint((numbers + 0.0) * 255 / 80), 0, 255).astype(np.uint8)
    from_png = read_scan(write_image(exported, "a.png"))
    from_dicom = read_scan_bytes(dicom_bytes(slice_dataset(numbers, modality="CT")), source="b")
    volume = np.stack([numbers[::-1, ::-1].T] * 5, axis=-1)
    from_nifti = scans(
        nifti_bytes(np.pad(volume, ((9, 9), (9, 9), (0, 0)), constant_values=-1000))
    )[2]
    squares = [prepare(scan).pixels.astype(int) for scan in (from_png, from_dicom, from_nifti)]
    assert np.abs(squares[0] - squares[1]).max() <= 1
    np.testing.assert_array_equal(from_nifti.pixels[9:-9, 9:-9], from_dicom.pixels)
    padded = Scan(np.pad(from_dicom.pixels, 9, constant_values=-1000), "b", modality="ct")
    assert np.abs(squares[2] - prepare(padded).pixels.astype(int)).max() <= 1


@settings(max_examples=40)
@given(st.data())
def test_damage_anywhere_gives_scans_or_an_image_error(data):
    whole = bytearray(nifti_bytes(VOLUME[..., :2]))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, 351))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(1, len(whole)) | st.just(len(whole)))])
    packed = gzip.compress(cut, 1) if data.draw(st.booleans()) else cut
    limits = ReadLimits(max_volume_bytes=2_000_000, max_volume_pixels=500_000)
    assert attempt(nifti.decode_nifti, packed, "a.nii", limits) is not None


def test_a_folder_of_pairs_lists_a_lonely_header(tmp_path):
    (tmp_path / "a.hdr").write_bytes(bytes(348))
    assert find_scans([tmp_path]) == [Path(tmp_path / "a.hdr")]
