"""Facts about where the evidence stood, and its pictures."""

import cv2
import numpy as np
import pytest

from tumorlens.labels import ATOMS, label_mask
from tumorlens.predictions.decision import softmax
from tumorlens.predictions.heatmaps import (
    enlarged,
    evidence_on_scan,
    overlay,
    strongest_region,
    tumor_evidence,
    write_overlay,
)
from tumorlens.records import Heatmap

TUMOR = label_mask(["tumor"])[0].astype(bool)


def log_odds(logits: np.ndarray) -> np.ndarray:
    p = softmax(logits, 1)
    return np.log(p[..., TUMOR].sum(-1)) - np.log(p[..., ~TUMOR].sum(-1))


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 2, (7, 5, 4, len(ATOMS)))


@pytest.fixture
def heatmap(head) -> Heatmap:
    evidence = np.full((8, 8), -1.0, np.float32)
    evidence[2, 5] = 4
    return Heatmap(evidence, head)


def test_the_mean_evidence_is_the_first_order_change_of_the_log_odds(maps):
    logits = maps.mean(axis=(1, 2))
    evidence = tumor_evidence(maps, softmax(logits, 1), ATOMS)
    step = 1e-4
    slope = (log_odds(logits * (1 + step)) - log_odds(logits * (1 - step))) / (2 * step)
    np.testing.assert_allclose(evidence.mean(axis=(1, 2)), slope, rtol=1e-4, atol=1e-5)


def test_the_evidence_of_one_place_is_what_it_moves_the_answer(maps):
    logits = maps.mean(axis=(1, 2))
    evidence = tumor_evidence(maps, softmax(logits, 1), ATOMS)
    step = 1e-4
    moved = log_odds(logits + step * maps[:, 3, 2]) - log_odds(logits - step * maps[:, 3, 2])
    np.testing.assert_allclose(evidence[:, 3, 2], moved / (2 * step), rtol=1e-4, atol=1e-5)


def test_what_all_atoms_share_is_no_evidence(maps):
    p = softmax(maps.mean(axis=(1, 2)), 1)
    shared = np.random.default_rng(1).normal(0, 5, (*maps.shape[:3], 1))
    np.testing.assert_allclose(
        tumor_evidence(maps + shared, p, ATOMS), tumor_evidence(maps, p, ATOMS), atol=1e-4
    )


def test_a_place_that_speaks_for_a_tumor_is_positive_and_for_a_healthy_head_negative():
    maps = np.zeros((1, 1, 2, len(ATOMS)))
    maps[0, 0, 0, ATOMS.index("mri_glioma")] = 1
    maps[0, 0, 1, ATOMS.index("mri_healthy")] = 1
    evidence = tumor_evidence(maps, np.full((1, len(ATOMS)), 1 / 6), ATOMS)
    assert evidence.shape == (1, 1, 2)
    assert evidence.dtype == np.float32
    assert evidence[0, 0, 0] > 0 > evidence[0, 0, 1]


@pytest.mark.parametrize("atom", ["mri_glioma", "ct_healthy"])
def test_a_certain_answer_still_has_finite_evidence(maps, atom):
    p = np.zeros((7, len(ATOMS)))
    p[:, ATOMS.index(atom)] = 1
    assert np.isfinite(tumor_evidence(maps, p, ATOMS)).all()


def test_evidence_is_enlarged_to_the_prepared_image(heatmap):
    large = enlarged(heatmap)
    assert large.shape == heatmap.prepared.shape
    row, column = np.unravel_index(large.argmax(), large.shape)
    assert (row // 16, column // 16) == (2, 5)


@pytest.mark.parametrize("side", [64, 384])
def test_an_overlay_is_two_squares_in_color(heatmap, side):
    picture = overlay(heatmap, side=side)
    assert picture.shape == (side, 2 * side, 3)
    assert picture.dtype == np.uint8


def test_the_left_half_of_an_overlay_is_the_scan_in_grey(heatmap):
    left = overlay(heatmap, side=128)[:, :128]
    for channel in range(3):
        np.testing.assert_array_equal(left[..., channel], heatmap.prepared)


def test_color_stands_where_the_evidence_is_and_nowhere_else(heatmap):
    picture = overlay(heatmap, side=128)
    changed = (picture[:, :128] != picture[:, 128:]).any(axis=2)
    assert changed[32:48, 80:96].all()
    assert not changed[64:].any()


def test_evidence_against_a_tumor_lets_the_scan_show_through(head):
    picture = overlay(Heatmap(np.full((8, 8), -3, np.float32), head), side=128)
    np.testing.assert_array_equal(picture[:, :128], picture[:, 128:])


def test_no_evidence_at_all_can_be_drawn(head):
    assert overlay(Heatmap(np.zeros((8, 8), np.float32), head)).shape == (384, 768, 3)


def test_an_overlay_is_written_as_a_png_that_can_be_read(heatmap, tmp_path):
    out = tmp_path / "new" / "scan.png"
    write_overlay(heatmap, out)
    np.testing.assert_array_equal(cv2.imread(str(out)), overlay(heatmap))


def test_evidence_comes_back_to_the_pixels_it_was_seen_on_and_ends_with_the_head():
    evidence = np.full((8, 8), -1.0, np.float32)
    evidence[2, 5] = 4
    prepared = np.zeros((64, 64), np.uint8)
    prepared[8:56, 8:56] = 90
    prepared[30:34, 30:34] = 0  # dark, inside of the head
    matrix = np.array([[0.5, 0, -10], [0, 0.5, 4]])  # scan (100, 32) is prepared (40, 20)
    found = evidence_on_scan(Heatmap(evidence, prepared, matrix), (120, 160))
    row, column = np.unravel_index(found.argmax(), found.shape)
    strongest = np.unravel_index(enlarged(Heatmap(evidence, prepared)).argmax(), (64, 64))
    assert abs(0.5 * row + 4 - strongest[0]) <= 1
    assert abs(0.5 * column - 10 - strongest[1]) <= 1
    assert found[56, 84] < 0
    outside = np.ones(found.shape, bool)
    outside[8:104, 36:132] = False
    assert not found[outside].any()


def test_the_strongest_region_is_one_piece_around_the_strongest_place():
    evidence = np.zeros((6, 8), np.float32)
    evidence[1, 1:4] = 2, 4, 2
    evidence[4, 6] = 3
    assert np.argwhere(strongest_region(evidence)).tolist() == [[1, 1], [1, 2], [1, 3]]
    assert not strongest_region(-evidence - 1).any()
