"""A graph in 8 bits: smaller, nearly the same answers, and undone where it costs too much."""

from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from tumorlens.inputs.prepare import InputSpec
from tumorlens.labels import ATOMS
from tumorlens.models.bundle import GRAPH
from tumorlens.models.engine import Engine
from tumorlens.study.networks.from_scratch import build_residual
from tumorlens.study.phantom.drawing import draw_phantom
from tumorlens.study.training.packaging.export import AUCS, MAX_LOST, export_graph, quantize_graph
from tumorlens.study.training.packaging.packaging import draft_bundle

SAME = dict.fromkeys(AUCS, 0.9)
SIDE = 64


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> bytes:
    """The graph of a network in full precision."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("exported")
    return export_graph(build_residual(SIDE, len(ATOMS)), folder).read_bytes()


@pytest.fixture
def folder(tmp_path: Path, exported: bytes) -> Path:
    """A folder with that graph."""
    (tmp_path / GRAPH).write_bytes(exported)
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
    assert found["kept"]
    assert found["bytes"] == (folder / GRAPH).stat().st_size < 0.4 * before
    assert "QuantizeLinear" in operators(folder)
    narrow = logits_of(folder, images)
    assert np.corrcoef(wide.ravel(), narrow.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("name", AUCS)
def test_a_narrow_graph_that_ranks_worse_is_undone(folder, images, name):
    before = (folder / GRAPH).read_bytes()
    answers = iter([SAME, {**SAME, name: 0.9 - 2 * MAX_LOST}])
    found = quantize_graph(folder, images, lambda: next(answers))
    assert not found["kept"]
    assert (folder / GRAPH).read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == [GRAPH]
