"""Rates, predictive values and curves follow from the counts, and carry honest intervals."""

from itertools import pairwise

import numpy as np
import pytest
from support.made_answers import able_answers, all_rows, scored

from tumorlens.json_records import to_json
from tumorlens.study.evaluation.detection import (
    PREVALENCES,
    detection_figures,
    precision_recall_points,
    threshold_table,
)
from tumorlens.study.stats.intervals import bootstrap


def test_predictive_values_follow_from_bayes_rule():
    answers = able_answers(0)
    found = to_json(detection_figures(answers, all_rows(answers)))
    assert [row["prevalence"] for row in found["predictive_values"]] == list(PREVALENCES)
    for row in found["predictive_values"]:
        p, sensitivity, specificity = row["prevalence"], found["sensitivity"], found["specificity"]
        flagged = p * sensitivity + (1 - p) * (1 - specificity)
        assert row["ppv"] == pytest.approx(p * sensitivity / flagged, abs=1e-9)
        assert row["npv"] == pytest.approx((1 - p) * specificity / (1 - flagged), abs=1e-9)
        assert row["ppv_low"] <= row["ppv"] <= row["ppv_high"]


def test_at_the_share_of_tumors_here_ppv_is_precision():
    answers = scored([1, 1, 0, 0], [0.9, 0.2, 0.8, 0.1])
    half = to_json(detection_figures(answers, all_rows(answers)))["predictive_values"][-1]
    assert (half["prevalence"], half["ppv"]) == (0.5, 0.5)


def test_one_table_row_is_the_bundles_own_threshold():
    answers = able_answers(1)
    found = to_json(detection_figures(answers, all_rows(answers)))
    rows = [row for row in to_json(threshold_table(answers, all_rows(answers))) if row["chosen"]]
    assert len(rows) == 1
    for name in ("sensitivity", "specificity", "n"):
        assert rows[0][name] == pytest.approx(found[name])


def test_a_higher_threshold_never_flags_more():
    answers = able_answers(2)
    rows = to_json(threshold_table(answers, all_rows(answers)))
    assert all(a["flagged"] >= b["flagged"] for a, b in pairwise(rows))
    assert all(a["sensitivity"] >= b["sensitivity"] for a, b in pairwise(rows))


def test_the_curve_of_precision_ends_at_full_recall_and_needs_both_classes():
    answers = able_answers(3)
    found = precision_recall_points(answers, all_rows(answers))
    assert (max(found["recall"]), min(found["recall"])) == (1.0, 0.0)
    assert precision_recall_points(scored([1, 1], [0.5, 0.6]), np.ones(2, bool)) is None


def test_the_bootstrap_of_many_is_that_of_single_resamples():
    answers = able_answers(4, each=4)
    found = bootstrap(lambda w: {"share": w @ answers.truth / w.sum(1)}, answers.groups)
    rng = np.random.default_rng(1)
    counts = rng.multinomial(50, np.full(50, 1 / 50), 1000)
    drawn = counts @ answers.truth.reshape(50, 4).mean(1) / 50
    wanted = np.quantile(drawn, [0.025, 0.975])
    bounds = [float(found["share_low"]), float(found["share_high"])]
    assert bounds == pytest.approx(wanted.tolist(), abs=0.03)


def test_group_intervals_of_rates_hold_the_truth_about_as_often_as_they_say():
    held = {"sensitivity": 0, "auc": 0}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        truth = np.repeat(np.arange(60) % 2 == 0, 3)
        ability = np.repeat(rng.normal(0, 0.8, 60), 3) + rng.normal(0, 0.6, 180)
        scores = 1 / (1 + np.exp(-(ability + truth)))  # unit normals one apart, in groups of 3
        answers = scored(truth, scores, groups=np.repeat(np.arange(60), 3).astype(str))
        found = to_json(detection_figures(answers, all_rows(answers)))
        for name, wanted in (("sensitivity", 0.8413447), ("auc", 0.7602499)):
            held[name] += found[f"{name}_low"] <= wanted <= found[f"{name}_high"]
    assert 88 <= held["sensitivity"] <= 100
    assert 88 <= held["auc"] <= 100
