"""Facts about how a scan becomes a square that holds the head and nothing else."""

import gc
import warnings
import weakref
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.broken_files import encoded

from tumorlens.errors import BlankImageError, BundleError, ImageError
from tumorlens.images.readers import read_scan_bytes
from tumorlens.inputs import prepare as module
from tumorlens.inputs.prepare import (
    InputSpec,
    carry_mask,
    find_head,
    load_spec,
    percentiles,
    prepare,
    prepare_scan,
)
from tumorlens.records import Scan, Unusable
from tumorlens.study.phantom import draw_phantom

SPEC = InputSpec(side=96)
# Heads clear of the border, without a head rest.
HEADS = [("mri", "glioma", "axial", 1), ("mri", "healthy", "axial", 2),
         ("ct", "healthy", "axial", 5), ("mri", "pituitary", "axial", 1)]  # fmt: skip
TUMORS = [("mri", "glioma", "axial", 1), ("mri", "glioma", "coronal", 2),
          ("mri", "meningioma", "sagittal", 1), ("ct", "glioma", "axial", 2),
          ("mri", "pituitary", "axial", 2)]  # fmt: skip


def scan_of(pixels: np.ndarray) -> Scan:
    return Scan(np.ascontiguousarray(pixels, np.float32), "some.png")


def prepared(pixels: np.ndarray, spec: InputSpec = SPEC) -> np.ndarray:
    return prepare(scan_of(pixels), spec).pixels


def drawn(modality: str, finding: str, plane: str, seed: int, side: int = 192) -> np.ndarray:
    return draw_phantom(modality, finding, seed=seed, plane=plane, side=side).pixels


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("side", [32, 64, 128, 224])
@pytest.mark.parametrize("shape", [(96, 96), (50, 96), (96, 50)])
def test_the_outcome_is_a_square_of_bytes_over_the_whole_range(head, side, shape):
    pixels = prepared(cv2.resize(head, shape[::-1]), InputSpec(side=side))
    assert pixels.shape == (side, side)
    assert pixels.dtype == np.uint8
    assert pixels.min() == 0
    assert pixels.max() == 255


def test_the_scan_itself_is_left_as_it_was(head):
    scan = scan_of(head)
    prepare(scan, SPEC)
    np.testing.assert_array_equal(scan.pixels, head)


def test_the_margin_around_the_head_is_empty(head):
    pixels = prepared(head, InputSpec(side=100, margin=0.1))
    inside = pixels[10:90, 10:90]
    assert inside.any(axis=0).mean() > 0.7
    outside = pixels.copy()
    outside[9:91, 9:91] = 0
    assert not outside.any()


@pytest.mark.parametrize("case", HEADS)
def test_text_outside_the_head_is_gone_and_the_inside_is_unchanged(case):
    clean = np.pad(drawn(*case), 30)
    written = clean.copy()
    for place in ((4, 14), (4, 26), (150, 248)):
        cv2.putText(written, "DOE JOHN", place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
    cv2.line(written, (246, 90), (246, 160), 255, 1)
    assert (written != clean).sum() > 300
    assert difference(prepared(written), prepared(clean)) < 0.5
    assert not prepared(written)[:8, :8].any()
    assert not prepared(written)[-8:, -8:].any()


@pytest.mark.parametrize("case", HEADS)
@pytest.mark.parametrize("borders", [((40, 70), (10, 90)), ((0, 0), (60, 0)), ((64, 64), (64, 64))])
def test_the_place_of_the_head_changes_little(case, borders):
    # The head is sought at 160 pixels a side, so its box moves by up to one such pixel.
    moved = prepared(np.pad(drawn(*case), borders))
    assert likeness(moved, prepared(drawn(*case))) > 0.92


@pytest.mark.parametrize("case", HEADS)
def test_the_size_of_the_head_changes_little(case):
    large = cv2.resize(drawn(*case), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    assert likeness(prepared(large), prepared(drawn(*case))) > 0.97


def test_a_huge_picture_gives_the_same_as_its_half(head):
    huge = cv2.resize(head, (3000, 3000), interpolation=cv2.INTER_CUBIC)
    half = cv2.resize(huge, (1500, 1500), interpolation=cv2.INTER_AREA)
    assert difference(prepared(huge), prepared(half)) < 2


def test_a_head_rest_is_left_out_wherever_the_head_lies():
    # Seed 1 rests; padding makes head and rest smaller in the picture in which they are sought.
    pixels = drawn("ct", "glioma", "axial", 1)
    alone, padded = prepared(pixels), prepared(np.pad(pixels, ((40, 70), (10, 90))))
    assert likeness(alone, padded) > 0.85


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("modality", ["mri", "ct"])
def test_a_sagittal_head_cut_by_the_border_keeps_its_pixels(modality, seed):
    pixels = drawn(modality, "healthy", "sagittal", seed)
    region = find_head(scan_of(pixels))
    cut = pixels[-1] > 60  # the neck
    assert cut.sum() > 20
    assert region[-1][cut].mean() > 0.8
    assert region[pixels > 60].mean() > 0.95


@pytest.mark.parametrize("gap", [0, 1, 3, 5, 8, 12])
@pytest.mark.parametrize("thickness", [1, 2, 3])
def test_a_frame_drawn_around_the_head_is_removed(gap, thickness):
    clean = np.pad(drawn("mri", "glioma", "axial", 3), 24)
    framed, end = clean.copy(), clean.shape[0] - 1 - gap
    cv2.rectangle(framed, (gap, gap), (end, end), 255, thickness)
    assert likeness(prepared(framed), prepared(clean)) > 0.94


@pytest.mark.parametrize("borders", [(30, 30), ((0, 0), (40, 40)), ((0, 25), (0, 0))])
def test_white_paper_around_the_scan_is_removed(borders):
    pixels = drawn("mri", "glioma", "axial", 3)
    papered = np.pad(pixels, borders, constant_values=255)
    assert likeness(prepared(papered), prepared(pixels)) > 0.94


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((64, 64)),
        np.full((64, 64), 77),
        np.full((64, 64), -1024),
        np.full((64, 64), 1000) + np.random.default_rng(0).random((64, 64)) * 1e-4,
        np.full((64, 64), 1e30),
        np.zeros((16, 16)),
        np.zeros((16, 3000)),
    ],
    ids=["zero", "constant", "air", "rounding", "large", "tiny", "strip"],
)
def test_a_blank_picture_is_refused_by_name(pixels):
    with pytest.raises(BlankImageError, match=r"some\.png: .*blank"):
        prepared(pixels)


