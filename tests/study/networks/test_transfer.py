"""Pretrained networks: their own preprocessing, their weights, what learns, and their export."""

import os
from pathlib import Path

import keras
import numpy as np
import onnxruntime as ort
import pytest
from keras import layers, ops

from tumorlens.errors import TrainingError
from tumorlens.labels import ATOMS
from tumorlens.models.engine import OUTPUTS
from tumorlens.study.networks import weights as weights_module
from tumorlens.study.networks.families import FAMILIES
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.networks.serving import serving_graph
from tumorlens.study.networks.transfer import ALL_BLOCKS, backbone_of, freeze, head_of
from tumorlens.study.networks.weights import file_digest, load_weights, weights_digest
from tumorlens.study.training.packaging.export import export_graph

# Lite1 and Lite2 are Lite0, wider or deeper: what holds of it is not built thrice.
SHAPES = [name for name in FAMILIES if name not in ("efficientnet-lite1", "efficientnet-lite2")]
families = pytest.mark.parametrize("name", SHAPES)
WEIGHTS = "weights/mobilenet_7_5_224_tf_no_top.weights.h5"
MODULES = {
    "xception": keras.applications.xception,
    "inception-v3": keras.applications.inception_v3,
    "mobilenet": keras.applications.mobilenet,
    "densenet121": keras.applications.densenet,
    "efficientnet-v2-b0": keras.applications.efficientnet_v2,
    "convnext-tiny": keras.applications.convnext,
    "efficientnet-lite0": keras.applications.mobilenet,  # it saw the same: -1 to 1
    "efficientnet-lite0-truncated": keras.applications.mobilenet,
}
LIGHT = ("mobilenet", "baseline-cnn-gray", "baseline-cnn-tuned", "baseline-cnn-small")
slow = pytest.mark.skipif(
    not os.environ.get("TUMORLENS_SLOW_TESTS"),
    reason="set TUMORLENS_SLOW_TESTS to export the large networks too (minutes)",
)
models: dict[str, keras.Model] = {}


