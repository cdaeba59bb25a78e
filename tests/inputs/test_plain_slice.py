"""Marks, sheets, masks and thumbnails are told from plain slices, which all pass."""

import cv2
import numpy as np
import pytest
from support.not_plain import (
    GREEN,
    RED,
    YELLOW,
    as_jpeg,
    as_png,
    colored,
    phantom,
    sheet,
    with_box,
    with_heatmap,
)

from tumorlens.inputs.cache import prepare_files
from tumorlens.inputs.prepare import InputSpec, find_head, prepare, prepare_bytes
from tumorlens.records import PreparedScan, Scan

SPEC = InputSpec(side=32)


def why(data: bytes) -> str:
    made = prepare_bytes(data, SPEC, source="slice")
    assert isinstance(made, PreparedScan), made
    return made.why_not_plain


@pytest.mark.parametrize("number", range(24))
def test_a_plain_phantom_of_any_kind_passes(number):
    assert why(as_png(phantom(number))) == ""


@pytest.mark.parametrize("thickness", [1, 2, 3])
@pytest.mark.parametrize("color", [GREEN, RED, YELLOW], ids=["green", "red", "yellow"])
@pytest.mark.parametrize("number", range(3))
def test_a_colored_box_with_text_over_the_head_is_found(number, color, thickness):
    image = with_box(phantom(number), color=color, thickness=thickness)
    assert "colored marks over the head" in why(as_png(image))
    assert "colored marks over the head" in why(as_jpeg(image, 75))


def test_a_box_of_the_thinnest_line_without_text_is_found():
    for number in range(6):
        assert "colored marks" in why(as_png(with_box(phantom(number), thickness=1, text="")))


@pytest.mark.parametrize("colormap", [cv2.COLORMAP_JET, cv2.COLORMAP_HOT, cv2.COLORMAP_INFERNO,
                                      cv2.COLORMAP_VIRIDIS])  # fmt: skip
@pytest.mark.parametrize("number", range(3))
def test_a_heatmap_over_the_head_is_found(number, colormap):
    assert "colored marks" in why(as_jpeg(with_heatmap(phantom(number), colormap=colormap)))


@pytest.mark.parametrize("gain", [(1, 0.97, 0.92), (0.95, 1, 1), (1, 0.9, 0.8)])
@pytest.mark.parametrize("quality", [40, 90])
def test_a_slight_tint_with_noise_of_camera_and_jpeg_passes(gain, quality):
    noise = np.random.default_rng(0).normal(0, 6, (192, 192, 3))
    for number in range(3):
        image = np.clip(colored(phantom(number)) * np.array(gain) + noise, 0, 255)
        assert why(as_jpeg(image.astype(np.uint8), quality)) == ""


def test_colored_text_beside_the_head_passes():
    image = cv2.copyMakeBorder(colored(phantom(0)), 30, 30, 30, 30, cv2.BORDER_CONSTANT)
    cv2.putText(image, "AX T1 16:04", (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, YELLOW, 1)
    assert why(as_png(image)) == ""


def test_a_gray_slice_in_three_channels_has_no_color():
    assert why(as_jpeg(colored(phantom(3)), 30)) == ""


@pytest.mark.parametrize("layout", [(2, 1), (1, 2), (2, 2), (3, 1), (3, 2), (4, 3)])
@pytest.mark.parametrize("line", [0, 2])
@pytest.mark.parametrize("first", [0, 7])
def test_a_sheet_of_heads_is_counted(layout, line, first):
    columns, rows = layout
    found = why(as_png(sheet(columns, rows, first=first, side=128, line=line)))
    assert found.startswith(f"several heads, {columns * rows} or more")


def test_heads_that_touch_are_two():
    heads = []
    for number in (2, 14):
        scan = Scan(phantom(number).astype(np.float32), "x")
        columns = np.flatnonzero(find_head(scan).any(0))
        heads.append(phantom(number)[:, columns[0] : columns[-1] + 1])
    assert "several heads, 2" in why(as_png(np.hstack(heads)))


@pytest.mark.parametrize("number", range(3))
def test_a_mask_is_found_also_after_jpeg(number):
    pixels = phantom(number)
    head = find_head(Scan(pixels.astype(np.float32), "x"))
    of_head = head.astype(np.uint8) * 255
    thresholded = ((pixels > np.percentile(pixels[head], 60)) * 255).astype(np.uint8)
    for mask in (of_head, thresholded):
        assert "few gray values" in why(as_png(mask))
        assert "few gray values" in why(as_jpeg(mask, 80))


def test_a_mask_of_several_classes_is_found():
    pixels = phantom(3)
    classes = np.digitize(pixels, [20, 90, 150]).astype(np.uint8) * 60
    assert "few gray values" in why(as_png(classes))


@pytest.mark.parametrize(("side", "is_plain"), [(28, False), (32, False), (60, False), (96, True)])
def test_a_head_of_few_pixels_is_found(side, is_plain):
    pixels = phantom(2)
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    assert ("below 64" in why(as_png(small))) is not is_plain


def test_a_small_section_in_a_large_image_passes():
    """Near the crown of the head."""
    image = np.zeros((192, 192), np.uint8)
    image[70:118, 75:115] = cv2.resize(phantom(2), (40, 48), interpolation=cv2.INTER_AREA)
    assert why(as_png(image)) == ""


def test_what_was_found_is_the_same_where_the_head_was_known_before():
    scan = Scan(sheet(2, 2).astype(np.float32), "x")
    assert prepare(scan, SPEC, head=find_head(scan)).notes == prepare(scan, SPEC).notes


def test_what_was_found_is_kept_with_prepared_images(tmp_path):
    plain, drawn = tmp_path / "plain.png", tmp_path / "drawn.png"
    plain.write_bytes(as_png(phantom(2)))
    drawn.write_bytes(as_png(with_box(phantom(2))))
    for _ in range(2):
        made = prepare_files([plain, drawn], SPEC, cache=tmp_path / "cache")
        assert list(made.not_plain) == [1]
        assert "colored marks" in made.not_plain[1]


def why_scan(pixels, modality="ct") -> str:
    return prepare(Scan(np.asarray(pixels, np.float32), "a", modality), SPEC).why_not_plain


def test_bone_that_a_narrow_window_makes_white_from_end_to_end_is_no_mask():
    rows, columns = np.mgrid[:128, :128]
    away = np.hypot(rows - 64, columns - 64)
    bone = np.where(away < 50, 900 - 10 * away, -1000)  # of the top of a skull, in HU
    assert why_scan(bone) == ""
    assert "few gray values" in why_scan(np.clip(bone, 0, 80), None)  # exported with that window


@pytest.mark.parametrize("low_high", [(0, 1), (-1000, 1000), (0, 255), (-1024, 40)])
def test_a_mask_that_is_stored_as_ct_is_still_a_mask(low_high):
    rows, columns = np.mgrid[:128, :128]
    mask = np.where(np.hypot(rows - 64, columns - 64) < 50, low_high[1], low_high[0])
    assert "few gray values" in why_scan(mask)
