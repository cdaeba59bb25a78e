"""What each threshold would have done on validation, with intervals, as a table and a picture."""

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score

from tumorlens.errors import TrainingError
from tumorlens.study.training.packaging.bundle_performance import (
    FIGURES,
    Sweep,
    sweep_thresholds,
    write_sweep,
)

RNG = np.random.default_rng(3)
TRUTH = np.arange(120) % 3 == 0
SCORES = 1 / (1 + np.exp(-(RNG.normal(0, 1.5, 120) + 2 * TRUTH - 1)))
GROUPS = np.arange(120) // 2
CHOSEN = 0.314159


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    return sweep_thresholds(SCORES, TRUTH, groups=GROUPS, chosen=CHOSEN, resamples=200)


@pytest.fixture(scope="module")
def folder(sweep, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sweep")
    write_sweep(sweep, out)
    return out


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "threshold.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_figures_are_those_of_scikit_learn_at_every_threshold(sweep):
    for i, threshold in enumerate(sweep.thresholds):
        flagged = threshold <= SCORES
        expected = {
            "sensitivity": recall_score(TRUTH, flagged),
            "specificity": recall_score(~TRUTH, ~flagged),
            "accuracy": accuracy_score(TRUTH, flagged),
            "f1": f1_score(TRUTH, flagged, zero_division=0),
        }
        assert {name: sweep.figures[name][i, 0] for name in FIGURES} == pytest.approx(expected)


def test_sensitivity_falls_and_specificity_rises_with_the_threshold(sweep):
    assert (np.diff(sweep.thresholds) > 0).all()
    assert (np.diff(sweep.figures["sensitivity"][:, 0]) <= 0).all()
    assert (np.diff(sweep.figures["specificity"][:, 0]) >= 0).all()


def test_intervals_hold_the_figure_and_are_wider_with_fewer_groups(sweep):
    few = sweep_thresholds(SCORES, TRUTH, groups=np.arange(120) // 12, chosen=CHOSEN, resamples=200)
    value, low, high = sweep.figures["accuracy"].T
    assert ((low <= value) & (value <= high)).all()
    assert high[sweep.chosen] > low[sweep.chosen]
    assert few.n_groups == 10
    assert sweep.n_groups == 60


def test_the_chosen_threshold_is_a_row_of_its_own_and_the_only_one_marked(sweep, folder):
    assert sweep.thresholds[sweep.chosen] == CHOSEN
    [row] = [row for row in rows_of(folder) if row["chosen"]]
    assert float(row["threshold"]) == pytest.approx(CHOSEN)
    assert float(row["sensitivity"]) == pytest.approx((SCORES[TRUTH] >= CHOSEN).mean(), abs=1e-4)


def test_a_threshold_next_to_nothing_keeps_its_digits_in_the_table(tmp_path):
    found = sweep_thresholds(SCORES, TRUTH, groups=GROUPS, chosen=3.21e-7, resamples=5)
    write_sweep(found, tmp_path)
    assert float(rows_of(tmp_path)[0]["threshold"]) == pytest.approx(3.21e-7)


def test_the_picture_says_counts_and_the_chosen_threshold(folder):
    text = (folder / "threshold.svg").read_text(encoding="utf-8")
    assert text.count("<path") > len(FIGURES)
    assert "40 with a tumor, 80 without, 60 groups" in text
    assert f"chosen threshold {CHOSEN:.4f}" in text


def test_the_same_figures_give_the_same_files(sweep, folder, tmp_path):
    write_sweep(sweep, tmp_path)
    for name in ("threshold.csv", "threshold.svg"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_a_figure_that_one_class_cannot_show_is_an_empty_cell(tmp_path):
    sick = np.ones(6, bool)
    found = sweep_thresholds(SCORES[:6], sick, groups=GROUPS[:6], chosen=0.5, resamples=5)
    write_sweep(found, tmp_path)
    assert {row["specificity"] for row in rows_of(tmp_path)} == {""}
    assert all(row["sensitivity"] for row in rows_of(tmp_path))


@pytest.mark.parametrize("scores", [[], [0.5, np.nan]], ids=["none", "not a number"])
def test_scores_that_cannot_be_swept_are_refused(scores):
    truth = np.zeros(len(scores), bool)
    with pytest.raises(TrainingError, match="no scores"):
        sweep_thresholds(np.array(scores), truth, groups=np.arange(len(scores)), chosen=0.5)
