"""Augmentation changes pose and tone, never shape, type or the empty background."""

import cv2
import numpy as np
import pytest

from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.records import Scan
from tumorlens.study.phantom import draw_phantom
from tumorlens.study.training.data import augmentation
from tumorlens.study.training.data.augmentation import augment, augment_batch

SIDE = 64


def prepared(seed: int, modality: str = "mri") -> np.ndarray:
    pixels = draw_phantom(modality, "glioma", seed=seed).pixels.astype(np.float32)
    return prepare(Scan(pixels, "phantom"), InputSpec(side=SIDE)).pixels


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([prepared(seed, modality) for seed in range(4) for modality in ("ct", "mri")])


@pytest.mark.parametrize("strength", [0, 0.0, -1])
def test_without_strength_images_come_back_as_they_are(images, strength):
    same = augment_batch(images, np.random.default_rng(0), strength=strength)
    np.testing.assert_array_equal(same, images)


@pytest.mark.parametrize("strength", [0.2, 0.5, 1.0, 1.5])
def test_shape_and_type_stay(images, strength):
    changed = augment_batch(images, np.random.default_rng(1), strength=strength)
    assert changed.shape == images.shape
    assert changed.dtype == np.uint8


def test_every_image_is_changed(images):
    changed = augment_batch(images, np.random.default_rng(2))
    assert (changed != images).any(axis=(1, 2)).all()


def test_the_images_given_are_left_as_they_were(images):
    before = images.copy()
    for seed in range(20):
        augment_batch(images, np.random.default_rng(seed))
    np.testing.assert_array_equal(images, before)


def test_the_same_generator_gives_the_same_images_and_another_gives_others(images):
    first, again, other = (augment_batch(images, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_two_draws_from_one_generator_differ(images):
    rng = np.random.default_rng(0)
    assert (augment(images[0], rng) != augment(images[0], rng)).any()


def test_no_draw_of_two_hundred_loses_the_head():
    image = prepared(11)
    rng = np.random.default_rng(3)
    shares = [(augment(image, rng) > 20).mean() for _ in range(200)]
    assert min(shares) > 0.08
    assert (image > 20).mean() > 0.3, "the head itself is large"


@pytest.mark.parametrize("change", ["_tone", "_noise", "_bias_field", "_cutout"])
def test_the_background_stays_black(images, change):
    rng = np.random.default_rng(4)
    for image in images:
        for _ in range(10):
            changed = getattr(augmentation, change)(image, rng, 1.0)
            assert not changed[image == 0].any()


@pytest.mark.parametrize("change", ["_sharpen", "_resolution"])
def test_filters_reach_only_a_little_beyond_the_head(images, change):
    rng = np.random.default_rng(5)
    for image in images:
        near = cv2.dilate((image > 0).astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
        assert not getattr(augmentation, change)(image, rng, 1.0)[~near].any()


@pytest.mark.parametrize("change", ["_tone", "_noise", "_bias_field", "_sharpen", "_resolution",
                                    "_cutout"])  # fmt: skip
def test_every_change_changes_something_and_keeps_shape_and_type(images, change):
    rng = np.random.default_rng(6)
    changed = [getattr(augmentation, change)(image, rng, 1.0) for image in images]
    assert all(c.shape == (SIDE, SIDE) and c.dtype == np.uint8 for c in changed)
    assert any((c != image).any() for c, image in zip(changed, images, strict=True))


def test_the_cutout_is_one_small_square(images):
    rng = np.random.default_rng(7)
    full = np.full((SIDE, SIDE), 200, np.uint8)
    for _ in range(30):
        rows, columns = np.nonzero(augmentation._cutout(full, rng, 1.0) == 0)
        side = np.ptp(rows) + 1
        assert side == np.ptp(columns) + 1
        assert len(rows) == side**2 <= (0.2 * SIDE) ** 2


def test_stronger_augmentation_turns_further():
    def spread(strength: float) -> float:
        rng = np.random.default_rng(8)
        image = np.zeros((SIDE, SIDE), np.uint8)
        image[20:44, 10:54] = 200
        turned = [augmentation._warp(image[..., None], rng, strength, SIDE) for _ in range(60)]
        return float(np.mean([np.abs(t[..., 0].astype(int) - image).mean() for t in turned]))

    assert spread(1.0) > 1.5 * spread(0.3)
