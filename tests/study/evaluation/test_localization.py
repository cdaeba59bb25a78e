"""Overlap with a mask is what its definition says, beside that of the middle of the head."""

import numpy as np
import pytest

from tumorlens.study.evaluation.localization import SHARES, overlap, overlap_figures


@pytest.fixture
def mask() -> np.ndarray:
    found = np.zeros((20, 20), bool)
    found[:10, :10] = True
    return found


def test_evidence_that_is_the_mask_overlaps_wholly(mask):
    assert overlap(mask * 3.0, mask) == [1.0] * (1 + len(SHARES))


def test_evidence_beside_the_mask_does_not_overlap(mask):
    assert overlap(~mask * 1.0, mask) == [0.0] * (1 + len(SHARES))


def test_evidence_everywhere_overlaps_by_the_size_of_the_mask(mask):
    assert overlap(np.ones((20, 20)), mask) == pytest.approx([0.25] * (1 + len(SHARES)))


def test_a_region_holds_the_places_above_its_share(mask):
    evidence = np.where(mask, 1.0, 0.25)
    inside, *ious = overlap(evidence, mask)
    assert inside == pytest.approx(100 / (100 + 300 / 4))
    assert ious == pytest.approx([0.25, 0.25, 1, 1, 1])


@pytest.mark.parametrize("value", [0.0, -2.0])
def test_where_nothing_speaks_for_a_tumor_there_is_no_overlap(mask, value):
    assert overlap(np.full((20, 20), value), mask) == [0.0] * (1 + len(SHARES))


def test_figures_are_means_within_their_intervals():
    rng = np.random.default_rng(0)
    rows = rng.random((30, 2 * (1 + len(SHARES))))
    found = overlap_figures(rows, np.arange(30) // 2)
    assert found["energy"] == pytest.approx(rows[:, 0].mean())
    assert found["iou"] == pytest.approx(rows[:, 1:6].mean(0))
    assert found["iou_prior"] == pytest.approx(rows[:, 7:].mean(0))
    assert found["energy_low"] <= found["energy"] <= found["energy_high"]
