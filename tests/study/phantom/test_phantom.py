"""Facts about the synthetic head slices that demo and tests rely on."""

import csv
import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorlens.study.phantom import (
    CLASSES,
    FINDINGS,
    PLANES,
    Phantom,
    draw_phantom,
    write_phantoms,
)
from tumorlens.study.phantom.drawing import SHARE, burn_marks

TUMORS = FINDINGS[1:]


def head_of(phantom: Phantom) -> np.ndarray:
    bright = (cv2.GaussianBlur(phantom.pixels, (0, 0), 2) > 18).astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(bright)
    largest = (parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    outlines, _ = cv2.findContours(largest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(largest), outlines, -1, 1, cv2.FILLED).astype(bool)


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(mask.astype(np.uint8), disk).astype(bool)


def middle_of(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(0)


def with_sequence(sequence: str, finding: str, *, count: int) -> list[Phantom]:
    drawn = (draw_phantom("mri", finding, seed=seed) for seed in range(1000))
    matching = (phantom for phantom in drawn if phantom.sequence == sequence)
    return [next(matching) for _ in range(count)]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@settings(max_examples=25)
@given(
    modality=st.sampled_from(["ct", "mri"]),
    finding=st.sampled_from(FINDINGS),
    plane=st.sampled_from([None, *PLANES]),
    seed=st.integers(0, 2**64 - 1),
    side=st.sampled_from([64, 192, 224]),
)
def test_any_seed_draws_a_well_formed_phantom(modality, finding, plane, seed, side):
    phantom = draw_phantom(modality, finding, seed=seed, plane=plane, side=side)
    assert phantom.pixels.shape == phantom.mask.shape == (side, side)
    assert phantom.pixels.dtype == np.uint8
    assert phantom.mask.dtype == np.bool_
    assert phantom.mask.any() == (finding != "healthy")
    assert phantom.plane in PLANES if plane is None else phantom.plane == plane
    assert phantom.label in CLASSES
    assert (phantom.sequence == "ct") == (modality == "ct")


def test_the_same_seed_draws_the_same_bytes():
    first, again = (draw_phantom("mri", "glioma", seed=11) for _ in range(2))
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert first.mask.tobytes() == again.mask.tobytes()


def test_different_seeds_never_share_a_picture():
    pictures = {draw_phantom("ct", "healthy", seed=s).pixels.tobytes() for s in range(60)}
    assert len(pictures) == 60


def test_on_ct_every_tumor_is_just_a_tumor():
    assert {draw_phantom("ct", finding, seed=1).label for finding in TUMORS} == {"ct_tumor"}


def test_every_plane_and_sequence_occurs():
    drawn = [draw_phantom("mri", "healthy", seed=seed) for seed in range(60)]
    assert {phantom.plane for phantom in drawn} == set(PLANES)
    assert {phantom.sequence for phantom in drawn} == {"t1", "t2", "flair", "t1ce"}


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("finding", TUMORS)
def test_a_tumor_lies_inside_the_head_and_covers_a_plausible_share(finding, plane):
    for seed in range(12):
        phantom = draw_phantom("mri", finding, seed=seed, plane=plane)
        head = head_of(phantom)
        assert not (phantom.mask & ~head).any()
        assert 0.008 < phantom.mask.sum() / head.sum() < 0.12


@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_a_pituitary_tumor_sits_near_the_midline(plane):
    for seed in range(15):
        phantom = draw_phantom("mri", "pituitary", seed=seed, plane=plane)
        columns = np.flatnonzero(head_of(phantom).any(0))
        aside = abs(middle_of(phantom.mask)[1] - columns.mean())
        assert aside < 0.1 * columns.size


def test_a_sagittal_pituitary_tumor_sits_in_front_of_the_center_and_below_the_vault():
    for seed in range(15):
        phantom = draw_phantom("mri", "pituitary", seed=seed, plane="sagittal")
        rows, columns = (np.flatnonzero(head_of(phantom).any(axis)) for axis in (1, 0))
        row, column = middle_of(phantom.mask)
        assert 0.35 < (row - rows[0]) / rows.size < 0.65
        assert 0.25 < (column - columns[0]) / columns.size < 0.5


@pytest.mark.parametrize("plane", PLANES)
def test_a_meningioma_touches_the_inner_table_of_the_skull(plane):
    for seed in range(12):
        phantom = draw_phantom("ct", "meningioma", seed=seed, plane=plane)
        base = grown(phantom.mask, 3) & (phantom.pixels > 250)
        assert base.sum() >= 10


@pytest.mark.parametrize("plane", PLANES)
def test_a_glioma_keeps_clear_of_the_skull(plane):
    for seed in range(12):
        phantom = draw_phantom("ct", "glioma", seed=seed, plane=plane)
        assert not (grown(phantom.mask, 2) & (phantom.pixels > 250)).any()


@pytest.mark.parametrize(("finding", "contrast"), [("meningioma", 60), ("pituitary", 60)])
def test_a_solid_tumor_enhances_above_its_surroundings(finding, contrast):
    for phantom in with_sequence("t1ce", finding, count=8):
        around = grown(phantom.mask, 6) & ~grown(phantom.mask, 1)
        inside = np.median(phantom.pixels[phantom.mask])
        assert inside - np.median(phantom.pixels[around]) > contrast


def test_a_glioma_enhances_as_a_ring_about_a_dark_core():
    for phantom in with_sequence("t1ce", "glioma", count=8):
        around = grown(phantom.mask, 6) & ~grown(phantom.mask, 1)
        core, rim = np.percentile(phantom.pixels[phantom.mask], (5, 80))
        assert rim - np.median(phantom.pixels[around]) > 60
        assert rim - core > 80


@pytest.mark.parametrize("finding", TUMORS)
def test_a_tumor_changes_nothing_far_from_it(finding):
    # The seed alone decides head, plane, sequence, noise, bias and marks.
    for modality in ("ct", "mri"):
        for seed in range(6):
            plane = ("coronal", "sagittal")[seed % 2]
            healthy = draw_phantom(modality, "healthy", seed=seed, plane=plane)
            ill = draw_phantom(modality, finding, seed=seed, plane=plane)
            reach = grown(ill.mask, 50)
            assert ill.sequence == healthy.sequence
            assert np.array_equal(ill.pixels[~reach], healthy.pixels[~reach])


def test_plane_and_sequence_do_not_depend_on_the_finding():
    for seed in range(10):
        drawn = [draw_phantom("mri", finding, seed=seed) for finding in FINDINGS]
        assert len({(phantom.plane, phantom.sequence) for phantom in drawn}) == 1


def test_three_in_ten_pictures_carry_burned_in_marks():
    marked = 0
    for seed in range(600):
        pixels = np.zeros((192, 192), np.uint8)
        burn_marks(pixels, np.random.default_rng(seed))
        marked += bool(pixels.any())
    assert abs(marked / 600 - SHARE) < 0.06


def test_burned_in_marks_lie_outside_an_axial_head():
    head = head_of(draw_phantom("mri", "healthy", seed=3, plane="axial"))
    for seed in range(60):
        pixels = np.zeros((192, 192), np.uint8)
        burn_marks(pixels, np.random.default_rng(seed))
        assert not (pixels.astype(bool) & head).any()


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        ({"modality": "pet", "finding": "glioma"}, "ct, mri"),
        ({"modality": "mri", "finding": "stroke"}, "healthy, glioma, meningioma, pituitary"),
        ({"modality": "mri", "finding": "glioma", "plane": "oblique"}, "axial, coronal, sagittal"),
        ({"modality": "mri", "finding": "glioma", "plane": ""}, "axial, coronal, sagittal"),
        ({"modality": "mri", "finding": "glioma", "side": 8}, "at least 32"),
    ],
)
def test_an_unknown_value_is_refused_with_the_allowed_ones(arguments, allowed):
    with pytest.raises(ValueError, match=allowed):
        draw_phantom(**arguments, seed=0)


