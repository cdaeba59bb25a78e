"""A graph in 8 bits: smaller, nearly the same answers, and undone where it costs too much."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tumorlens.models.bundle import GRAPH, load_bundle
from tumorlens.models.engine import Engine
from tumorlens.study.phantom.drawing import draw_phantom
from tumorlens.study.training.quantize import AUCS, MOST_LOST, narrow_graph

SAME = dict.fromkeys(AUCS, 0.9)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the graph of the shipped bundle."""
    (tmp_path / GRAPH).write_bytes(load_bundle().graph.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    side = load_bundle().spec.side
    return np.stack([draw_phantom("mri", "glioma", seed=s, side=side).pixels for s in range(12)])


def operators(folder: Path) -> set[str]:
    return {node.op_type for node in onnx.load(folder / GRAPH).graph.node}


def test_a_narrow_graph_is_a_third_of_the_size_and_answers_nearly_the_same(folder, images):
    before = (folder / GRAPH).stat().st_size
    found = narrow_graph(folder, images, lambda: SAME)
    assert found["kept"]
    assert found["bytes"] == (folder / GRAPH).stat().st_size < 0.4 * before
    assert "QuantizeLinear" in operators(folder)
    bundle = load_bundle()
    wide = Engine(bundle).run(images).logits
    narrow = Engine(replace(bundle, folder=folder)).run(images).logits
    assert np.corrcoef(wide.ravel(), narrow.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("name", AUCS)
def test_a_narrow_graph_that_ranks_worse_is_undone(folder, images, name):
    before = (folder / GRAPH).read_bytes()
    answers = iter([SAME, {**SAME, name: 0.9 - 2 * MOST_LOST}])
    found = narrow_graph(folder, images, lambda: next(answers))
    assert not found["kept"]
    assert (folder / GRAPH).read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == [GRAPH]
