"""Findings painted into CT: a mass makes a tumor, all else leaves the label."""

import numpy as np

from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.labels import label_mask
from tumorlens.records import Scan
from tumorlens.study.phantom.drawing import draw_phantom
from tumorlens.study.training.data.batches import ViewSpec, epoch_batches
from tumorlens.study.training.data.ct_lesions import ct_view
from tumorlens.study.training.data.lesion_masks import LesionMasks, find_lesion_masks
from tumorlens.study.training.data.training_set import TrainingSet

HEALTHY, TUMOR = label_mask(["ct_healthy"])[0], label_mask(["ct_tumor"])[0]


def head(seed: int = 0) -> np.ndarray:
    drawn = draw_phantom("ct", "healthy", seed=seed, plane="axial", side=96).pixels
    return prepare(Scan(drawn.astype(np.float32), "drawn"), InputSpec(96)).pixels


def views(label: np.ndarray, count: int = 60):
    image, rng = head(), np.random.default_rng(0)
    return image, [ct_view(image, label, rng) for _ in range(count)]


def test_a_mass_is_marked_and_called_a_tumor_and_nothing_else_is():
    image, made = views(HEALTHY)
    for changed, mass, label in made:
        assert label.tolist() == (TUMOR if mass.any() else HEALTHY).tolist()
        if mass.any():
            inside, outside = (
                np.abs(changed.astype(float) - image)[m].mean() for m in (mass, ~mass)
            )
            assert inside > outside
    assert 0.3 < np.mean([mass.any() for _, mass, _ in made]) < 0.7


def test_a_bleed_or_infarct_does_not_take_a_tumor_away():
    _, made = views(TUMOR)
    assert all(label.tolist() == TUMOR.tolist() for _, _, label in made)


def test_what_is_painted_changes_the_brain_and_neither_bone_nor_air():
    image, made = views(HEALTHY)
    bone = image == 255
    for changed, _, _ in made:
        assert not changed[image == 0].any()
        assert np.abs(changed[bone].astype(int) - 255).mean() < 10
    assert np.mean([(changed != image).any() for changed, _, _ in made]) > 0.95


def test_a_slice_with_too_little_brain_stays_as_it_is():
    image = np.zeros((96, 96), np.uint8)
    image[40:50, 40:50] = 90
    changed, mass, label = ct_view(image, HEALTHY, np.random.default_rng(0))
    assert (changed == image).all()
    assert not mass.any()
    assert (label == HEALTHY).all()


def test_in_training_only_ct_scans_are_painted():
    images = np.stack([head(0), head(1)])
    names = ["ct_healthy", "mri_healthy"]
    data = TrainingSet(
        images, label_mask(names), np.arange(2), np.arange(2),
        lesions=find_lesion_masks(images, names, {}),
    )  # fmt: skip
    assert data.lesions is not None
    assert data.lesions.rows.tolist() == [
        LesionMasks.UNKNOWN,
        LesionMasks.NONE,
    ]
    view = ViewSpec(side=96, strength=0.0, ct_lesion_share=1.0)
    [batch] = epoch_batches(data, np.array([0, 1]), view=view, batch=2, seed=(0,))
    assert (batch.images[0, ..., 0] != images[0]).any()
    assert (batch.images[1, ..., 0] == images[1]).all()
