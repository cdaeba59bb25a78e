"""Stored maps: each image passes once, and what lies above answers as the whole network does."""

import keras
import numpy as np
import pytest
from keras import layers
from studies.baselines.cached_maps import MAPS, POOLED, compute_maps, cut_before, read_maps

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Return a network built as those of `networks.transfer` are."""
    keras.utils.set_random_seed(0)
    colors = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="low")(colors)
    x = layers.Conv2D(5, 3, activation="relu", name="high")(x)
    backbone = keras.Model(colors, x, name="backbone")
    scan = keras.Input((8, 8, 1), dtype="uint8", name="scan")
    x = layers.Concatenate(name="channels")([scan] * 3)
    x = backbone(layers.Rescaling(1 / 127.5, offset=-1.0)(x))
    x = layers.GlobalAveragePooling2D(name="pooled")(
        layers.Activation("linear", name="features")(x)
    )
    return keras.Model(scan, layers.Dense(2)(x), name="small")


def test_what_lies_above_stored_maps_answers_as_the_whole_network(model, tmp_path):
    seam = cut_before(model, "high")
    compute_maps(seam, IMAGES, cache=tmp_path)
    rows, known = read_maps(seam, IMAGES, MAPS, cache=tmp_path)
    maps = rows.take(np.arange(5), np.empty((5, 6, 6, 4), np.float16)).astype(np.float32)
    for layer in seam.above:
        maps = np.asarray(layer(maps))
    pooled, _ = read_maps(seam, IMAGES, POOLED, cache=tmp_path)
    whole = np.asarray(
        keras.Model(model.input, model.get_layer("pooled").output)(IMAGES[..., None])
    )
    assert known.all()
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), whole, atol=2e-3)
    stored = pooled.take(np.arange(5), np.empty((5, 5), np.float16))
    np.testing.assert_allclose(stored, whole, atol=2e-3)


def test_an_image_that_is_stored_does_not_pass_again(model, tmp_path):
    seam, passed = cut_before(model, "high"), []
    compute_maps(seam, IMAGES[:3], cache=tmp_path)
    compute_maps(seam, IMAGES, cache=tmp_path, progress=lambda done, total: passed.append(total))
    assert passed == [2]


def test_weights_that_changed_have_a_folder_of_their_own(model, tmp_path):
    before = cut_before(model, "high").folder(tmp_path)
    kernel = model.get_layer("backbone").get_layer("low").kernel
    value = np.array(kernel)
    kernel.assign(value + 1)
    assert cut_before(model, "high").folder(tmp_path) != before
    kernel.assign(value)
