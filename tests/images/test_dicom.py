"""Facts about DICOM files: every way to store a slice, what is refused, and what is damaged."""

import base64
import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset, uid
from support.broken_files import HEAD
from support.dicom_files import (
    CORONAL,
    SAGITTAL,
    dicom_bytes,
    enhanced_dataset,
    slice_dataset,
    with_codestream,
    without_preamble,
)
from support.not_plain import as_png, phantom, with_box

from tumorlens.errors import (
    ImageError,
    ImageTooLargeError,
    ImageTooSmallError,
    MissingReaderError,
    UnreadableImageError,
)
from tumorlens.images import dicom
from tumorlens.images.dicom import AIR_HU, codestream_size
from tumorlens.images.dicom_header import parsing
from tumorlens.images.readers import attempt, open_images, open_images_bytes, read_scan_bytes
from tumorlens.inputs.prepare import apply_window, prepare
from tumorlens.records import Scan, Unusable
from tumorlens.settings import ReadLimits
from tumorlens.study.experiments.runner import peak_memory

STORED = HEAD.astype(np.int16) * 12  # 12 bits
PYDICOM_FILES = sorted(
    path
    for folder in ("test_files", "charset_files")
    for path in (Path(pydicom.__path__[0]) / "data" / folder).rglob("*")
    if path.is_file() and path.suffix in (".dcm", "")
)
# 16 x 16 pixels, (7 x + 13 y) mod 4096, as OpenJPH encodes them without loss.
HTJ2K = base64.b85decode(
    "|4;u>04YEK0000G0000G00000000000000G0000G0000000000009pH0sl|{2mk^A000XAQUDA90ssL31q1{@0smY8"
    "6Cj9?kdTm&kdTm&kdTmwh=~7W02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000ZvX-RlfVEaM+FCT006)M62Jfw"
    "fc^l7bO7uD2Xp|y0206e69C=-0(1a$`T!$T0KfnfzyK8>?(U$c!gT;R#`wSh0qnK_zyK=X02P2FNs{Nlr>CbvcmNm?"
    "5fT0Jd-uugxB&mz"
)


def read(dataset: Dataset, **options) -> Scan:
    return read_scan_bytes(dicom_bytes(dataset, **options), source="a.dcm")


def pixels_of(dataset: Dataset, **options) -> np.ndarray:
    return read(dataset, **options).pixels


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
        uid.RLELossless,
    ],
    ids=lambda syntax: syntax.keyword,
)
@pytest.mark.parametrize("shift", [0, -1024], ids=["unsigned", "signed"])
def test_every_lossless_transfer_syntax_gives_the_stored_values(syntax, shift):
    stored = STORED + np.int16(shift)
    if not shift:
        stored = stored.astype(np.uint16)
    dataset = slice_dataset(stored)
    if syntax == uid.ExplicitVRBigEndian:
        dataset.PixelData = stored.byteswap().tobytes()
    np.testing.assert_array_equal(pixels_of(dataset, syntax=syntax), stored)


def test_htj2k_is_read():
    rows, columns = np.mgrid[:16, :16]
    truth = (7 * columns + 13 * rows).astype(np.uint16)
    data = with_codestream(slice_dataset(truth), HTJ2K, uid.HTJ2KLossless)
    np.testing.assert_array_equal(read_scan_bytes(data, source="a").pixels, truth)


def test_jpeg_baseline_is_read():
    file = io.BytesIO()
    Image.fromarray(HEAD).save(file, "JPEG", quality=95)
    data = with_codestream(slice_dataset(HEAD), file.getvalue(), uid.JPEGBaseline8Bit)
    assert np.abs(read_scan_bytes(data, source="a").pixels - HEAD).mean() < 2


def test_jpeg_lossless_is_read(tmp_path):
    gdcm = pytest.importorskip("gdcm")
    plain, packed = tmp_path / "plain.dcm", tmp_path / "packed.dcm"
    plain.write_bytes(dicom_bytes(slice_dataset(STORED.astype(np.uint16))))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(packed))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    np.testing.assert_array_equal(open_images(packed)[0].pixels, STORED)


def test_values_are_rescaled_and_absent_tags_mean_one_and_zero():
    rescaled = slice_dataset(STORED, RescaleSlope="2.5", RescaleIntercept="-1000")
    np.testing.assert_allclose(pixels_of(rescaled), STORED * 2.5 - 1000)
    np.testing.assert_array_equal(pixels_of(slice_dataset(STORED)), STORED)
    np.testing.assert_array_equal(pixels_of(slice_dataset(STORED, RescaleSlope="0")), STORED)


