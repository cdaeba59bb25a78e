"""What is known of tumor masks, and which labels follow from a change."""

import numpy as np
import pytest

from tumorlens.inputs.prepare import InputSpec
from tumorlens.labels import ATOMS, label_mask
from tumorlens.study.phantom.drawing import draw_phantom
from tumorlens.study.phantom.out_of_distribution import KINDS, SIDE, draw_ood_image
from tumorlens.study.training.data.lesion_masks import (
    LesionMasks,
    counterfactual_view,
    find_lesion_masks,
)
from tumorlens.study.training.data.training_set import TrainingSet, with_ood_images

NAMES = ["mri_healthy", "mri_glioma", "mri_tumor", "ct_healthy", "ct_tumor", "mri_meningioma"]
DRAWN = [
    draw_phantom(
        name.split("_")[0], {"tumor": "glioma"}.get(name.split("_")[1], name.split("_")[1]),
        seed=seed, plane="axial", side=64,
    )
    for seed, name in enumerate(NAMES)
]  # fmt: skip
IMAGES = np.stack([phantom.pixels for phantom in DRAWN])
MASKS = {1: DRAWN[1].mask, 5: DRAWN[5].mask}
LESIONS = find_lesion_masks(IMAGES, NAMES, MASKS)
LABELS = label_mask(NAMES)


def test_a_healthy_mri_scan_is_known_to_have_no_tumor_and_a_tumor_without_mask_is_unknown():
    none, unknown = LesionMasks.NONE, LesionMasks.UNKNOWN
    assert LESIONS.rows.tolist() == [none, 0, unknown, unknown, unknown, 1]


@pytest.mark.parametrize("position", [1, 5])
def test_masks_come_back_as_they_were(position):
    np.testing.assert_array_equal(LESIONS.mask(position, 64), DRAWN[position].mask)


def test_a_set_without_masks_has_no_donors():
    assert not len(find_lesion_masks(IMAGES, NAMES, {}).donors)


def shown(position: int, count: int = 120) -> list[tuple[bool, str]]:
    """Whether a tumor is masked, and the one atom of the label, of many changes."""
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        _, mask, label = counterfactual_view(IMAGES, LABELS, LESIONS, position, rng)
        assert label.sum() == 1
        found.append((bool(mask.any()), ATOMS[int(label.argmax())]))
    return found


def test_a_healthy_scan_becomes_the_type_of_its_donor_or_stays_healthy():
    found = set(shown(0))
    assert (False, "mri_healthy") in found
    assert found <= {(False, "mri_healthy"), (True, "mri_glioma"), (True, "mri_meningioma")}
    assert len(found) > 1


def test_a_tumor_keeps_its_type_or_is_gone():
    assert set(shown(1)) == {(True, "mri_glioma"), (False, "mri_healthy")}


@pytest.mark.parametrize("position", [0, 1])
def test_a_painted_mass_is_of_unknown_type_and_what_is_no_mass_keeps_the_label(position):
    unknown, own = label_mask(["mri_tumor", NAMES[position]]).tolist()
    found = []
    for seed in range(80):
        image, mask, label = counterfactual_view(
            IMAGES, LABELS, LESIONS, position, np.random.default_rng(seed), synthetic_share=1.0
        )
        if (image != IMAGES[position]).any():
            assert mask.any() == (label.tolist() != label_mask(["mri_healthy"])[0].tolist())
            found.append(label.tolist())
    assert found.count(unknown) > 20
    assert found.count(own) > 10
    assert len(found) == found.count(unknown) + found.count(own)


def test_ood_images_join_as_one_stratum_with_the_empty_label():
    data = TrainingSet(IMAGES, LABELS, np.arange(6), np.zeros(6, np.int64), LESIONS)
    made = with_ood_images(data, 20, InputSpec(side=64))
    more = len(made) - 6
    assert 0 < more <= 20
    assert not made.label_masks[6:].any()
    assert made.strata[6:].tolist() == [1] * more
    assert len(np.unique(made.image_ids)) == 6 + more
    assert made.lesions is not None
    assert (made.lesions.rows[6:] == LesionMasks.UNKNOWN).all()
    assert len(made.lesions.midlines) == len(made.lesions.thumbnails) == len(made)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_outsider_shows_something(kind):
    picture = KINDS[kind](np.random.default_rng(3))
    assert picture.shape == (SIDE, SIDE)
    assert np.isfinite(picture).all()
    assert picture.std() > 0.02


def test_an_outsider_follows_from_its_seed():
    np.testing.assert_array_equal(draw_ood_image(5), draw_ood_image(5))
    assert (draw_ood_image(5) != draw_ood_image(6)).any()
