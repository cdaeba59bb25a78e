"""Thirteen features, held against scikit-image, SciPy and a slow coarseness."""

import csv
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from skimage.feature import graycomatrix, graycoprops

from tumorlens.errors import BlankImageError, CasesError, InvalidPixelsError
from tumorlens.files import read_table
from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.records import Case, Scan
from tumorlens.study.features.table import (
    COLUMNS,
    FeatureTable,
    measure_files,
    read_features,
    write_features,
)
from tumorlens.study.features.texture import FEATURES, head_of, measure, measure_many
from tumorlens.study.phantom import draw_phantom

TEXTURE = ("contrast", "energy", "ASM", "entropy", "homogeneity", "dissimilarity", "correlation")
RNG = np.random.default_rng(5)
PICTURES = {
    "noise": RNG.integers(0, 256, (40, 31)).astype(np.uint8),
    "few levels": RNG.integers(0, 4, (33, 40)).astype(np.uint8) * 80,
    "two levels": RNG.integers(0, 2, (24, 24)).astype(np.uint8) * 255,
    "one bright pixel": np.pad(np.array([[255]], np.uint8), 20),
    "one bright column": np.pad(np.full((30, 1), 255, np.uint8), ((0, 0), (29, 0))),
    "constant": np.full((20, 20), 37, np.uint8),
    "black": np.zeros((20, 20), np.uint8),
    "white": np.full((20, 20), 255, np.uint8),
    "one row": RNG.integers(0, 256, (1, 50)).astype(np.uint8),
    "two pixels": np.array([[3, 250]], np.uint8),
    "ramp": np.tile(np.arange(256, dtype=np.uint8), (8, 1)),
}
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def _same_noise_in_any_order():
    RNG.bit_generator.state = START


def named(values: np.ndarray) -> dict[str, float]:
    return dict(zip(FEATURES, values.tolist(), strict=True))


def by_the_libraries(pixels: np.ndarray) -> dict[str, float]:
    flat = pixels.ravel().astype(np.float64)
    with np.errstate(all="ignore"):
        constant = flat.min() == flat.max()
        first = {
            "mean": flat.mean(), "variance": flat.var(), "standard_deviation": flat.std(),
            "skewness": np.nan if constant else stats.skew(flat),
            "kurtosis": np.nan if constant else stats.kurtosis(flat),
        }  # fmt: skip
    return first | texture_of(graycomatrix(pixels, [1], [0], 256, normed=True))


def texture_of(matrix: np.ndarray) -> dict[str, float]:
    return {name.lower(): float(graycoprops(matrix, name)[0, 0]) for name in TEXTURE}


def assert_same(found: np.ndarray, expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert named(found)[name] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("name", PICTURES)
def test_features_equal_those_of_scikit_image_and_scipy(name):
    assert_same(measure(PICTURES[name]), by_the_libraries(PICTURES[name]))


@settings(max_examples=60)
@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(2, 12))))
def test_features_of_any_picture_equal_those_of_scikit_image_and_scipy(pixels):
    expected = by_the_libraries(pixels)
    if np.ptp(pixels[:, :-1]) == 0 or np.ptp(pixels[:, 1:]) == 0:
        # Of a constant scikit-image gives 1, or what its rounding leaves.
        del expected["correlation"]
        assert named(measure(pixels))["correlation"] == 1
    assert_same(measure(pixels), expected)


def test_features_of_a_prepared_head_equal_those_of_scikit_image_and_scipy(head):
    pixels = prepare(Scan(head.astype(np.float32), "phantom"), InputSpec(side=96)).pixels
    assert_same(measure(pixels), by_the_libraries(pixels))