def test_bits_above_those_stored_are_not_part_of_the_value():
    overlay = STORED.astype(np.uint16) | 0x4000  # old files draw into the unused bits
    dataset = slice_dataset(overlay, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(pixels_of(dataset), STORED)


def test_twelve_signed_bits_in_sixteen_keep_their_sign():
    stored = STORED - np.int16(1500)
    dataset = slice_dataset(stored & np.int16(0x0FFF), BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(pixels_of(dataset), stored)


def test_padding_of_ct_becomes_air_before_anything_else():
    stored = STORED.copy()
    stored[:10] = -2000
    scan = read(slice_dataset(stored, modality="CT", PixelPaddingValue=-2000))
    assert (scan.pixels[:10] == AIR_HU).all()
    np.testing.assert_array_equal(scan.pixels[10:], STORED[10:])
    assert scan.notes == ("padding set to air",)


def test_a_range_of_padding_is_air_as_a_whole():
    stored = STORED.copy()
    stored[:10], stored[10:20] = -2000, -1990
    tags = {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1990}
    assert (pixels_of(slice_dataset(stored, modality="CT", **tags))[:20] == AIR_HU).all()


def test_padding_of_mr_becomes_the_lowest_value_of_the_rest():
    stored = STORED.copy() + np.int16(5)
    stored[:10] = 32767
    assert (pixels_of(slice_dataset(stored, PixelPaddingValue=32767))[:10] == 5).all()


def test_monochrome1_is_turned_for_mr_and_left_for_ct_numbers():
    tags = {"PhotometricInterpretation": "MONOCHROME1"}
    turned = read(slice_dataset(STORED.max() - STORED, **tags))
    np.testing.assert_array_equal(turned.pixels, STORED)
    assert "turned" in turned.notes[0]
    kept = pixels_of(slice_dataset(STORED, modality="CT", **tags))
    np.testing.assert_array_equal(kept, STORED)


@pytest.mark.parametrize(
    ("orientation", "plane"),
    [([1, 0, 0, 0, 1, 0], "axial"), (CORONAL, "coronal"), (SAGITTAL, "sagittal"),
     ([1, 0, 0, 0, 0.766, 0.643], "oblique"), ([1, 0, 0, 0, 0.948, -0.317], "axial"),
     ([0, 0, 0, 0, 0, 0], None), ([1, 0, 0, 1, 0, 0], None)],
)  # fmt: skip
def test_the_plane_follows_from_the_normal(orientation, plane):
    scan = read(slice_dataset(STORED, ImageOrientationPatient=orientation))
    assert scan.plane == plane


def test_a_scan_knows_its_modality_spacing_position_and_series():
    scan = read(slice_dataset(
        STORED, modality="CT", PixelSpacing=[0.7, 0.5], ImagePositionPatient=[3, 4, -12.5]
    ))  # fmt: skip
    assert (scan.modality, scan.spacing_mm, scan.position) == ("ct", (0.7, 0.5), -12.5)
    assert (scan.series, scan.frame) == ("1.2.3.4", None)


@pytest.mark.parametrize("name", ["IM0001", "scan.dcm", "scan.jpg", "1.2.840.113619"])
@pytest.mark.parametrize(
    "options", [{}, {"implicit": True}, {"little": False}], ids=["explicit", "implicit", "big"]
)
def test_a_file_without_preamble_or_ending_is_read(tmp_path, name, options):
    dataset = slice_dataset(STORED)
    if not options.get("little", True):
        dataset.PixelData = STORED.byteswap().tobytes()
    (tmp_path / name).write_bytes(without_preamble(dataset, **options))
    np.testing.assert_array_equal(open_images(tmp_path / name)[0].pixels, STORED)


def test_a_preamble_that_starts_like_another_format_does_not_mislead():
    data = b"II*\0" + dicom_bytes(slice_dataset(STORED))[4:]
    np.testing.assert_array_equal(read_scan_bytes(data, source="a.dcm").pixels, STORED)


def test_odd_character_sets_and_malformed_values_are_tolerated(recwarn):
    dataset = slice_dataset(STORED)
    dataset.SpecificCharacterSet, dataset.PatientName = "ISO 2022 KLINGON", "A^B=C=D=E\x1b$)"
    with pydicom.config.disable_value_validation():
        dataset.add_new("SliceThickness", "LO", "five")
        dataset.add_new("StudyDate", "LO", "yesterday")
        dataset.add_new("PixelSpacing", "LO", "wide")
        data = dicom_bytes(dataset, syntax=uid.ImplicitVRLittleEndian)
    recwarn.clear()
    scan = read_scan_bytes(data, source="a")
    np.testing.assert_array_equal(scan.pixels, STORED)
    assert scan.spacing_mm is None
    assert not recwarn.list


def enhanced() -> Dataset:
    return enhanced_dataset(np.stack([STORED + np.int16(k) for k in range(3)]))


def test_frames_of_an_enhanced_file_come_in_order_along_the_normal():
    scans = open_images_bytes(dicom_bytes(enhanced()), source="a.dcm")
    assert [scan.position for scan in scans] == [-8, -4, 0]
    assert [scan.frame for scan in scans] == [1, 0, 2]
    assert {scan.plane for scan in scans} == {"axial"}


def test_each_frame_has_its_own_slope():
    for scan in open_images_bytes(dicom_bytes(enhanced()), source="a.dcm"):
        frame = scan.frame or 0
        np.testing.assert_array_equal(scan.pixels, (STORED + frame) * (1.0 + frame))


def test_ct_numbers_are_seen_through_the_window():
    scan = Scan(np.array([[-1000, 0, 40, 80, 2000]], np.float32), "a", modality="ct")
    np.testing.assert_array_equal(apply_window(scan).pixels, [[0, 0, 128, 255, 255]])
    exported = Scan(scan.pixels, "a")
    assert apply_window(exported) is exported


def test_a_ct_slice_and_its_exported_image_are_prepared_alike():
    numbers = HEAD.astype(np.int16) * 3 - 300
    from_dicom = prepare(read(slice_dataset(numbers, modality="CT"))).pixels
    exported = np.clip(np.rint(numbers * (255 / 80)), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(
        from_dicom, prepare(Scan(exported.astype(np.float32), "a")).pixels
    )


# Refusals -----------------------------------------------------------------------------------


def bad(**tags) -> bytes:
    return dicom_bytes(slice_dataset(STORED, **tags))


def bomb() -> bytes:
    """A small deflated file that inflates to 4 MB."""
    whole = dicom_bytes(slice_dataset(STORED), syntax=uid.DeflatedExplicitVRLittleEndian)
    end = 144 + struct.unpack("<L", whole[140:144])[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return whole[:end] + packer.compress(bytes(4_000_000)) + packer.flush()


REFUSED = [
    ("color", lambda: bad(PhotometricInterpretation="PALETTE COLOR"), "holds colors"),
    ("capture", lambda: bad(SOPClassUID=uid.SecondaryCaptureImageStorage), "Secondary Capture"),
    ("dose", lambda: bad(SOPClassUID=uid.RTDoseStorage), "RT Dose Storage, not a CT or MR"),
    ("no class", lambda: without_preamble(slice_dataset(STORED, Modality="OT", SOPClassUID=None)),
     "of modality OT"),
    ("mosaic", lambda: bad(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), "is a mosaic"),
    ("no pixels", lambda: bad(PixelData=None), "holds no pixels"),
    ("no size", lambda: bad(Rows=None), "a head cannot be seen"),
    ("cut", lambda: bad()[:-500], "damaged or incomplete"),
    ("video", lambda: with_codestream(slice_dataset(STORED), b"x" * 99, uid.MPEG2MPML), "encoded"),
    ("not one", lambda: bytes(128) + b"DICM" + bytes(500), "DICOM image|damaged"),
    ("text", lambda: b"\x08\0" + b"words " * 90, "DICOM image|damaged"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "fact"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_what_is_no_slice_of_a_head_is_refused_with_its_reason(data, fact):
    with pytest.raises(ImageError, match=fact):
        read_scan_bytes(data(), source="a.dcm")


def colored_dataset(pixels: np.ndarray) -> Dataset:
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    dataset = slice_dataset(np.ascontiguousarray(pixels), **tags)
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    return dataset


def test_gray_stored_as_colors_is_read_as_an_image_of_gray_levels():
    scan = read(colored_dataset(np.dstack([HEAD] * 3)))
    np.testing.assert_array_equal(scan.pixels, HEAD)
    assert scan.colors is None
    assert "stored in colors" in scan.notes


def test_color_over_the_head_of_a_dicom_slice_is_not_plain_as_in_a_png():
    marked = with_box(phantom(2, side=200))
    scan = read(colored_dataset(marked))
    png = read_scan_bytes(as_png(marked), source="a.png")
    np.testing.assert_array_equal(scan.colors, png.colors)
    assert prepare(scan).why_not_plain == prepare(png).why_not_plain != ""


@pytest.mark.parametrize("spacing", [[-0.5, 0.5], [0, 0], ["x", "y"], [0.5]])
def test_a_spacing_that_is_none_is_not_claimed(spacing):
    dataset = slice_dataset(STORED)
    dataset.PixelSpacing = [0.5, 0.5]
    dataset["PixelSpacing"]._value = spacing
    assert read(dataset).spacing_mm is None


def test_a_deflated_bomb_stops_at_the_cap():
    data = bomb()
    assert len(data) < 10_000
    with pytest.raises(ImageTooLargeError, match="inflates to more than the cap of 1,000,000"):
        open_images_bytes(data, source="a", limits=ReadLimits(max_volume_bytes=1_000_000))


@pytest.mark.parametrize(
    ("tags", "limits"),
    [({"Rows": 60_000, "Columns": 60_000}, {}),
     ({"NumberOfFrames": 100_000_000}, {}),
     ({"NumberOfFrames": 3}, {"max_volume_pixels": 2 * HEAD.size})],
)  # fmt: skip
def test_what_the_header_declares_is_capped_before_decoding(tags, limits, monkeypatch):
    monkeypatch.setattr(dicom, "decode_frame", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageTooLargeError, match="above the cap"):
        open_images_bytes(bad(**tags), source="a", limits=ReadLimits(**limits))


def test_a_thumbnail_is_refused():
    with pytest.raises(ImageTooSmallError, match="8 x 8 pixels"):
        read(slice_dataset(STORED[:8, :8].copy()))


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLSLossless])
def test_a_compressed_image_larger_than_its_header_is_not_decoded(syntax, monkeypatch):
    small = slice_dataset(STORED.astype(np.uint16))
    dicom_bytes(small, syntax=syntax)
    small.Rows, small.Columns = 64, 64
    small.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    small.save_as(file, enforce_file_format=True)
    with pytest.raises(UnreadableImageError, match="declares 64 x 64 pixels and holds 96 x 96"):
        read_scan_bytes(file.getvalue(), source="a")


def test_the_size_of_a_jpeg_is_read_from_its_frame_header():
    file = io.BytesIO()
    Image.fromarray(HEAD[:40]).save(file, "JPEG")
    assert codestream_size(file.getvalue()) == (40, 96)
    assert codestream_size(b"\xff\xd8" + bytes(100)) is None


def test_jpeg_2000_of_another_precision_than_the_header_is_read_or_refused_clearly():
    dataset = slice_dataset(STORED.astype(np.uint16), BitsStored=12, HighBit=11)
    dicom_bytes(dataset, syntax=uid.JPEG2000Lossless)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 1
    dataset.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    # Bit 11 is the sign where the header says signed and the codestream has 12 bits.
    expected = np.where(STORED >= 2048, STORED - 4096, STORED)
    np.testing.assert_array_equal(read_scan_bytes(file.getvalue(), source="a").pixels, expected)


def test_without_the_libraries_the_error_says_what_to_install(monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'pydicom'", name="pydicom")

    monkeypatch.setattr(dicom, "parse", missing)
    with pytest.raises(MissingReaderError, match=r"needs pydicom.*tumorlens\[dicom\]"):
        read_scan_bytes(bad(), source="a.dcm")


def test_a_decoder_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(dicom._DECODERS, str(uid.RLELossless), "rle-extra")
    data = dicom_bytes(slice_dataset(STORED), syntax=uid.RLELossless)
    with pytest.raises(MissingReaderError, match=r"needs rle-extra.*tumorlens\[dicom\]"):
        read_scan_bytes(data, source="a.dcm")


@pytest.mark.parametrize("path", PYDICOM_FILES, ids=lambda path: path.name)
def test_each_of_pydicoms_own_files_is_read_or_has_a_clear_reason(path):
    peak, started = peak_memory() or 0, time.process_time()
    found = attempt(open_images, path)
    assert (peak_memory() or 0) - peak < 2**30
    assert time.process_time() - started < 30
    if isinstance(found, Unusable):
        assert found.reason
    else:
        assert all(np.isfinite(scan.pixels).all() for scan in found)


WHOLE = [
    bad(),
    dicom_bytes(slice_dataset(STORED.astype(np.uint16)), syntax=uid.JPEG2000Lossless),
    dicom_bytes(slice_dataset(STORED.astype(np.uint16)), syntax=uid.JPEGLSLossless),
    dicom_bytes(slice_dataset(STORED), syntax=uid.RLELossless),
    dicom_bytes(enhanced()),
]


@settings(max_examples=60)
@given(st.data())
def test_damage_anywhere_gives_scans_or_an_image_error(data):
    whole = bytearray(WHOLE[data.draw(st.integers(0, len(WHOLE) - 1))])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, min(len(whole), 3000) - 1) | st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    whole = bytes(whole[: data.draw(st.integers(1, len(whole)) | st.just(len(whole)))])
    limits = ReadLimits(max_pixels=1_000_000, max_volume_pixels=2_000_000)
    found = attempt(dicom.decode_dicom, whole, "a.dcm", limits)
    assert found


def test_a_panic_of_a_decoder_is_an_image_error():
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    with pytest.raises(UnreadableImageError, match="damaged"), parsing("x"):
        raise panic("index out of bounds")
