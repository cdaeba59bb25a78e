"""Every network takes prepared pixels and gives logits that its maps add up to."""

import keras
import numpy as np
import pytest

from tumorlens.labels import ATOMS
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.networks.residual import serving_graph

rows = pytest.mark.parametrize("row", NETWORKS.values(), ids=NETWORKS.keys())


def pixels(side: int, n: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 1), dtype=np.uint8)


@rows
@pytest.mark.parametrize("side", [64, 96])
def test_a_network_gives_one_row_of_logits_per_image(row, side):
    model = row.build(side, len(ATOMS))
    logits = keras.ops.convert_to_numpy(model(pixels(side)))
    assert logits.shape == (2, len(ATOMS))
    assert np.isfinite(logits).all()


@rows
def test_a_network_is_small_enough_for_two_cores(row):
    assert row.build(64, len(ATOMS)).count_params() <= 2_000_000


@rows
def test_a_network_is_listed_under_its_own_name_with_a_summary(row):
    assert NETWORKS[row.name] is row
    assert row.summary


@rows
def test_the_mean_of_the_maps_is_the_logit(row):
    model = row.build(64, len(ATOMS))
    logits, maps, embedding = map(keras.ops.convert_to_numpy, serving_graph(model)(pixels(64)))
    np.testing.assert_allclose(maps.mean((1, 2)), logits, atol=1e-4)
    assert maps.shape[-1] == len(ATOMS)
    assert maps.shape[1] == maps.shape[2] >= 4
    assert embedding.ndim == 2


@rows
def test_the_serving_graph_gives_the_logits_of_the_network_itself(row):
    model = row.build(64, len(ATOMS))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(serving_graph(model)(pixels(64))[0]),
        keras.ops.convert_to_numpy(model(pixels(64))),
        atol=1e-5,
    )


def test_the_number_of_atoms_is_free():
    assert NETWORKS["residual-tiny"].build(64, 2).output.shape[-1] == 2


def test_normalization_is_inside_so_that_dark_and_bright_images_differ():
    model = NETWORKS["residual-tiny"].build(64, len(ATOMS))
    dark, bright = np.full((1, 64, 64, 1), 10, np.uint8), np.full((1, 64, 64, 1), 240, np.uint8)
    assert float(keras.ops.max(keras.ops.abs(model(dark) - model(bright)))) > 1e-3