def test_inside_a_mask_only_its_pixels_and_its_whole_pairs_count():
    pixels, mask = PICTURES["noise"], RNG.random((40, 31)) < 0.6
    left, right = pixels[:, :-1], pixels[:, 1:]
    both = mask[:, :-1] & mask[:, 1:]
    matrix = np.zeros((256, 256))
    np.add.at(matrix, (left[both], right[both]), 1)
    inside = pixels[mask].astype(float)
    expected = {
        "mean": inside.mean(), "variance": inside.var(), "skewness": stats.skew(inside),
        "kurtosis": stats.kurtosis(inside), **texture_of((matrix / matrix.sum())[..., None, None]),
    }  # fmt: skip
    assert_same(measure(pixels, mask=mask), expected)


def test_a_mask_of_every_pixel_changes_nothing():
    pixels = PICTURES["few levels"]
    whole = measure(pixels, mask=np.ones(pixels.shape, bool))
    assert whole.tolist() == measure(pixels).tolist()


def slow_coarseness(pixels: np.ndarray, mask: np.ndarray) -> float:
    """Word for word, pixel by pixel."""
    height, width = pixels.shape
    values = np.where(mask, pixels.astype(float), np.nan)  # a window off the mask has no mean

    def mean(y: int, x: int, size: int) -> float:
        if y < 0 or x < 0 or y + size > height or x + size > width:
            return np.nan
        return float(values[y : y + size, x : x + size].mean())

    sizes = []
    for y, x in np.argwhere(mask):
        steps = {}
        for size in (2, 4, 8, 16, 32):
            half = size // 2
            across = mean(y - half, x, size) - mean(y - half, x - size, size)
            down = mean(y, x - half, size) - mean(y - size, x - half, size)
            steps[size] = np.nan_to_num([abs(across), abs(down)], nan=0.0).max()
        best = max(steps.values())
        if best > 0:
            sizes.append(min(size for size, step in steps.items() if step == best))
    return float(np.mean(sizes)) if sizes else np.nan


@pytest.mark.parametrize(
    "pixels",
    [PICTURES["noise"], PICTURES["few levels"], PICTURES["one bright column"], PICTURES["one row"],
     np.kron(PICTURES["noise"][:9, :9], np.ones((8, 8), np.uint8))],
)  # fmt: skip
def test_coarseness_is_that_of_the_definition(pixels):
    mask = np.ones(pixels.shape, bool)
    mask[5:9, 3:6] = False
    whole = slow_coarseness(pixels, np.ones(pixels.shape, bool))
    assert named(measure(pixels))["coarseness"] == pytest.approx(whole, nan_ok=True)
    inside = named(measure(pixels, mask=mask))["coarseness"]
    assert inside == pytest.approx(slow_coarseness(pixels, mask), nan_ok=True)