def test_an_empty_dataset_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
        write_phantoms(tmp_path / "none", per_class=0)
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("phantoms") / "set", per_class=3, seed=5)


def test_a_dataset_lists_every_picture_with_its_label_and_mask(dataset):
    with (dataset / "cases.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert reader.fieldnames == ["path", "label", "modality", "patient", "mask"]
    assert [row["label"] for row in rows] == [label for label in CLASSES for _ in range(3)]
    assert rows[0]["path"] == "ct_healthy/ct_healthy_0001.png"
    assert rows[-1]["mask"] == "masks/mri_pituitary_0003.png"
    assert all(bool(row["mask"]) != row["label"].endswith("healthy") for row in rows)
    assert all(row["label"].startswith(row["modality"]) for row in rows)
    assert len({row["patient"] for row in rows}) == len(rows)
    written = {name for name in contents(dataset) if name.endswith(".png")}
    assert written == {row[key] for row in rows for key in ("path", "mask") if row[key]}


def test_a_mask_on_disk_holds_only_0_and_255(dataset):
    for path in (dataset / "masks").iterdir():
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (192, 192)
        assert set(np.unique(mask)) == {0, 255}


def test_a_dataset_says_that_it_shows_nobody(dataset):
    assert "not scans of anybody" in (dataset / "README.txt").read_text(encoding="utf-8")


def test_the_same_seed_writes_the_same_files(dataset, tmp_path):
    assert contents(write_phantoms(tmp_path, per_class=3, seed=5)) == contents(dataset)


def test_pictures_are_unique_within_a_dataset_and_between_seeds(dataset, tmp_path):
    other = write_phantoms(tmp_path, per_class=3, seed=6)
    pictures = [
        hashlib.sha256(data).digest()
        for folder in (dataset, other)
        for name, data in contents(folder).items()
        if name.endswith(".png") and not name.startswith("masks/")
    ]
    assert len(set(pictures)) == len(pictures) == 36


def test_progress_counts_up_to_the_number_of_pictures(tmp_path):
    seen = []
    write_phantoms(tmp_path, per_class=1, side=64, progress=lambda *step: seen.append(step))
    assert seen == [(done, 6) for done in range(1, 7)]
