"""A map that knows what matters beats chance, and depends on what the network learned."""

import numpy as np
import onnx
import pytest
from scipy.special import expit
from support.tiny_bundle import training_scans

from tumorlens.inputs.prepare import prepare
from tumorlens.json_records import to_json
from tumorlens.models.bundle import load_bundle
from tumorlens.models.engine import Engine
from tumorlens.records import Heatmap, Scan
from tumorlens.study.evaluation.explanation import (
    DELETED,
    STAGES,
    delete,
    deletion_figures,
    layer_weights,
    randomization_figures,
    rank_correlations,
    write_shuffled,
)
from tumorlens.study.phantom import draw_phantom

SIDE = 32
SPOT = (slice(4, 8), slice(20, 24))


def head_with_spot() -> np.ndarray:
    prepared = np.full((SIDE, SIDE), 90, np.uint8)
    prepared[SPOT] = 250
    prepared[:2] = 0
    return prepared


def spot_probability(pixels: np.ndarray) -> np.ndarray:
    """Sees a tumor as far as the spot is bright."""
    bright = pixels[:, SPOT[0], SPOT[1]].mean((1, 2)) / 255
    return expit(40 * (bright - 0.6))


def evidence_at(rows: slice, columns: slice) -> np.ndarray:
    evidence = np.zeros((SIDE, SIDE), np.float32)
    evidence[rows, columns] = 1
    return evidence


def figures(evidence: np.ndarray, n: int = 3):
    heatmaps = [Heatmap(evidence, head_with_spot())] * n
    return to_json(deletion_figures(heatmaps, np.arange(n).astype(str), spot_probability))


def test_a_map_of_what_matters_falls_first_and_beats_both_orders_that_know_nothing():
    found = figures(evidence_at(*SPOT))
    assert found["heatmap"][0] > 0.99
    assert found["heatmap"][1] < 0.1  # 2 % deleted: the spot
    assert found["gain_random"] > 0.1
    assert found["gain_middle"] > 0.1


def test_a_map_of_another_place_gains_nothing_on_chance():
    rows, columns = np.indices((SIDE, SIDE))
    found = figures(-np.hypot(rows - 27, columns - 5).astype(np.float32))
    assert found["gain_random"] < 0.1


def test_nothing_deleted_is_the_answer_itself_in_every_order():
    found = figures(evidence_at(*SPOT))
    assert found["heatmap"][0] == found["middle"][0] == found["random"][0]
    assert len(found["heatmap"]) == len(DELETED)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.75, 1.0])
def test_the_share_of_the_head_that_changes_is_the_one_asked_for(share):
    rng = np.random.default_rng(0)
    prepared = rng.integers(60, 200, (SIDE, SIDE)).astype(np.uint8)
    prepared[:4] = 0
    changed = delete(prepared, rng.random((SIDE, SIDE)), share)
    assert (changed[:4] == 0).all()
    assert (changed != prepared).sum() <= round(share * (prepared > 0).sum())
    assert (changed != prepared).sum() > 0.9 * share * (prepared > 0).sum()


def test_what_is_filled_looks_like_what_is_around_it():
    filled = delete(head_with_spot(), evidence_at(*SPOT), 16 / (30 * 32))
    assert np.abs(filled[SPOT].astype(int) - 90).max() < 25


def test_without_heatmaps_there_are_no_figures():
    assert figures(evidence_at(*SPOT), n=0) is None


# --- shuffled weights ------------------------------------------------------------------------


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
    astray = write_shuffled(tiny_bundle, ["dense"], tmp_path)
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


@pytest.mark.parametrize("name", ["tumorlens-base", "tumorlens-small", "tumorlens-tiny"])
def test_shuffling_the_last_layer_of_a_shipped_graph_changes_what_it_shows(name):
    bundle = load_bundle(name)
    scans = [Scan(draw_phantom("mri", "glioma", seed=seed).pixels, "mri") for seed in range(3)]
    prepared = np.stack([prepare(scan, bundle.spec).pixels for scan in scans])
    found = randomization_figures(prepared, np.arange(3).astype(str), bundle)
    assert found is not None
    last = next(row for row in to_json(found)["rows"] if row["stage"] == "last layer")
    assert last["correlation"] < 0.9