def test_coarseness_grows_with_the_grain():
    found = [
        named(measure(np.kron(RNG.integers(0, 256, (96 // g, 96 // g)), np.ones((g, g), int))
                      .astype(np.uint8)))["coarseness"]
        for g in (1, 2, 4, 8, 16)
    ]  # fmt: skip
    assert found == sorted(found)
    assert found[-1] > 2 * found[0]


def test_a_constant_picture_has_no_skewness_kurtosis_or_coarseness():
    found = named(measure(PICTURES["constant"]))
    lost = {name for name, value in found.items() if np.isnan(value)}
    assert lost == {"skewness", "kurtosis", "coarseness"}
    assert (found["mean"], found["energy"], found["entropy"]) == (37, 1, 0)


def test_a_single_column_has_no_pairs_and_says_so():
    found = named(measure(np.arange(9, dtype=np.uint8)[:, None]))
    assert found["mean"] == 4
    assert np.isnan([found[name.lower()] for name in TEXTURE]).all()


def test_a_stack_is_measured_as_its_pictures_are():
    stack = RNG.integers(0, 256, (70, 24, 20)).astype(np.uint8)
    masks = RNG.random(stack.shape) < 0.8
    single = [measure(p, mask=m) for p, m in zip(stack, masks, strict=True)]
    assert np.array_equal(measure_many(stack, masks=masks), single)
    assert np.array_equal(measure_many(stack), [measure(picture) for picture in stack])


def test_an_empty_stack_has_no_rows():
    assert measure_many(np.zeros((0, 8, 8), np.uint8)).shape == (0, 13)


@pytest.mark.parametrize(
    ("pixels", "mask", "error"),
    [
        (np.zeros((4, 4)), None, InvalidPixelsError),
        (np.zeros((4, 4), np.uint16), None, InvalidPixelsError),
        (np.zeros((4, 4, 3), np.uint8), None, InvalidPixelsError),
        (np.zeros(4, np.uint8), None, InvalidPixelsError),
        (np.zeros((4, 4), np.uint8), np.ones((4, 5), bool), InvalidPixelsError),
        (np.zeros((0, 4), np.uint8), None, BlankImageError),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool), BlankImageError),
    ],
)
def test_what_is_no_grey_picture_is_refused(pixels, mask, error):
    with pytest.raises(error):
        measure(pixels, mask=mask)


def test_the_head_of_a_prepared_picture_has_no_holes():
    pixels = np.zeros((32, 32), np.uint8)
    pixels[4:28, 6:26] = 90
    pixels[10:14, 10:14] = 0  # air inside
    expected = np.zeros((32, 32), bool)
    expected[4:28, 6:26] = True
    assert np.array_equal(head_of(pixels), expected)


def test_the_area_of_background_does_not_count_inside_the_head(head, write_image, tmp_path):
    wide = np.pad(head, ((0, 0), (60, 60)))
    spec = InputSpec(side=64)
    paths = [write_image(head, "a.png"), write_image(wide, "b.png")]
    found = measure_files(paths, spec, cache=tmp_path / "c", head_only=True).values
    pixels = prepare(Scan(head.astype(np.float32), "phantom"), spec).pixels
    assert np.array_equal(found[0], measure(pixels, mask=head_of(pixels)))
    assert np.allclose(found[0], found[1], rtol=0.02)


@pytest.fixture
def table(head, write_image, tmp_path) -> FeatureTable:
    write_image(head, "set/yes/a.png")
    (tmp_path / "set/yes/broken.jpg").write_bytes(b"not a picture")
    write_image(head[:, ::-1].copy(), "set/yes/c.png")
    cases = [
        Case(tmp_path / "set/yes" / name, f"set/yes/{name}", "mri_tumor", "set")
        for name in ("a.png", "broken.jpg", "c.png", "gone.png")
    ]
    return measure_files(cases, InputSpec(side=64), cache=tmp_path / "cache")


def test_a_file_that_cannot_be_read_is_a_row_with_its_error(table):
    assert table.usable.tolist() == [True, False, True, False]
    assert np.isfinite(table.values[[0, 2]]).all()
    assert np.isnan(table.values[[1, 3]]).all()
    assert table.errors[1].startswith("is not a PNG")
    assert table.errors[3].startswith("cannot be opened")


def test_progress_counts_every_scan(head, write_image, tmp_path):
    told = []
    paths = [write_image(head, f"{i}.png") for i in range(3)]
    spec, cache = InputSpec(side=64), tmp_path / "cache"
    measure_files(paths, spec, cache=cache, progress=lambda *done: told.append(done))
    assert told == [(3, 3)]


def test_no_scans_make_an_empty_table(tmp_path):
    assert measure_files([], InputSpec(), cache=tmp_path).values.shape == (0, 13)


def test_a_table_reads_back_as_it_was_written(table, tmp_path):
    notes = ("not one plain slice: a small head", "", "", "")
    values = np.where(np.arange(13) == 3, np.nan, table.values)
    table = replace(table, values=values, notes=notes)
    write_features(table, tmp_path / "deep/features.csv")
    found = read_features(tmp_path / "deep/features.csv")
    assert replace(found, values=table.values) == table
    assert np.array_equal(found.values, table.values, equal_nan=True)


def test_what_is_not_defined_is_an_empty_cell_that_the_notes_name(table, tmp_path):
    values = np.where(np.arange(13) == 3, np.nan, table.values)
    write_features(replace(table, values=values), tmp_path / "features.csv")
    first = read_table(tmp_path / "features.csv")[0]
    assert first["skewness"] == ""
    assert first["notes"] == "not defined here: skewness"
    assert "nan" not in (tmp_path / "features.csv").read_text()


def test_what_is_not_one_plain_slice_is_noted(write_image, tmp_path):
    small = cv2.resize(draw_phantom("mri", "healthy", seed=1).pixels, (40, 40))
    found = measure_files([write_image(small, "s.png")], InputSpec(side=64), cache=tmp_path)
    assert found.notes[0].startswith("not one plain slice: a small head")


def test_the_columns_are_path_label_the_thirteen_notes_and_error(table, tmp_path):
    write_features(table, tmp_path / "features.csv")
    header = (tmp_path / "features.csv").read_text().splitlines()[0]
    assert header == ",".join(COLUMNS)
    assert header.startswith("path,label,mean,variance,standard_deviation,")
    assert header.endswith(",correlation,coarseness,notes,error")


PUBLISHED_HEADER = (
    "Image,Class,Mean,Variance,Standard Deviation,Entropy,Skewness,Kurtosis,"
    "Contrast,Energy,ASM,Homogeneity,Dissimilarity,Correlation,Coarseness"
)


def test_the_published_table_is_read_under_its_own_names(tmp_path):
    rows = [
        "Image1,0,6.5,619.6,24.9,0.109,4.3,18.9,98.6,0.29,0.086,0.53,4.5,0.98,7.4E-155",
        "Image3,1,7.3,1143.8,33.8,0.0015,5.1,26.5,81.9,0.03,0.001,0.27,6,0.978,7.4E-155",
    ]
    (tmp_path / "t.csv").write_text("\n".join([PUBLISHED_HEADER, *rows]))
    found = read_features(tmp_path / "t.csv")
    assert found.paths == ("Image1", "Image3")
    assert found.labels == ("mri_healthy", "mri_tumor")
    assert named(found.values[0])["entropy"] == 0.109
    assert named(found.values[1])["standard_deviation"] == 33.8
    assert found.usable.all()


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (None, "cannot be read"),
        (b"", "holds no rows"),
        (b"path,label,mean\na,b,1\n", "no column variance"),
        ((",".join(COLUMNS) + "\n").encode(), "holds no rows"),
        ((",".join(COLUMNS) + "\na,b" + ",1" * 12 + ",x,\n").encode(), "'x' in line 2"),
        ((",".join(COLUMNS) + "\na,b,1\n").encode(), "'' in line 2"),
        (b'"' + b"a" * 200_000, "cannot be read"),
    ],
)
def test_a_table_that_is_none_of_features_is_refused(tmp_path, data, fact):
    if data is not None:
        (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(CasesError, match=fact):
        read_features(tmp_path / "t.csv")


@pytest.mark.skipif(
    not os.environ.get("TUMORLENS_DATA"), reason="set TUMORLENS_DATA to a folder with the sets"
)
def test_the_published_table_holds_what_its_definitions_allow():
    path = Path(os.environ["TUMORLENS_DATA"]) / "bohaju" / "Brain Tumor.csv"
    if not path.is_file():
        pytest.skip("the published table is not in TUMORLENS_DATA")
    found = read_features(path)
    column = {name: found.values[:, i] for i, name in enumerate(FEATURES)}
    with path.open() as file:
        assert len(found.paths) == len(list(csv.reader(file))) - 1 == 3762
    # Pearson's kurtosis is never below skewness^2 + 1.
    assert (column["kurtosis"] < column["skewness"] ** 2 + 1).mean() > 0.7
    energy = column["energy"]
    assert np.allclose(column["asm"], energy**2, rtol=1e-12)
    assert np.allclose(column["entropy"], energy * np.log2(1 + energy), rtol=0.05)
    assert np.allclose(column["coarseness"], 2.0**-512, rtol=1e-12)
