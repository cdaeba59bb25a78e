"""Facts about when the answer is "uncertain" or "out of scope"."""

import numpy as np
import pytest

from tumorlens.models.bundle import OodReference, UncertaintyBand
from tumorlens.predictions.decision import decide, neighbor_distance

AXES = np.eye(3, 4, dtype=np.float32)


def scope(neighbors: int = 1, limit: float = 0.3) -> OodReference:
    return OodReference(AXES, neighbors, limit, 0.99)


def test_a_training_scan_has_distance_zero_at_any_length():
    distance = neighbor_distance(np.array([[5.0, 0, 0, 0], [0, 0.01, 0, 0]]), scope())
    np.testing.assert_allclose(distance, [0, 0], atol=1e-6)


def test_a_right_angle_is_one_and_the_opposite_two():
    distance = neighbor_distance(np.array([[0.0, 0, 0, 1], [-1.0, -1, -1, 0]]), scope())
    np.testing.assert_allclose(distance, [1, 1 + 1 / np.sqrt(3)], atol=1e-6)
    one = OodReference(AXES[:1], 1, 0.3, 0.99)
    np.testing.assert_allclose(neighbor_distance(np.array([[-2.0, 0, 0, 0]]), one), [2], atol=1e-6)


@pytest.mark.parametrize(("k", "cosine"), [(1, 0.8), (2, 0.6), (3, 0.0)])
def test_the_kth_nearest_neighbor_counts(k, cosine):
    distance = neighbor_distance(np.array([[0.6, 0.8, 0, 0]]), scope(neighbors=k))
    np.testing.assert_allclose(distance, [1 - cosine], atol=1e-6)


def test_an_embedding_of_zeros_is_far_and_no_nan():
    np.testing.assert_allclose(neighbor_distance(np.zeros((1, 4)), scope()), [1])


def test_rows_do_not_depend_on_each_other():
    rows = np.random.default_rng(0).normal(size=(6, 4))
    alone = [neighbor_distance(row[None], scope())[0] for row in rows]
    np.testing.assert_allclose(neighbor_distance(rows, scope()), alone, atol=1e-9)


@pytest.mark.parametrize(
    ("probability", "distance", "band", "threshold", "decision"),
    [
        (0.9, 0.1, (0.4, 0.6), 0.5, "tumor"),
        (0.1, 0.1, (0.4, 0.6), 0.5, "no tumor"),
        (0.5, 0.1, (0.4, 0.6), 0.5, "uncertain"),
        (0.401, 0.1, (0.4, 0.6), 0.5, "uncertain"),
        (0.599, 0.1, (0.4, 0.6), 0.5, "uncertain"),
        (0.4, 0.1, (0.4, 0.6), 0.5, "no tumor"),
        (0.6, 0.1, (0.4, 0.6), 0.5, "tumor"),
        (0.3, 0.1, (0.3, 0.3), 0.3, "tumor"),
        (0.2999, 0.1, (0.3, 0.3), 0.3, "no tumor"),
        (0.9, 0.31, (0.4, 0.6), 0.5, "out of scope"),
        (0.1, 0.31, (0.4, 0.6), 0.5, "out of scope"),
        (0.5, 0.31, (0.4, 0.6), 0.5, "out of scope"),
        (0.9, 0.3, (0.4, 0.6), 0.5, "tumor"),
        (0.2, 0.1, (0.3, 0.6), 0.1, "tumor"),
        (1.0, 0.0, (0.0, 1.0), 0.5, "tumor"),
        (0.0, 0.0, (0.0, 1.0), 0.5, "no tumor"),
    ],
)
def test_the_decision_follows_the_table(probability, distance, band, threshold, decision):
    found = decide(
        probability,
        distance,
        threshold=threshold,
        band=UncertaintyBand(*band, error=0.05),
        reference=scope(),
    )
    assert found == decision