def pixels(side: int, n: int = 4) -> np.ndarray:
    """Smooth pictures, uint8 [n, side, side, 1]."""
    coarse = np.random.default_rng(0).integers(0, 256, (n, 8, 8), dtype=np.uint8)
    tiled = coarse.repeat(side // 8 + 1, 1).repeat(side // 8 + 1, 2)
    return tiled[:, :side, :side, None]


def build(name: str) -> keras.Model:
    """Build each network once, with statistics and biases as if it had been trained."""
    if name not in models:
        keras.utils.set_random_seed(1)
        row = NETWORKS[name]
        model = row.build(row.min_side, len(ATOMS))
        if backbone := backbone_of(model):
            spread = [one for one in backbone.layers if isinstance(one, layers.BatchNormalization)]
            momenta = [one.momentum for one in spread]
            for one in spread:
                one.momentum = 0.0  # the statistics of one batch of pictures are taken over
            model(pixels(row.min_side, 32), training=True)
            for one, momentum in zip(spread, momenta, strict=True):
                one.momentum = momentum
        for layer in model.layers:
            if isinstance(layer, layers.Dense):
                layer.bias.assign(np.random.default_rng(2).normal(0, 0.1, layer.bias.shape))
        models[name] = model
    return models[name]


def run(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    found = model(images)
    return [
        ops.convert_to_numpy(one) for one in (found if isinstance(found, list | tuple) else [found])
    ]


@families
def test_a_network_gives_logits_maps_that_add_up_to_them_and_an_embedding(name):
    model, side = build(name), NETWORKS[name].min_side
    logits, maps, embedding = run(serving_graph(model), pixels(side))
    features = model.get_layer("features").output.shape
    assert logits.shape == (4, len(ATOMS))
    assert maps.shape == (4, *features[1:3], len(ATOMS))
    assert embedding.shape == (4, features[-1])
    np.testing.assert_allclose(logits, run(model, pixels(side))[0], atol=1e-4)
    np.testing.assert_allclose(maps.mean((1, 2)), logits, atol=1e-4)
    assert logits.std() > 1e-3


@families
def test_the_graph_sees_what_the_family_was_trained_to_see(name):
    """The feature maps equal those of Keras Applications after its own preprocess_input."""
    model, row, side = build(name), FAMILIES[name], NETWORKS[name].min_side
    options = {key: value for key, value in row.options.items() if key != "include_preprocessing"}
    reference = row.make(include_top=False, weights=None, input_shape=(side, side, 3), **options)
    values = [
        value.reshape(variable.shape)
        for value, variable in zip(backbone_of(model).get_weights(), reference.weights, strict=True)
    ]
    reference.set_weights(values)
    color = np.repeat(pixels(side), 3, -1).astype(np.float32)
    expected = run(reference, MODULES[name].preprocess_input(color.copy()))[0]
    [found] = run(keras.Model(model.input, model.get_layer("features").output), pixels(side))
    # Rounding grows over hundreds of random layers; another family's preprocessing is far off.
    np.testing.assert_allclose(found, expected, atol=0.01 * np.abs(expected).max())
    assert np.abs(expected).max() > 1e-3


def check_export(name: str, folder: Path) -> None:
    model, side = build(name), NETWORKS[name].min_side
    graph = export_graph(model, folder)
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    images = pixels(side, 5)
    found = session.run(list(OUTPUTS), {session.get_inputs()[0].name: images})
    logits, *others = run(serving_graph(model), images)
    np.testing.assert_allclose(ops.softmax(found[0]), ops.softmax(logits), atol=1e-4)
    for one, expected in zip(found[1:], others, strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("name", LIGHT)
def test_the_exported_graph_answers_as_the_network(name, tmp_path):
    check_export(name, tmp_path)


@slow
@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in LIGHT])
def test_a_large_exported_graph_answers_as_the_network(name, tmp_path):
    check_export(name, tmp_path)


def test_the_head_of_xception_is_the_published_one():
    head = build("xception").layers[-5:]
    assert [type(layer) for layer in head] == [
        layers.GlobalAveragePooling2D, layers.Dense, layers.Dense, layers.Dropout, layers.Dense,
    ]  # fmt: skip
    assert [layer.units for layer in head if isinstance(layer, layers.Dense)] == [256, 100, 6]


def test_the_head_alone_gives_the_logits_of_the_network():
    model = build("xception")
    pooled = keras.Model(model.input, model.get_layer("pooled").output)(pixels(71))
    np.testing.assert_allclose(run(head_of(model), pooled), run(model, pixels(71)), atol=1e-5)


# --- what learns ------------------------------------------------------------------------------


@families
def test_with_no_blocks_only_the_head_learns(name):
    model = build(name)
    freeze(model, name, blocks=0, keep_statistics=True)
    head = [one for one in model.layers if isinstance(one, layers.Dense | layers.Conv2D)]
    assert len(model.trainable_variables) == 2 * len(head)
    freeze(model, name, blocks=ALL_BLOCKS, keep_statistics=False)


@families
def test_more_blocks_let_more_learn_up_to_all(name):
    model = build(name)
    counts = []
    for blocks in (0, 1, 2, 3, ALL_BLOCKS):
        freeze(model, name, blocks=blocks, keep_statistics=True)
        counts.append(sum(int(np.prod(v.shape)) for v in model.trainable_variables))
    assert counts == sorted(set(counts))
    freeze(model, name, blocks=ALL_BLOCKS, keep_statistics=False)


def test_kept_statistics_are_those_of_use_also_in_training():
    model = build("mobilenet")
    freeze(model, "mobilenet", blocks=ALL_BLOCKS, keep_statistics=True)
    backbone = backbone_of(model)
    seen = np.random.default_rng(0).normal(0, 1, (4, 32, 32, 3)).astype(np.float32)
    in_use, in_training = backbone(seen, training=False), backbone(seen, training=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(in_use), ops.convert_to_numpy(in_training))
    freeze(model, "mobilenet", blocks=ALL_BLOCKS, keep_statistics=False)


# --- weights ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """Weights of a MobileNet as Keras Applications builds it, in a file."""
    keras.utils.set_random_seed(7)
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    FAMILIES["mobilenet"].make(
        include_top=False, weights=None, input_shape=(64, 64, 3), alpha=0.75
    ).save_weights(path)
    return path


def test_a_file_of_another_side_fills_the_backbone_and_leaves_the_head(saved):
    model = NETWORKS["mobilenet"].build(32, 6)
    head = head_of(model).get_weights()
    before = weights_digest(backbone_of(model))
    load_weights(model, "mobilenet", str(saved))
    reference = FAMILIES["mobilenet"].make(
        include_top=False, weights=str(saved), input_shape=(32, 32, 3), alpha=0.75
    )
    found, expected = backbone_of(model).get_weights(), reference.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert weights_digest(backbone_of(model)) != before
    assert all(
        np.array_equal(a, b) for a, b in zip(head_of(model).get_weights(), head, strict=True)
    )


def test_grouped_kernels_of_a_file_come_through_the_rewriting(tmp_path):
    family = FAMILIES["convnext-tiny"]
    donor = family.make(include_top=False, weights=None, input_shape=(32, 32, 3))
    donor.save_weights(tmp_path / "convnext.weights.h5")
    model = NETWORKS["convnext-tiny"].build(32, 6)
    load_weights(model, "convnext-tiny", str(tmp_path / "convnext.weights.h5"))
    [found] = run(keras.Model(model.input, model.get_layer("features").output), pixels(32))
    [expected] = run(donor, np.repeat(pixels(32), 3, -1).astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.fixture(scope="module")
def unfilled() -> keras.Model:
    """A MobileNet that weights are refused for."""
    return NETWORKS["mobilenet"].build(32, 6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "is no file of weights"),
        (lambda path: path.write_bytes(b"no weights"), "does not fit mobilenet"),
        (lambda path: path.write_bytes(b""), "does not fit mobilenet"),
        (lambda path: path.mkdir(), "is no file of weights"),
        (
            lambda path: keras.Sequential([keras.Input((3,)), layers.Dense(2)]).save_weights(path),
            "does not fit mobilenet",
        ),
    ],
    ids=["missing", "text", "empty", "folder", "of another network"],
)
def test_a_file_that_cannot_be_used_is_one_clear_error(make, message, tmp_path, unfilled):
    path = tmp_path / "some.weights.h5"
    make(path)
    with pytest.raises(TrainingError, match=message) as caught:
        load_weights(unfilled, "mobilenet", str(path))
    assert "--weights PATH" in caught.value.fix


