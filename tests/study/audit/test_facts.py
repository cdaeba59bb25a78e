"""Facts of a file that need no look at the brain."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tumorlens.study.audit.facts import PIXEL_FACTS, pixel_facts, read_file_facts

SECRET = "Somebody 1950"


def encode(picture: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def ramp(height: int = 24, width: int = 40) -> np.ndarray:
    return (np.arange(height * width).reshape(height, width) % 251).astype(np.uint8)


def exif_with(tag: int, value, *, inside: int | None = None) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 1  # Pillow writes no EXIF whose outer table is empty
    target = exif if inside is None else exif.get_ifd(inside)
    target[tag] = value
    return exif


def named(picture: np.ndarray) -> dict[str, float]:
    return dict(zip(PIXEL_FACTS, pixel_facts(picture).tolist(), strict=True))


@pytest.mark.parametrize(
    ("picture", "kind", "mode"),
    [
        (ramp(), "PNG", "L"),
        (ramp(), "JPEG", "L"),
        (ramp(), "BMP", "L"),
        (ramp(), "GIF", "P"),
        (ramp(), "TIFF", "L"),
        (np.dstack([ramp()] * 3), "WEBP", "RGB"),
        (np.dstack([ramp()] * 4), "PNG", "RGBA"),
        (ramp().astype(np.uint16) * 200, "PNG", "I;16"),
        (Image.fromarray(ramp()).convert("P"), "PNG", "P"),
    ],
)
def test_size_mode_format_and_length_come_from_the_header(picture, kind, mode):
    data = encode(picture, kind)
    facts = read_file_facts(data)
    assert facts is not None
    assert (facts.width, facts.height) == (40, 24)
    # Pillow calls a GIF of gray levels "L", and a palette "P".
    assert facts.mode in (mode, "L" if kind == "GIF" else mode)
    assert (facts.format, facts.bytes, facts.exif) == (kind, len(data), ())


@pytest.mark.parametrize("data", [b"", b"\0", b"not a picture", b"\x89PNG\r\n\x1a\n", b"II*\0"])
def test_what_is_no_picture_has_no_facts(data):
    assert read_file_facts(data) is None


def test_formats_that_scans_are_not_read_from_have_no_facts():
    assert read_file_facts(encode(np.dstack([ramp()] * 3), "PPM")) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_no_pixel_is_decoded(kind):
    data = encode(ramp(400, 400), kind)
    facts = read_file_facts(data[: len(data) // 2])
    assert facts is not None
    assert facts.width == 400


def test_the_size_is_that_of_the_stored_picture():
    facts = read_file_facts(encode(ramp(), "JPEG", exif=exif_with(0x0112, 6)))
    assert facts is not None
    assert (facts.width, facts.height) == (40, 24)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP", "PNG"])
@pytest.mark.parametrize(
    ("tag", "inside", "value", "name"),
    [
        (0x013B, None, SECRET, "Artist"),
        (0x010E, None, SECRET, "ImageDescription"),
        (0x010D, None, SECRET, "DocumentName"),
        (0x013C, None, SECRET, "HostComputer"),
        (0x8298, None, SECRET, "Copyright"),
        (0x9C9D, None, SECRET.encode("utf-16-le"), "XPAuthor"),
        (0x9C9C, None, SECRET.encode("utf-16-le"), "XPComment"),
        (0x9286, 0x8769, b"ASCII\0\0\0" + SECRET.encode(), "UserComment"),
        (0xA430, 0x8769, SECRET, "CameraOwnerName"),
        (2, 0x8825, (1.0, 2.0, 3.0), "GPSInfo"),
    ],
)
def test_filled_exif_fields_are_named(kind, tag, inside, value, name):
    # Pillow leaves the inner tables out of a TIFF unless they are given as its own tags.
    nested = {} if inside is None else {inside: {tag: value}}
    own = {"tiffinfo": nested} if kind == "TIFF" and nested else {}
    options = own or {"exif": exif_with(tag, value, inside=inside)}
    facts = read_file_facts(encode(ramp(), kind, **options))
    assert facts is not None
    assert facts.exif == (name,)


@pytest.mark.parametrize(
    ("tag", "inside", "value"),
    [
        (0x013B, None, "   "),
        (0x9C9D, None, b" \0 \0\0\0"),
        (0x9286, 0x8769, b"ASCII\0\0\0   \0"),
        (0, 0x8825, b"\2\3\0\0"),
        (0x0131, None, "some software"),
    ],
    ids=["spaces", "wide spaces", "blank comment", "GPS version alone", "harmless"],
)
def test_blank_and_harmless_fields_are_not_named(tag, inside, value):
    facts = read_file_facts(encode(ramp(), "JPEG", exif=exif_with(tag, value, inside=inside)))
    assert facts is not None
    assert facts.exif == ()


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("Author", SECRET, ("Author",)),
        ("comment", SECRET, ("Comment",)),
        ("Source", SECRET, ("Source",)),
        ("Description", "  ", ()),
        ("Software", SECRET, ()),
        ("date:create", SECRET, ()),
        ("PatientName", SECRET, ("other text",)),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("international", [False, True])
def test_png_texts_are_named(key, value, found, *, packed, international):
    text = PngInfo()
    add = text.add_itxt if international else text.add_text
    add(key, value, zip=packed)
    facts = read_file_facts(encode(ramp(), "PNG", pnginfo=text))
    assert facts is not None
    assert facts.exif == found


def test_png_text_behind_the_pixels_is_named():
    body = b"tEXtAuthor\0" + SECRET.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    data = encode(ramp(), "PNG")
    facts = read_file_facts(data[:-12] + chunk + data[-12:])
    assert facts is not None
    assert facts.exif == ("Author",)


def test_an_empty_xmp_element_is_not_named():
    packet = b"<x><dc:creator> </dc:creator><dc:date>2020</dc:date></x>"
    facts = read_file_facts(encode(ramp(), "JPEG", xmp=packet))
    assert facts is not None
    assert facts.exif == ()


def test_comments_and_xmp_of_a_jpeg_are_named():
    packet = f"<x><dc:creator><rdf:Seq><rdf:li>{SECRET}</rdf:li></rdf:Seq></dc:creator></x>"
    data = encode(ramp(), "JPEG", comment=SECRET, xmp=packet.encode())
    facts = read_file_facts(data)
    assert facts is not None
    assert facts.exif == ("comment", "XMP dc:creator")


@pytest.mark.parametrize(
    "text",
    [
        "CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 75\n",
        "LEAD Technologies Inc. V1.01",
        "Intel(R) JPEG Library, version 1,5,4,36",
        "Created with The GIMP",
        " \n",
    ],
)
def test_comments_that_encoders_leave_name_nobody(text):
    facts = read_file_facts(encode(ramp(), "JPEG", comment=text))
    assert facts is not None
    assert facts.exif == ()


def test_iptc_of_a_jpeg_is_named():
    record = b"\x1c\x02\x50\x00" + bytes([len(SECRET)]) + SECRET.encode()
    record += b"\0" * (len(record) % 2)
    block = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record
    body = b"Photoshop 3.0\0" + block
    data = encode(ramp(), "JPEG")
    segment = b"\xff\xed" + struct.pack(">H", len(body) + 2) + body
    facts = read_file_facts(data[:2] + segment + data[2:])
    assert facts is not None
    assert facts.exif == ("IPTC",)


def test_values_are_never_kept():
    text = PngInfo()
    text.add_text("Author", SECRET)
    facts = read_file_facts(encode(ramp(), "PNG", pnginfo=text, exif=exif_with(0x013B, SECRET)))
    assert facts is not None
    assert SECRET not in repr(facts)


_WHOLE = [
    encode(ramp(), kind, **({"exif": exif_with(2, (1.0, 2.0, 3.0), inside=0x8825)}
                            if kind in ("JPEG", "TIFF", "PNG", "WEBP") else {}))
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP")
]  # fmt: skip


@settings(max_examples=300)
@given(
    which=st.integers(0, len(_WHOLE) - 1),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=12),
    length=st.integers(0, 2000),
)
def test_damaged_files_never_raise(which, changes, length):
    data = bytearray(_WHOLE[which])
    for at, value in changes:
        data[at % len(data)] = value
    facts = read_file_facts(bytes(data[:length]))
    assert facts is None or facts.bytes == min(length, len(data))


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (np.full((50, 50), 51, np.uint8), {"mean": 0.2, "std": 0, "black_share": 1}),
        (np.pad(np.full((40, 50), 255, np.uint8), ((0, 10), (0, 0))),
         {"mean": 0.8, "std": 0.4, "black_share": 0.2}),
        (np.pad(np.full((46, 46), 255, np.uint8), 2),
         {"border_mean": 0, "border_std": 0, "black_share": 384 / 2500}),
        (np.pad(np.zeros((46, 46), np.uint8), 2, constant_values=255), {"border_mean": 1}),
        (np.pad(np.full((30, 30), 9, np.uint8), 10, constant_values=102), {"corner_mean": 0.4}),
    ],
    ids=["flat", "black rows", "black frame", "white frame", "gray corners"],
)  # fmt: skip
def test_pixel_facts_are_those_of_the_picture(picture, expected):
    found = named(picture)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-3)


def test_text_in_a_corner_raises_its_edges_and_no_other_place_does(head):
    head = np.where(head > 20, head, 0).astype(np.uint8)
    head[:32] = head[-32:] = 0
    marked, middle = head.copy(), head.copy()
    cv2.putText(marked, "R 12", (3, 15), cv2.FONT_HERSHEY_PLAIN, 0.7, [230], 1, cv2.LINE_AA)
    cv2.putText(middle, "R 12", (50, 70), cv2.FONT_HERSHEY_PLAIN, 0.7, [230], 1, cv2.LINE_AA)
    assert named(head)["corner_edges"] == named(middle)["corner_edges"] == 0
    assert named(marked)["corner_edges"] > 0.01


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_a_stored_scan_and_its_bytes_have_the_same_facts(head, dtype):
    assert pixel_facts(head.astype(dtype)) == pytest.approx(pixel_facts(head), abs=1e-6)


@pytest.mark.parametrize("scale", [1 / 255, 257, 1e6])
def test_wider_and_narrower_ranges_are_brought_to_one_scale(head, scale):
    stretched = cv2.normalize(head, None, 0, 255, cv2.NORM_MINMAX)
    found = pixel_facts(stretched.astype(np.float32) * np.float32(scale))
    assert found == pytest.approx(pixel_facts(stretched), abs=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (16, 2), (3, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("value", [0, 7, 200])
def test_tiny_and_flat_pictures_have_finite_facts(shape, dtype, value):
    assert np.isfinite(pixel_facts(np.full(shape, value, dtype))).all()


def test_flat_pictures_of_wide_range_are_black():
    assert named(np.full((20, 20), 4000.0, np.float32))["black_share"] == 1