@pytest.mark.parametrize("size", [1, 4, 9])
def test_a_bright_speck_is_no_head(size):
    pixels = np.zeros((300, 300))
    pixels[90 : 90 + size, 90 : 90 + size] = 255
    with pytest.raises(BlankImageError):
        prepared(pixels)


@pytest.mark.parametrize("case", HEADS)
@pytest.mark.parametrize(
    ("factor", "offset"), [(257, 0), (1 / 255, 0), (8, -1024), (1, -200), (1e4, 1e6), (1e-3, -5)]
)
def test_a_linear_change_of_grey_levels_changes_nothing_beyond_rounding(case, factor, offset):
    pixels = drawn(*case).astype(np.float32)
    changed, plain = prepared(pixels * factor + offset), prepared(pixels)
    assert difference(changed, plain) < 0.1
    assert np.abs(changed.astype(int) - plain).max() <= 3


@pytest.mark.parametrize("value", [20_000, -20_000])
def test_a_glaring_pixel_does_not_flatten_the_head(head, value):
    glaring = head.astype(np.float32)
    glaring[60, 60] = value
    inside = prepared(head) > 0
    assert difference(prepared(glaring)[inside], prepared(head)[inside]) < 25


def test_the_aspect_ratio_is_kept():
    squeezed = cv2.resize(drawn("mri", "glioma", "axial", 3), (192, 96))
    region, pixels = find_head(scan_of(squeezed)), prepared(squeezed) > 0
    before = region.any(0).sum() / region.any(1).sum()
    after = pixels.any(0).sum() / pixels.any(1).sum()
    assert after == pytest.approx(before, rel=0.06)
    assert before > 1.3


@pytest.mark.parametrize("size", [60, 121, 2400])
def test_a_symmetric_head_stays_symmetric(size):
    """Half a pixel lost in any of the steps of the warp would show here."""
    steps = np.abs(np.arange(size) - (size - 1) / 2) / size
    radius = np.hypot(*np.meshgrid(steps, steps))
    pixels = prepared(np.where(radius < 0.35, 100 + 100 * np.cos(20 * radius), 0))
    assert difference(pixels, pixels[::-1]) < 1
    assert difference(pixels, pixels[:, ::-1]) < 1


def test_the_head_stands_in_the_middle(head):
    pixels = prepared(np.pad(head, ((0, 90), (60, 0)))) > 0
    for axis in (0, 1):
        places = np.flatnonzero(pixels.any(axis))
        assert (places[0] + places[-1]) / 2 == pytest.approx(47.5, abs=1.5)


@pytest.mark.parametrize("case", TUMORS)
@pytest.mark.parametrize("factor", [1, 3])
def test_a_mask_lands_on_its_lesion(case, factor):
    modality, finding, plane, seed = case
    phantom = draw_phantom(modality, finding, seed=seed, plane=plane, side=192)
    large = (192 * factor, 192 * factor)
    pixels = cv2.resize(phantom.pixels, large, interpolation=cv2.INTER_CUBIC)
    mask = cv2.resize(phantom.mask.astype(np.uint8), large, interpolation=cv2.INTER_NEAREST) > 0
    made = prepare(scan_of(pixels), InputSpec(side=128))
    carried = carry_mask(mask, made)
    assert carried.dtype == bool
    scale = made.matrix[0, 0]
    assert carried.sum() == pytest.approx(mask.sum() * scale**2, rel=0.05)
    rows, columns = np.nonzero(mask)
    middle = made.matrix @ [columns.mean(), rows.mean(), 1]
    rows, columns = np.nonzero(carried)
    assert np.hypot(columns.mean() - middle[0], rows.mean() - middle[1]) < 0.5


