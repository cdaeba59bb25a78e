"""Painted lesions: seen, inside the head, and of a type nobody knows."""

import cv2
import numpy as np
import pytest

from tumorlens.study.training.data.counterfactuals import (
    SYNTHETIC,
    MaskedScan,
    make_counterfactual,
    paint_lesion,
    paint_no_mass,
)
from tumorlens.study.training.data.midline_symmetry import Midline
from tumorlens.study.training.data.synthetic_lesions import moved_region, paint, scattered_spots

SIDE = 96
UPRIGHT = Midline(angle=0.0, offset=0.0, symmetry=1.0)


def head(gray: int = 120) -> np.ndarray:
    """A textured disc on black."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = (rows - 47.5) ** 2 + (columns - 47.5) ** 2 < 44**2
    grain = np.random.default_rng(0).normal(0, 15, inside.shape)
    return np.where(inside, np.clip(gray + grain, 1, 255), 0).astype(np.uint8)


def square(row: int, column: int, size: int = 14) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[row : row + size, column : column + size] = True
    return mask


def many(image: np.ndarray, region: np.ndarray, count: int = 100):
    rng = np.random.default_rng(0)
    found = [made for made in (paint(image, region, rng) for _ in range(count)) if made]
    assert len(found) > count / 2
    return found


def test_a_painted_lesion_stands_out_from_what_lies_around_it():
    for image, mask in many(head(), square(40, 30)):
        rest = (image > 0) & ~mask
        difference = abs(float(image[mask].mean()) - float(np.median(image[rest])))
        assert difference > 0.3 * image[rest].std()


def test_lesions_come_brighter_and_darker_than_the_head():
    signs = {
        bool(image[mask].mean() > np.median(image[(image > 0) & ~mask]))
        for image, mask in many(head(), square(40, 30))
    }
    assert signs == {True, False}


@pytest.mark.parametrize("gray", [40, 120, 250])
def test_air_stays_air_and_the_head_keeps_its_outline(gray):
    before = head(gray)
    for image, mask in many(before, square(40, 30), 40):
        assert ((image > 0) == (before > 0)).all()
        assert not mask[before == 0].any()


def test_what_lies_far_from_the_lesion_only_changes_in_brightness():
    before = head()
    far = (before > 0) & (np.arange(SIDE) > 70)
    for image, _ in many(before, square(40, 30), 40):
        assert np.corrcoef(image[far], before[far])[0, 1] > 0.99


@pytest.mark.parametrize("region", [square(0, 0), np.zeros((SIDE, SIDE), bool)])
def test_nothing_is_painted_outside_the_head(region):
    assert paint(head(), region, np.random.default_rng(0)) is None


def test_an_empty_picture_and_one_of_a_single_gray_are_left_alone():
    rng = np.random.default_rng(0)
    assert paint(np.zeros((SIDE, SIDE), np.uint8), square(40, 30), rng) is None
    assert not moved_region(square(40, 30), np.zeros((SIDE, SIDE), np.uint8), rng).any()


@pytest.mark.parametrize("size", [3, 14])
def test_a_moved_region_lies_deep_in_the_head_and_is_as_large_as_a_mass(size):
    rng = np.random.default_rng(0)
    image = head()
    for _ in range(50):
        moved = moved_region(square(40, 30, size), image, rng)
        centre = np.argwhere(moved).mean(0)
        assert image[tuple(centre.round().astype(int))] > 0
        assert 0.01 < moved.sum() / (image > 0).sum() < 0.25


def test_spots_lie_in_the_head_and_none_is_a_mass():
    rng = np.random.default_rng(0)
    image = head()
    for _ in range(50):
        spots = scattered_spots(image, rng)
        assert spots.any()
        assert not spots[image == 0].any()
        sizes = cv2.connectedComponentsWithStats(spots.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
        assert np.median(sizes) < 0.01 * (image > 0).sum()


def test_what_is_no_mass_leaves_the_label():
    healthy = MaskedScan(head(), np.zeros((SIDE, SIDE), bool), UPRIGHT)
    tumor = MaskedScan(head(), square(40, 30), UPRIGHT)
    rng = np.random.default_rng(0)
    for scan in (healthy, tumor):
        made = [m for m in (paint_no_mass(scan, tumor, rng) for _ in range(60)) if m]
        assert len(made) > 20
        for one in made:
            assert (one.image != scan.image).any()
            np.testing.assert_array_equal(one.mask, scan.mask)


def test_a_pair_of_regions_mirrors_itself():
    scan = MaskedScan(head(), np.zeros((SIDE, SIDE), bool), UPRIGHT)
    donor = MaskedScan(head(), square(40, 30), UPRIGHT)
    rng = np.random.default_rng(0)
    made = [m for m in (paint_no_mass(scan, donor, rng) for _ in range(60)) if m]
    likeness = []
    for one in made:
        changed = cv2.GaussianBlur(np.abs(one.image.astype(np.float32) - scan.image), (0, 0), 3)
        likeness.append(np.corrcoef(changed.ravel(), changed[:, ::-1].ravel())[0, 1])
    assert np.median(likeness) > 0.8  # the ragged border is each its own


def test_a_tumor_is_painted_over_in_its_own_place():
    rng = np.random.default_rng(1)
    scan = MaskedScan(head(), square(40, 30), UPRIGHT)
    made = [m for m in (paint_lesion(scan, None, rng) for _ in range(80)) if m]
    painted = [one for one in made if one.tumor == SYNTHETIC]
    assert len(painted) > 20
    for one in painted:
        assert (one.mask & scan.mask).sum() > 0.3 * one.mask.sum()


def test_a_healthy_head_without_a_donor_of_shapes_gets_no_mass():
    scan = MaskedScan(head(), np.zeros((SIDE, SIDE), bool), UPRIGHT)
    for seed in range(20):
        made = make_counterfactual(scan, None, np.random.default_rng(seed), synthetic_share=1.0)
        assert made is None or not made.mask.any()
