"""The exported graph answers as the network does; in 8 bits it is smaller and nearly as good."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tumorlens.errors import TrainingError
from tumorlens.inputs.prepare import InputSpec
from tumorlens.labels import ATOMS
from tumorlens.models.bundle import GRAPH
from tumorlens.models.engine import OUTPUTS, Engine
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.phantom.drawing import draw_phantom
from tumorlens.study.training.packaging import export
from tumorlens.study.training.packaging.assemble import draft_bundle
from tumorlens.study.training.packaging.export import (
    AUCS,
    MAX_LOST,
    TOLERANCE,
    check_round_trip,
    export_graph,
    quantize_graph,
)

SIDE = 64


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(3)
    return NETWORKS["residual-tiny"].build(SIDE, len(ATOMS))


@pytest.fixture(scope="module")
def graph(model, tmp_path_factory):
    return export_graph(model, tmp_path_factory.mktemp("export") / "deep")


@pytest.fixture(scope="module")
def session(graph):
    return ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])


def pixels(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, SIDE, SIDE), dtype=np.uint8)


def test_the_graph_is_a_valid_model_under_its_usual_name(graph):
    assert graph.name == "model.onnx"
    onnx.checker.check_model(onnx.load(graph))


def test_the_graph_takes_bytes_and_gives_the_three_outputs_of_a_bundle(session):
    assert [output.name for output in session.get_outputs()] == list(OUTPUTS)
    [entry] = session.get_inputs()
    assert entry.type == "tensor(uint8)"
    assert entry.shape[1:] == [SIDE, SIDE, 1]


@pytest.mark.parametrize("n", [1, 7])
def test_a_batch_of_any_size_is_answered(session, n):
    logits, maps, embedding = session.run(
        list(OUTPUTS), {session.get_inputs()[0].name: pixels(n)[..., None]}
    )
    assert logits.shape == (n, len(ATOMS))
    assert maps.shape[0] == n
    assert maps.shape[-1] == len(ATOMS)
    assert embedding.shape[0] == n
    np.testing.assert_allclose(maps.mean((1, 2)), logits, atol=1e-4)


def test_the_engine_gives_what_the_network_gives(model, graph, tiny_bundle):
    engine = Engine(replace(tiny_bundle, folder=graph.parent, graph_sha256=""))
    logits = engine.run(pixels(9)).logits
    expected = keras.ops.convert_to_numpy(model(pixels(9)[..., None], training=False))
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert check_round_trip(model, logits, pixels(9)) < TOLERANCE


def test_a_changed_weight_is_caught(model, graph, tiny_bundle):
    logits = (
        Engine(replace(tiny_bundle, folder=graph.parent, graph_sha256="")).run(pixels(9)).logits
    )
    changed = keras.models.clone_model(model)
    weights = model.get_weights()
    weights[-2] = weights[-2] + 0.05 * np.random.default_rng(0).normal(size=weights[-2].shape)
    changed.set_weights(weights)
    with pytest.raises(TrainingError, match="differs from the trained network"):
        check_round_trip(changed, logits, pixels(9))


def test_logits_that_are_not_numbers_are_caught(model):
    with pytest.raises(TrainingError, match="differs"):
        check_round_trip(model, np.full((2, len(ATOMS)), np.nan, np.float32), pixels(2))


SAME = dict.fromkeys(AUCS, 0.9)


@pytest.fixture
def folder(tmp_path: Path, graph: Path) -> Path:
    """A folder with the exported graph."""
    (tmp_path / GRAPH).write_bytes(graph.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([draw_phantom("mri", "glioma", seed=s, side=SIDE).pixels for s in range(12)])


def operators(folder: Path) -> set[str]:
    return {node.op_type for node in onnx.load(folder / GRAPH).graph.node}


def logits_of(folder: Path, images: np.ndarray) -> np.ndarray:
    return Engine(draft_bundle(folder, "x", InputSpec(side=SIDE))).run(images).logits


def test_a_narrow_graph_is_a_third_of_the_size_and_answers_nearly_the_same(folder, images):
    wide = logits_of(folder, images)
    before = (folder / GRAPH).stat().st_size
    found = quantize_graph(folder, images, lambda: SAME)
    assert found.kept
    assert found.bytes == (folder / GRAPH).stat().st_size < 0.4 * before
    assert "QuantizeLinear" in operators(folder)
    narrow = logits_of(folder, images)
    assert np.corrcoef(wide.ravel(), narrow.ravel())[0, 1] > 0.98


WORSE = {**SAME, AUCS[0]: 0.9 - 2 * MAX_LOST}


def test_where_narrow_activations_rank_worse_the_weights_alone_are_narrowed(folder, images):
    wide = logits_of(folder, images)
    before = (folder / GRAPH).stat().st_size
    answers = iter([SAME, WORSE, SAME])
    found = quantize_graph(folder, images, lambda: next(answers))
    assert (found.kept, found.of) == (True, "weights")
    assert found.bytes == (folder / GRAPH).stat().st_size < 0.4 * before
    assert "QuantizeLinear" not in operators(folder)
    assert np.corrcoef(wide.ravel(), logits_of(folder, images).ravel())[0, 1] > 0.999
    onnx.checker.check_model(onnx.load(folder / GRAPH))


@pytest.mark.parametrize("name", AUCS)
def test_a_narrow_graph_that_ranks_worse_is_undone(folder, images, name):
    before = (folder / GRAPH).read_bytes()
    worse = {**SAME, name: 0.9 - 2 * MAX_LOST}
    answers = iter([SAME, worse, worse])
    found = quantize_graph(folder, images, lambda: next(answers))
    assert not found.kept
    assert (folder / GRAPH).read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == [GRAPH]


def test_a_backend_that_cannot_export_names_the_one_that_can(model, tmp_path, monkeypatch):
    class Graph:
        def export(self, *_words: object, **_options: object) -> None:
            raise ImportError("This requires the jax2onnx module.")

    monkeypatch.setattr(export, "serving_graph", lambda _model, **_options: Graph())
    with pytest.raises(TrainingError, match=r"jax2onnx.*KERAS_BACKEND=tensorflow and --resume"):
        export_graph(model, tmp_path)
