"""Facts about running a bundle's graph."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from support.tiny_bundle import SIDE, write_graph

from tumorlens.errors import BundleError
from tumorlens.models.engine import Engine


@pytest.fixture(scope="module")
def engine(tiny_bundle):
    return Engine(tiny_bundle)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE), np.uint8)


def test_a_batch_gives_three_outputs_per_scan(engine, pixels):
    raw = engine.run(pixels)
    assert raw.logits.shape == (5, 6)
    assert raw.maps.shape == (5, 8, 8, 6)
    assert raw.embedding.shape == (5, 12)
    assert raw.logits.dtype == raw.maps.dtype == raw.embedding.dtype == np.float32


def test_the_mean_of_the_maps_is_the_logit(engine, pixels):
    raw = engine.run(pixels)
    np.testing.assert_allclose(raw.maps.mean(axis=(1, 2)), raw.logits, atol=1e-4)


def test_a_scan_gives_the_same_alone_as_in_a_batch(engine, pixels):
    whole = engine.run(pixels)
    for row in range(5):
        alone = engine.run(pixels[row : row + 1])
        np.testing.assert_allclose(alone.logits[0], whole.logits[row], atol=1e-5)
        np.testing.assert_allclose(alone.embedding[0], whole.embedding[row], atol=1e-5)


def test_other_pixels_give_other_logits(engine, pixels):
    logits = engine.run(pixels).logits
    assert np.abs(np.diff(logits, axis=0)).max(axis=1).min() > 1e-3


def test_several_threads_may_run_at_once(engine, pixels):
    expected = engine.run(pixels).logits
    with ThreadPoolExecutor(4) as pool:
        for raw in pool.map(engine.run, [pixels] * 20):
            np.testing.assert_array_equal(raw.logits, expected)


@pytest.mark.parametrize("data", [b"", b"not a graph", bytes(1000)])
def test_a_file_that_is_no_graph_is_refused_by_name(tiny_bundle, tmp_path, data):
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.onnx"):
        Engine(replace(tiny_bundle, folder=tmp_path))


def test_a_missing_graph_is_refused_by_name(tiny_bundle, tmp_path):
    with pytest.raises(BundleError, match=r"model\.onnx"):
        Engine(replace(tiny_bundle, folder=tmp_path))


def test_a_graph_without_one_of_the_outputs_is_refused_when_it_is_loaded(tiny_bundle, tmp_path):
    graph = tmp_path / "model.onnx"
    write_graph(graph, outputs=("atoms", "embedding"))
    sha256 = hashlib.sha256(graph.read_bytes()).hexdigest()
    with pytest.raises(BundleError, match="maps"):
        Engine(replace(tiny_bundle, folder=tmp_path, graph_sha256=sha256))
