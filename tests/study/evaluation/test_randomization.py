"""Maps of a network gone astray are compared with its own, by rank."""

import numpy as np
import onnx
import pytest
from support.tiny_bundle import training_scans

from tumorlens.inputs.prepare import prepare
from tumorlens.json_records import to_json
from tumorlens.models.engine import Engine
from tumorlens.study.evaluation.explanation import (
    STAGES,
    layer_weights,
    randomization_figures,
    rank_correlations,
    write_shuffled,
)


@pytest.fixture(scope="module")
def prepared(tiny_bundle) -> np.ndarray:
    return np.stack([prepare(scan, tiny_bundle.spec).pixels for scan in training_scans()[:6]])


def test_like_maps_correlate_fully_and_a_flat_one_not_at_all():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(3, 5, 5))
    assert rank_correlations(maps, 2 * maps + 1) == pytest.approx(1)
    assert rank_correlations(maps, -maps) == pytest.approx(-1)
    assert rank_correlations(maps, np.zeros_like(maps)) == pytest.approx(0)


def test_weights_are_named_once_in_the_order_of_the_layers(tiny_bundle):
    assert layer_weights(onnx.load(str(tiny_bundle.graph))) == ["kernel", "dense"]


def test_shuffling_keeps_the_values_and_loses_the_answers(tiny_bundle, prepared, tmp_path):
    astray = write_shuffled(tiny_bundle, ["dense"], tmp_path, seed=0)
    before, after = (
        {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(str(b.graph)).graph.initializer}
        for b in (tiny_bundle, astray)
    )
    assert sorted(after["dense"].ravel()) == sorted(before["dense"].ravel())
    assert (after["kernel"] == before["kernel"]).all()
    assert not np.allclose(Engine(astray).run(prepared).logits,
                           Engine(tiny_bundle).run(prepared).logits)  # fmt: skip


def test_every_stage_has_its_correlation_with_interval_and_n(tiny_bundle, prepared):
    found = to_json(randomization_figures(prepared, np.arange(6).astype(str), tiny_bundle))
    assert [row["stage"] for row in found["rows"]] == [*STAGES, "other scan"]
    for row in found["rows"]:
        assert -1 <= row["correlation_low"] <= row["correlation"] <= row["correlation_high"] <= 1
        assert row["n"] == 6


def test_one_scan_alone_has_no_figures(tiny_bundle, prepared):
    assert to_json(randomization_figures(prepared[:1], np.array(["a"]), tiny_bundle)) is None
