"""Features of a frozen backbone are computed once, and a head learns from them."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from tumorlens.errors import TrainingError
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.networks.transfer import backbone_of, extractor, head_of
from tumorlens.study.training.transfer import frozen_features as frozen
from tumorlens.study.training.transfer.frozen_features import (
    AugmentedViews,
    FeatureSet,
    HeadPlan,
    frozen_features,
    train_head,
)
from tumorlens.study.training.validation_metrics import set_losses

SIDE = 32


def pixels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(5)
    built = NETWORKS["mobilenet"].build(SIDE, 6)
    for layer in backbone_of(built).layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    built(pixels(16)[..., None], training=True)
    return built


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """How many images go through the backbone, call by call."""
    seen: list[int] = []
    compute = frozen._features

    def count(network, images):
        seen.append(len(images))
        return compute(network, images)

    monkeypatch.setattr(frozen, "_features", count)
    return seen


# --- the cache --------------------------------------------------------------------------------


def test_features_are_those_of_the_network_in_half_precision(model, tmp_path):
    found = frozen_features(model, pixels(5), cache=tmp_path)
    expected = keras.ops.convert_to_numpy(extractor(model)(pixels(5)[..., None]))
    assert (found.shape, found.dtype) == ((5, 1, 768), np.float16)
    np.testing.assert_allclose(found[:, 0], expected, atol=2e-3 * np.abs(expected).max())


def test_a_second_call_computes_nothing_and_gives_the_same(model, tmp_path, counted):
    first = frozen_features(model, pixels(7), cache=tmp_path)
    again = frozen_features(model, pixels(7), cache=tmp_path)
    assert counted == [7]
    np.testing.assert_array_equal(first, again)


def test_equal_images_are_computed_once_and_new_ones_are_added(model, tmp_path, counted):
    images = pixels(4)
    frozen_features(model, images[[0, 1, 0, 1, 2]], cache=tmp_path)
    found = frozen_features(model, images[[3, 2, 0]], cache=tmp_path)
    assert counted == [3, 1]
    np.testing.assert_array_equal(found[1:], frozen_features(model, images[[2, 0]], cache=tmp_path))


def test_other_weights_have_other_features(model, tmp_path, counted):
    frozen_features(model, pixels(2), cache=tmp_path)
    first = backbone_of(model).layers[1].kernel
    kept = first.numpy()
    first.assign(kept * 1.5)
    frozen_features(model, pixels(2), cache=tmp_path)
    first.assign(kept)
    frozen_features(model, pixels(2), cache=tmp_path)
    assert counted == [2, 2]


def test_another_head_has_the_same_features(model, tmp_path, counted):
    frozen_features(model, pixels(2), cache=tmp_path)
    kernel = model.get_layer("atoms").kernel
    kernel.assign(kernel + 1.0)
    frozen_features(model, pixels(2), cache=tmp_path)
    assert counted == [2]


def test_a_run_broken_off_goes_on_with_the_chunk_it_was_at(model, tmp_path, counted, monkeypatch):
    monkeypatch.setattr(frozen, "CHUNK", 4)

    def stop(done: int, total: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        frozen_features(model, pixels(10), cache=tmp_path, progress=stop)
    heard = []
    frozen_features(model, pixels(10), cache=tmp_path, progress=lambda *now: heard.append(now))
    assert counted == [4, 4, 2]
    assert heard == [(10, 10)]


def test_views_are_the_image_itself_and_others_that_always_come_out_alike(model, tmp_path):
    views = AugmentedViews(3, strength=1.0, seed=2)
    found = frozen_features(model, pixels(4), cache=tmp_path / "a", views=views)
    again = frozen_features(model, pixels(4)[::-1], cache=tmp_path / "b", views=views)[::-1]
    assert found.shape == (4, 3, 768)
    np.testing.assert_allclose(found, again, atol=0.01)
    plain = frozen_features(model, pixels(4), cache=tmp_path / "a")
    np.testing.assert_array_equal(found[:, :1], plain)
    assert all(np.abs(found[:, a] - found[:, b]).max() > 0.1 for a, b in ((0, 1), (1, 2)))


def test_another_strength_or_seed_is_another_view(model, tmp_path, counted):
    for views in (
        AugmentedViews(2),
        AugmentedViews(2, strength=0.5),
        AugmentedViews(2, seed=1),
        AugmentedViews(2),
    ):
        frozen_features(model, pixels(2), cache=tmp_path, views=views)
    assert counted == [2, 2, 2, 2]


def test_features_that_are_not_numbers_are_refused(tmp_path):
    broken = NETWORKS["mobilenet"].build(SIDE, 6)
    kernel = backbone_of(broken).layers[1].kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    with pytest.raises(TrainingError, match="not numbers"):
        frozen_features(broken, pixels(2), cache=tmp_path)
    assert not list(tmp_path.rglob("*.keys"))


def test_a_damaged_chunk_is_an_error_that_says_what_to_delete(model, tmp_path):
    frozen_features(model, pixels(3), cache=tmp_path)
    [chunk] = tmp_path.rglob("*.npy")
    chunk.write_bytes(chunk.read_bytes()[:-3])
    with pytest.raises(TrainingError, match="damaged") as caught:
        frozen_features(model, pixels(3), cache=tmp_path)
    assert "Delete" in caught.value.fix
    assert caught.value.subject == str(chunk.parent)


# --- the head ---------------------------------------------------------------------------------


def blobs(n: int, seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Features of classes that lie apart, far from 0 and on scales far from 1."""
    rng = np.random.default_rng(seed)
    numbers = np.arange(n) % classes
    centers = np.random.default_rng(99).normal(0, 1, (classes, 8))
    features = (centers[numbers] + rng.normal(0, 0.4, (n, 8))) * np.geomspace(0.1, 30, 8) + 50
    return features.astype(np.float16), np.eye(classes, dtype=np.float32)[numbers]