def test_the_matrix_says_where_a_scan_pixel_went():
    pixels = np.zeros((120, 120))
    cv2.circle(pixels, (70, 50), 40, 100, -1)
    cv2.circle(pixels, (80, 40), 4, 255, -1)
    made = prepare(scan_of(pixels), InputSpec(side=128))
    rows, columns = np.nonzero(made.pixels > 200)
    assert made.matrix @ [80, 40, 1] == pytest.approx([columns.mean(), rows.mean()], abs=0.7)


def test_an_empty_mask_stays_empty(head):
    made = prepare(scan_of(head), SPEC)
    assert not carry_mask(np.zeros(head.shape, bool), made).any()


def test_the_smallest_scan_is_prepared(head):
    assert prepared(cv2.resize(head, (16, 16), interpolation=cv2.INTER_AREA)).any()


@pytest.mark.parametrize("shape", [(64, 64), (300, 200), (16, 500)])
def test_noise_gives_a_picture_or_an_image_error(shape):
    try:
        pixels = prepared(np.random.default_rng(0).normal(size=shape))
    except BlankImageError:
        return
    assert pixels.shape == (96, 96)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    height=st.integers(16, 90),
    width=st.integers(16, 90),
    kind=st.sampled_from(["dots", "bars", "noise", "ramp", "blocks"]),
)
def test_any_picture_gives_a_whole_square_or_an_image_error(seed, height, width, kind):
    rng = np.random.default_rng(seed)
    noise = rng.random((height, width))
    pixels = {
        "dots": (noise > 0.97) * 255.0,
        "bars": np.broadcast_to(noise[:1] > 0.5, noise.shape) * 200.0,
        "noise": noise * 4000 - 1000,
        "ramp": np.add.outer(np.arange(height), np.arange(width)).astype(float),
        "blocks": cv2.resize((noise[:4, :4] > 0.5) * 255.0, (width, height), interpolation=0),
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            square = prepared(pixels)
        except ImageError:
            return
    assert square.shape == (96, 96)
    assert square.max() > 0


@settings(max_examples=200)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 40)),
    levels=st.integers(1, 6),
    border=st.integers(0, 3),
)
def test_paper_is_only_ruled_out_where_there_is_none(seed, shape, levels, border):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, levels + 1, shape).astype(np.float32)
    pixels = np.pad(pixels, border, constant_values=float(rng.integers(0, levels + 1)))
    shortened = module._without_bright_border(pixels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_may_have_paper", lambda _pixels: True)
        whole = module._without_bright_border(pixels)
    assert (shortened == whole).all()


@pytest.mark.parametrize("largest", [1e30, 3.4e38])
def test_the_largest_floats_give_the_head_or_an_image_error_but_no_nan(head, largest):
    """Some exports fill what lies outside the scan with the least number a float can hold."""
    data = encoded(((head / 127.5 - 1) * largest).astype(np.float32), "TIFF")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            pixels = prepare(read_scan_bytes(data, source="x"), SPEC).pixels
        except ImageError:
            return
    assert likeness(pixels, prepared(head)) > 0.99


def test_a_spec_survives_storage():
    spec = InputSpec(side=64, margin=0.1, low=1, high=99)
    assert load_spec(spec.to_json()) == spec


def test_a_spec_of_another_version_is_refused():
    stored = replace(SPEC, version=SPEC.version + 1).to_json()
    with pytest.raises(BundleError, match=f"method {SPEC.version + 1}"):
        load_spec(stored)


def test_a_spec_with_an_unknown_field_is_refused():
    with pytest.raises(BundleError, match="denoise"):
        load_spec({**SPEC.to_json(), "denoise": True})


@given(arrays(np.float32, st.integers(1, 40), elements=st.floats(-1e4, 1e4, width=32)))
def test_percentiles_are_those_of_numpy_to_the_bit(values: np.ndarray):
    found = percentiles(values, 0.5, 50.0, 99.5)
    np.testing.assert_array_equal(found, np.percentile(values, [0.5, 50.0, 99.5]))


def test_a_refused_scan_keeps_no_pixels_alive():
    gc.collect()
    gc.disable()  # counting alone has to free them: the collector may not run for long
    try:
        pixels = np.zeros((16, 16), np.float32)
        alive = weakref.ref(pixels)
        found = prepare_scan(Scan(pixels, "a"))
        del pixels
        assert isinstance(found, Unusable)
        assert alive() is None
    finally:
        gc.enable()
