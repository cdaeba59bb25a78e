"""Counterfactual pictures: the label follows what is left of the tumor."""

import numpy as np
import pytest

from tumorlens.study.phantom.drawing import draw_phantom
from tumorlens.study.training.data.counterfactuals import (
    DONATED,
    Counterfactual,
    MaskedScan,
    crop,
    graft,
    make_counterfactual,
    reflect_half,
    reflect_spot,
    shrink,
)
from tumorlens.study.training.data.midline_symmetry import Midline, find_midline

SIDE = 64
UPRIGHT = Midline(angle=0.0, offset=0.0, symmetry=1.0)


def head(tumor: tuple[int, int] | None = None, gray: int = 100) -> MaskedScan:
    """A disc, with a bright square of 10 pixels at a corner (row, column)."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = ((rows - 31.5) ** 2 + (columns - 31.5) ** 2 < 30**2) * np.uint8(gray)
    image[(rows + columns) % 5 == 0] //= 2
    mask = np.zeros((SIDE, SIDE), bool)
    if tumor:
        mask[tumor[0] : tumor[0] + 10, tumor[1] : tumor[1] + 10] = True
        image = np.where(mask, 240, image).astype(np.uint8)
    return MaskedScan(image, mask, UPRIGHT)


LEFT, MIDDLE = head((26, 10)), head((26, 27))


def many(make, count: int = 200) -> list[Counterfactual]:
    rng = np.random.default_rng(0)
    found = [made for made in (make(rng) for _ in range(count)) if made is not None]
    assert found
    return found


def is_bright(changed: Counterfactual) -> bool:
    return bool((changed.image > 200).sum() > 20)


@pytest.mark.parametrize("way", [reflect_half, reflect_spot, crop])
def test_a_tumor_is_marked_where_one_is_seen_and_nowhere_else(way):
    found = many(lambda rng: way(LEFT, rng))
    assert [made.mask.any() for made in found] == [is_bright(made) for made in found]


@pytest.mark.parametrize("way", [reflect_half, reflect_spot, crop])
def test_both_labels_come_of_one_scan(way):
    assert {bool(made.mask.any()) for made in many(lambda rng: way(LEFT, rng))} == {True, False}


def test_a_half_is_not_taken_where_the_seam_cuts_the_tumor_away_in_part():
    shifted = head((26, 24))
    rng = np.random.default_rng(0)
    made = [reflect_half(shifted, rng) for _ in range(50)]
    for changed in made:
        assert changed is None or changed.mask.sum() >= 0.6 * shifted.mask.sum()


def test_a_reflected_half_is_its_own_mirror_image():
    for made in many(lambda rng: reflect_half(LEFT, rng), 10):
        difference = np.abs(made.image.astype(int) - made.image[:, ::-1])
        assert np.median(difference) == 0
        assert (difference > 20).mean() < 0.05  # but for the seam


def test_a_healthy_head_stays_healthy_unless_it_gets_a_tumor():
    healthy = head()
    rng = np.random.default_rng(1)
    for _ in range(300):
        made = make_counterfactual(healthy, LEFT, rng)
        if made is not None:
            assert made.mask.any() == (made.tumor == DONATED) == is_bright(made)


def test_a_graft_keeps_the_place_and_fits_the_gray():
    dark = head(gray=50)
    given = [made for made in many(lambda rng: graft(dark, LEFT, rng)) if made.tumor == DONATED]
    for made in given:
        np.testing.assert_array_equal(made.mask, LEFT.mask)
        assert made.image[LEFT.mask].mean() < LEFT.image[LEFT.mask].mean()
        assert made.image[LEFT.mask].mean() > dark.image[LEFT.mask].mean()


def test_a_graft_over_a_tumor_takes_it_away_and_one_beside_leaves_it():
    other = head((26, 44))
    found = many(lambda rng: graft(LEFT, other, rng))
    assert {bool(made.mask.any()) for made in found} == {True, False}
    assert [made.mask.any() for made in found] == [is_bright(made) for made in found]


def test_nothing_is_grafted_outside_the_head():
    small = MaskedScan(np.where(np.arange(SIDE) > 40, head().image, 0), head().mask, UPRIGHT)
    made = [graft(small, LEFT, np.random.default_rng(seed)) for seed in range(60)]
    assert not any(changed.tumor == DONATED for changed in made if changed)


def test_an_empty_picture_is_not_changed():
    nothing = MaskedScan(np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), bool), UPRIGHT)
    rng = np.random.default_rng(0)
    for _ in range(40):
        made = make_counterfactual(nothing, None, rng)
        assert made is None or not made.image.any()


def test_the_same_seed_makes_the_same_change():
    first, again = (make_counterfactual(LEFT, MIDDLE, np.random.default_rng(7)) for _ in range(2))
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first.image, again.image)


@pytest.mark.parametrize("angle", [-12.0, 0.0, 8.0])
@pytest.mark.parametrize("offset", [-0.05, 0.0, 0.04])
def test_a_reflection_undoes_itself(angle, offset):
    matrix = np.vstack([Midline(angle, offset, 1.0).reflection(SIDE), [0, 0, 1]])
    np.testing.assert_allclose(matrix @ matrix, np.eye(3), atol=1e-9)


def test_the_midline_of_a_slice_shifted_and_turned_is_found():
    rows, columns = np.mgrid[:144, :144]
    turned = np.deg2rad(8)
    x = (columns - 75) * np.cos(turned) + (rows - 71.5) * np.sin(turned)
    y = (rows - 71.5) * np.cos(turned) - (columns - 75) * np.sin(turned)
    image = (((x / 50) ** 2 + (y / 66) ** 2 < 1) * (120 + 60 * np.cos(x / 6) + y)).astype(np.uint8)
    found = find_midline(image)
    assert abs(found.angle) == 8
    assert found.symmetry > 0.98


def test_axial_phantoms_are_more_symmetric_than_sagittal_ones():
    def symmetry(plane: str) -> float:
        drawn = [draw_phantom("mri", "healthy", seed=s, plane=plane) for s in range(8)]
        return float(np.median([find_midline(phantom.pixels).symmetry for phantom in drawn]))

    assert symmetry("axial") > 0.9 > symmetry("sagittal")


def test_a_shrunk_tumor_keeps_its_place_and_gray_and_takes_half_to_a_fifth_of_the_room():
    small = many(lambda rng: shrink(MIDDLE, rng), 40)
    assert len(small) == 40
    for made in small:
        share = made.mask.sum() / MIDDLE.mask.sum()
        assert 0.15 < share < 0.65
        assert made.image[made.mask].mean() > 200
        np.testing.assert_allclose(
            np.argwhere(made.mask).mean(0), np.argwhere(MIDDLE.mask).mean(0), atol=1.0
        )


def test_shrinking_leaves_a_healthy_head_healthy():
    for made in many(lambda rng: shrink(head(), rng), 40):
        assert not made.mask.any()


def test_small_lesions_come_only_where_they_are_asked_for():
    def shares(small: float) -> list[float]:
        made = many(
            lambda rng: make_counterfactual(
                MIDDLE, None, rng, synthetic_share=1.0, small_share=small
            ),
            60,
        )
        return [m.mask.sum() / MIDDLE.mask.sum() for m in made if m.mask.any()]

    assert max(shares(1.0)) < 0.65
    assert min(shares(0.0)) > 0.65