def dense_head(hidden: int = 0) -> keras.Model:
    keras.utils.set_random_seed(1)
    entry = x = keras.Input((8,))
    if hidden:
        x = keras.layers.Dense(hidden, activation="relu")(x)
    x = keras.layers.Dropout(0.1)(x)
    return keras.Model(entry, keras.layers.Dense(3)(x))


def as_set(features: np.ndarray, masks: np.ndarray) -> FeatureSet:
    return FeatureSet(features[:, None], masks, np.arange(len(masks)), masks.argmax(1))


PLAN = HeadPlan(epochs=30, learning_rate=0.02, batch=16)


@pytest.mark.parametrize("hidden", [0, 16])
def test_a_head_learns_and_takes_features_as_they_are(hidden):
    head, (features, masks), (held, truth) = dense_head(hidden), blobs(240, 0), blobs(90, 1)
    found = train_head(
        head, as_set(features, masks), PLAN, validation=held,
        validate=lambda logits: float(set_losses(logits, truth).mean()),
    )  # fmt: skip
    logits = keras.ops.convert_to_numpy(head(held.astype(np.float32)))
    assert (logits.argmax(1) == truth.argmax(1)).mean() > 0.9
    assert float(set_losses(logits, truth).mean()) == pytest.approx(found.val_loss, rel=0.02)
    assert 1 <= found.epoch <= PLAN.epochs


def test_a_head_learns_from_labels_that_are_sets():
    features, masks = blobs(240, 0)
    masks[masks[:, 1] > 0, 2] = 1  # the second class is only known as "second or third"
    held, truth = blobs(90, 1)
    head = dense_head()
    train_head(
        head, as_set(features, masks), PLAN, validation=held,
        validate=lambda logits: float(set_losses(logits, truth).mean()),
    )  # fmt: skip
    logits = keras.ops.convert_to_numpy(head(held.astype(np.float32)))
    in_set = logits.argmax(1)[truth[:, 1] > 0]
    assert np.isin(in_set, (1, 2)).mean() > 0.9


def test_the_epoch_that_validates_best_is_kept():
    losses = iter([3.0, 1.0, 2.0])
    head, (features, masks) = dense_head(), blobs(60, 0)
    seen = []

    def judge(logits: np.ndarray) -> float:
        seen.append(logits)
        return next(losses)

    plan = replace(PLAN, epochs=3)
    found = train_head(head, as_set(features, masks), plan, validation=features, validate=judge)
    assert (found.epoch, found.val_loss) == (2, 1.0)
    logits = keras.ops.convert_to_numpy(head(features.astype(np.float32)))
    np.testing.assert_allclose(logits, seen[1], atol=0.05)


def test_a_head_that_diverges_is_a_clear_error():
    features, masks = blobs(60, 0)
    with pytest.raises(TrainingError, match="diverged"):
        train_head(
            dense_head(), as_set(features, masks), replace(PLAN, epochs=2), validation=features,
            validate=lambda logits: float("nan"),
        )  # fmt: skip


def test_the_same_seed_trains_the_same_head():
    features, masks = blobs(120, 0)
    made = []
    for _ in range(2):
        head = dense_head()
        train_head(
            head, as_set(features, masks), replace(PLAN, epochs=2), validation=features,
            validate=lambda logits: float(set_losses(logits, masks).mean()),
        )  # fmt: skip
        made.append(head.get_weights()[0])
    np.testing.assert_allclose(made[0], made[1], rtol=1e-4)


def test_a_head_of_a_network_is_trained_in_place(model, tmp_path: Path):
    images = pixels(24, seed=3)
    images[::2] //= 4  # dark and bright pictures
    masks = np.eye(6, dtype=np.float32)[np.arange(24) % 2]
    features = frozen_features(model, images, cache=tmp_path)
    before = keras.ops.convert_to_numpy(model(images[..., None]))
    data = FeatureSet(features, masks, np.arange(24), np.zeros(24, np.int64))
    train_head(
        head_of(model), data, replace(PLAN, epochs=10), validation=features[:, 0],
        validate=lambda logits: float(set_losses(logits, masks).mean()),
    )  # fmt: skip
    after = keras.ops.convert_to_numpy(model(images[..., None]))
    assert np.abs(after - before).max() > 0.1
    assert (after.argmax(1) == masks.argmax(1)).mean() > 0.9