def test_a_file_cut_short_is_one_clear_error(saved, tmp_path, unfilled):
    path = tmp_path / "cut.weights.h5"
    path.write_bytes(saved.read_bytes()[:100_000])
    with pytest.raises(TrainingError, match="does not fit mobilenet"):
        load_weights(unfilled, "mobilenet", str(path))


def test_weights_that_are_not_numbers_are_refused(tmp_path, unfilled):
    donor = FAMILIES["mobilenet"].make(
        include_top=False, weights=None, input_shape=(32, 32, 3), alpha=0.75
    )
    donor.layers[1].kernel.assign(np.full(donor.layers[1].kernel.shape, np.nan))
    donor.save_weights(tmp_path / "nan.weights.h5")
    with pytest.raises(TrainingError, match="not numbers"):
        load_weights(unfilled, "mobilenet", str(tmp_path / "nan.weights.h5"))


def test_a_download_that_fails_names_the_way_without_one(monkeypatch, unfilled):
    def fail(*_: object, **__: object) -> None:
        raise Exception("URL fetch failure on a host: no route")  # as Keras does

    monkeypatch.setattr(weights_module, "application", fail)
    with pytest.raises(TrainingError, match="could not be downloaded") as caught:
        load_weights(unfilled, "mobilenet", "imagenet")
    assert "--weights PATH" in caught.value.fix
    assert "no route" in caught.value.fact


def test_a_network_from_scratch_takes_no_weights(saved):
    model = NETWORKS["residual-tiny"].build(32, 6)
    with pytest.raises(TrainingError, match="starts from random"):
        load_weights(model, "", str(saved))
    load_weights(model, "", "none")


def test_the_digest_of_a_missing_file_is_a_clear_error(tmp_path):
    with pytest.raises(TrainingError, match="cannot be read"):
        file_digest(tmp_path / "missing.h5")


@pytest.mark.skipif(
    not (Path(os.environ.get("TUMORLENS_DATA", "")) / WEIGHTS).is_file(),
    reason="set TUMORLENS_DATA to a folder with weights/",
)
def test_real_imagenet_weights_load_and_tell_pictures_apart():
    model = NETWORKS["mobilenet"].build(64, 6)
    load_weights(model, "mobilenet", str(Path(os.environ["TUMORLENS_DATA"]) / WEIGHTS))
    [pooled] = run(keras.Model(model.input, model.get_layer("pooled").output), pixels(64))
    assert pooled.shape == (4, 768)
    assert 0 <= pooled.min() < pooled.max() <= 6
    assert pooled.std(0).max() > 0.1
