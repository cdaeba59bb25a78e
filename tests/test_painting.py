"""Painted lesions: seen, inside the head, and of a type nobody knows."""

import numpy as np
import pytest

from tumorlens.study.training.counterfactuals import PAINTED, Marked, change, paint_lesion
from tumorlens.study.training.mirroring import Midline
from tumorlens.study.training.painting import moved_region, paint

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


def test_a_moved_region_lies_deep_in_the_head_and_has_about_its_size():
    rng = np.random.default_rng(0)
    image = head()
    for _ in range(50):
        moved = moved_region(square(40, 30), image, rng)
        centre = np.argwhere(moved).mean(0)
        assert image[tuple(centre.round().astype(int))] > 0
        assert 0.1 < moved.sum() / square(40, 30).sum() < 8


def test_a_tumor_is_painted_over_in_its_own_place():
    rng = np.random.default_rng(1)
    scan = Marked(head(), square(40, 30), UPRIGHT)
    made = [m for m in (paint_lesion(scan, None, rng) for _ in range(50)) if m]
    assert made
    for one in made:
        assert one.tumor == PAINTED
        assert (one.mask & scan.mask).sum() > 0.3 * one.mask.sum()


def test_a_healthy_head_without_a_donor_of_shapes_stays_as_it_is():
    scan = Marked(head(), np.zeros((SIDE, SIDE), bool), UPRIGHT)
    assert change(scan, None, np.random.default_rng(0), painted=1.0) is None
