"""Every network from scratch takes prepared pixels and gives logits that its maps add up to."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tumorlens.labels import ATOMS
from tumorlens.study.networks.registry import NETWORKS, NetworkRow
from tumorlens.study.networks.serving import serving_graph

OWN = {name: row for name, row in NETWORKS.items() if not row.family}
rows = pytest.mark.parametrize("row", OWN.values(), ids=OWN.keys())
residual = pytest.mark.parametrize("name", ["residual-small", "residual-tiny"])
models: dict[tuple[str, int], keras.Model] = {}


def pixels(side: int, n: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 1), dtype=np.uint8)


def build(row: NetworkRow, side: int = 64) -> keras.Model:
    """Build each network once, with biases that are not zero, as after training."""
    if (row.name, side) not in models:
        keras.utils.set_random_seed(1)
        model = row.build(side, len(ATOMS))
        for layer in model.layers:
            if isinstance(layer, layers.Dense):
                layer.bias.assign(np.random.default_rng(2).normal(0, 0.1, layer.bias.shape))
        models[row.name, side] = model
    return models[row.name, side]


def run(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    return [ops.convert_to_numpy(value) for value in model(images)]


@rows
@pytest.mark.parametrize("side", [64, 96])
def test_a_network_gives_one_row_of_logits_per_image(row, side):
    logits = ops.convert_to_numpy(build(row, side)(pixels(side)))
    assert logits.shape == (2, len(ATOMS))
    assert np.isfinite(logits).all()


@residual
def test_a_network_of_ours_is_small_enough_for_two_cores(name):
    assert build(NETWORKS[name]).count_params() <= 2_000_000


@pytest.mark.parametrize(
    ("name", "side", "shape", "dense"),
    [
        ("baseline-cnn-gray", 224, (14, 14, 256), [64, 32, 6]),
        ("baseline-cnn-tuned", 240, (30, 30, 64), [128, 6]),
        ("baseline-cnn-small", 128, (8, 8, 64), [1000, 6]),
    ],
)
def test_an_earlier_network_has_the_layers_it_was_described_with(name, side, shape, dense):
    model = NETWORKS[name].build(side, len(ATOMS))
    assert model.get_layer("features").output.shape[1:] == shape
    found = [layer.units for layer in model.layers if isinstance(layer, layers.Dense)]
    assert found == dense


@pytest.mark.parametrize("width", [64, 512])
def test_the_tuned_width_is_an_option(width):
    model = NETWORKS["baseline-cnn-tuned"].build(32, 3, dense=width)
    assert [layer.units for layer in model.layers if isinstance(layer, layers.Dense)] == [width, 3]


@pytest.mark.parametrize("row", NETWORKS.values(), ids=NETWORKS.keys())
def test_a_network_is_listed_under_its_own_name_with_a_summary(row):
    assert NETWORKS[row.name] is row
    assert row.summary


def embedded(model: keras.Model) -> int:
    """Numbers of an embedding: the features', and two for each map of the texture."""
    depth = model.get_layer("features").output.shape[-1]
    textures = [layer for layer in model.layers if layer.name == "texture"]
    return depth + sum(2 * layer.output.shape[-1] for layer in textures)


@pytest.mark.parametrize("name", ["residual-small", "residual-tiny"])
def test_both_depths_of_an_embedding_have_their_own_length(name):
    model = build(NETWORKS[name])
    embedding = run(serving_graph(model), pixels(64))[2]
    depth = model.get_layer("features").output.shape[-1]
    np.testing.assert_allclose(np.linalg.norm(embedding[:, :depth], axis=1), 1, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(embedding[:, depth:], axis=1), 2, rtol=1e-4)


@rows
def test_the_mean_of_the_maps_is_the_logit(row):
    logits, maps, embedding = run(serving_graph(build(row)), pixels(64))
    np.testing.assert_allclose(maps.mean((1, 2)), logits, atol=1e-4)
    assert maps.shape[-1] == len(ATOMS)
    assert maps.shape[1] == maps.shape[2] >= 4
    assert embedding.shape == (2, embedded(build(row)))


@rows
def test_the_maps_are_the_gradient_times_the_features(row):
    """Automatic differentiation says the same as the product of kernels written out."""
    tf = pytest.importorskip("tensorflow")
    model = build(row)
    at = model.layers.index(model.get_layer("features"))
    features = tf.Variable(keras.Model(model.input, model.layers[at].output)(pixels(64)))
    with tf.GradientTape(persistent=True) as tape:
        x = features
        for layer in model.layers[at + 1 :]:
            x = layer(x)
        chosen = x[:, 3]
    product = (tape.gradient(chosen, features) * features).numpy().sum(-1)
    maps = run(serving_graph(model), pixels(64))[1][..., 3]
    places = maps.shape[1] * maps.shape[2]
    expected = product - product.mean((1, 2), keepdims=True)
    found = (maps - maps.mean((1, 2), keepdims=True)) / places
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(expected).max() > 1e-4


@rows
def test_the_serving_graph_gives_the_logits_of_the_network_itself(row):
    np.testing.assert_allclose(
        run(serving_graph(build(row)), pixels(64))[0],
        ops.convert_to_numpy(build(row)(pixels(64))),
        atol=1e-5,
    )


@residual
def test_one_dense_layer_gives_class_activation_maps(name):
    model = build(NETWORKS[name])
    features = keras.Model(model.input, model.get_layer("features").output)(pixels(64))
    expected = ops.convert_to_numpy(model.get_layer("atoms")(features))
    np.testing.assert_allclose(run(serving_graph(model), pixels(64))[1], expected, atol=1e-4)


def test_the_number_of_atoms_is_free():
    assert NETWORKS["residual-tiny"].build(64, 2).output.shape[-1] == 2


@rows
def test_normalization_is_inside_so_that_dark_and_bright_images_differ(row):
    dark, bright = np.full((1, 64, 64, 1), 10, np.uint8), np.full((1, 64, 64, 1), 240, np.uint8)
    assert float(ops.max(ops.abs(build(row)(dark) - build(row)(bright)))) > 1e-3
