"""Rates, predictive values and curves follow from the counts, and carry honest intervals."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom, mannwhitneyu
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    recall_score,
    roc_auc_score,
)
from support.made_answers import (
    able_answers,
    all_rows,
    make_answers,
    one_atom,
    random_answers,
    scored,
)

from tumorlens.json_records import to_json
from tumorlens.study.evaluation.detection import (
    PREVALENCES,
    compare,
    detection_figures,
    mcnemar,
    precision_recall_points,
    roc_points,
    threshold_sweep,
    threshold_table,
)
from tumorlens.study.stats.discrimination import detection_statistics
from tumorlens.study.stats.intervals import bootstrap

CLOSE = {"abs": 1e-9}


@pytest.mark.parametrize("seed", range(4))
def test_detection_agrees_with_scikit_learn_and_scipy(seed):
    answers = random_answers(seed)
    found = to_json(detection_figures(answers, all_rows(answers)))
    truth, scores = answers.truth, answers.scores
    flagged = scores >= answers.threshold
    u = mannwhitneyu(scores[truth], scores[~truth]).statistic
    assert found["auc"] == pytest.approx(roc_auc_score(truth, scores), **CLOSE)
    assert found["auc"] == pytest.approx(u / truth.sum() / (~truth).sum(), **CLOSE)
    assert found["sensitivity"] == pytest.approx(recall_score(truth, flagged), **CLOSE)
    assert found["specificity"] == pytest.approx(recall_score(~truth, ~flagged), **CLOSE)
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, flagged), **CLOSE)
    assert found["f1"] == pytest.approx(f1_score(truth, flagged), **CLOSE)
    macro = f1_score(truth, flagged, average="macro")
    assert found["macro_f1"] == pytest.approx(macro, **CLOSE)
    precision = average_precision_score(truth, scores)
    assert found["average_precision"] == pytest.approx(precision, **CLOSE)


@pytest.mark.parametrize("seed", range(2))
def test_every_figure_lies_in_its_interval_and_within_0_and_1(seed):
    answers = random_answers(seed)
    found = to_json(detection_figures(answers, all_rows(answers)))
    for name in ("auc", "sensitivity", "specificity", "accuracy", "f1"):
        assert 0 <= found[f"{name}_low"] <= found[name] <= found[f"{name}_high"] <= 1


def test_detection_of_some_rows_is_detection_of_those_rows_alone():
    answers = random_answers(1)
    rows = np.arange(80) % 3 != 0
    alone = make_answers(np.array(answers.labels)[rows], answers.probabilities[rows], threshold=0.4,
                         groups=answers.groups[rows])  # fmt: skip
    assert to_json(detection_figures(answers, rows)) == to_json(
        detection_figures(alone, all_rows(alone))
    )


def test_detection_counts_cases_tumors_and_groups():
    answers = make_answers(
        ["ct_tumor", "ct_tumor", "ct_healthy"], one_atom("ct_tumor", "ct_healthy", "ct_tumor"),
        groups=["p1", "p1", "p2"],
    )  # fmt: skip
    found = to_json(detection_figures(answers, all_rows(answers)))
    counts = ("n", "n_tumor", "n_healthy", "n_groups")
    assert [found[name] for name in counts] == [3, 2, 1, 2]
    assert found["confusion"] == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("label", "none", "known"),
    [("ct_tumor", "specificity", "sensitivity"), ("ct_healthy", "sensitivity", "specificity")],
)
def test_one_class_alone_has_no_auc_and_half_of_the_rates(label, none, known):
    answers = make_answers([label] * 3, one_atom(label, label, label))
    found = to_json(detection_figures(answers, all_rows(answers)))
    assert found["auc"] is found["auc_low"] is found[none] is None
    assert found[known] == 1.0
    assert roc_points(answers, all_rows(answers)) is None


def test_a_score_at_the_threshold_is_flagged():
    answers = make_answers(["ct_tumor"], [[0.5, 0.5, 0, 0, 0, 0]], threshold=0.5)
    assert to_json(detection_figures(answers, all_rows(answers)))["sensitivity"] == 1.0


def test_an_open_label_counts_for_the_modality_that_was_predicted():
    answers = make_answers(
        ["healthy", "tumor", "ct_tumor"], one_atom("mri_healthy", "ct_tumor", "mri_glioma")
    )
    assert answers.modalities.tolist() == ["mri", "ct", "ct"]


def test_the_roc_curve_runs_from_corner_to_corner_in_few_points():
    answers = random_answers(0, n=900)
    points = roc_points(answers, all_rows(answers))
    assert (points["fpr"][0], points["tpr"][0]) == (0, 0)
    assert (points["fpr"][-1], points["tpr"][-1]) == (1, 1)
    assert len(points["fpr"]) == len(points["tpr"]) == len(points["threshold"]) <= 200
    assert all(np.diff(points["fpr"]) >= 0)
    assert max(points["threshold"]) <= 1, "infinity is no JSON"
    auc = to_json(detection_figures(answers, all_rows(answers)))["auc"]
    assert np.trapezoid(points["tpr"], points["fpr"]) == pytest.approx(auc, abs=0.01)


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
        groups = np.repeat(np.arange(60), 3)
        found = detection_statistics(truth, scores, thresholds=0.5, groups=groups)
        for name, wanted in (("sensitivity", 0.8413447), ("auc", 0.7602499)):
            held[name] += found[f"{name}_low"] <= wanted <= found[f"{name}_high"]
    assert 88 <= held["sensitivity"] <= 100
    assert 88 <= held["auc"] <= 100


# --- thresholds that a slider moves over -----------------------------------------------------


def test_every_threshold_has_the_rates_that_scikit_learn_counts():
    answers = able_answers(4, 150, each=2)
    found = to_json(threshold_sweep(answers, all_rows(answers)))
    flagged = answers.scores[:, None] >= np.array(found["threshold"])
    # One column of tumors for each threshold is what scikit-learn calls labels.
    for name, own, rows in (
        ("sensitivity", flagged, answers.truth),
        ("specificity", ~flagged, ~answers.truth),
    ):
        known = np.broadcast_to(rows[:, None], own.shape)
        assert found[name] == pytest.approx(recall_score(known, own, average=None), abs=1e-5)


def test_the_bundles_own_threshold_is_among_them():
    answers = able_answers(5)
    assert answers.threshold in to_json(threshold_sweep(answers, all_rows(answers)))["threshold"]


def test_a_score_that_equals_the_threshold_is_flagged():
    answers = scored([True, False], [0.5, 0.2], threshold=0.5)
    found = to_json(threshold_sweep(answers, all_rows(answers)))
    assert found["sensitivity"][found["threshold"].index(0.5)] == 1.0


def test_intervals_hold_the_figure():
    answers = able_answers(6, 150, each=3, skill=1.0)
    found = to_json(threshold_sweep(answers, all_rows(answers)))
    low, value, high = (
        np.array(found[f"specificity{end}"], float) for end in ("_low", "", "_high")
    )
    assert ((low <= value) & (value <= high)).all()
    assert (high > low).any()


def test_one_class_alone_has_no_rate_of_the_other():
    answers = scored([True, True], [0.9, 0.4])
    found = to_json(threshold_sweep(answers, all_rows(answers)))
    assert set(found["specificity"]) == {None}
    assert found["n_healthy"] == 0


# --- two bundles on the same scans ----------------------------------------------------------


def test_a_bundle_does_not_differ_from_itself():
    answers = able_answers(0)
    found = to_json(compare(answers, answers))["all"]
    assert found["auc_difference"] == found["auc_difference_low"] == 0
    assert found["mcnemar"]["all"] == {"n": 200, "own_only": 0, "against_only": 0, "p": 1.0}
    assert found["delong"]["p"] is None, "a difference that cannot vary has no p-value"


def test_differences_are_those_of_the_figures():
    a, b = able_answers(1, skill=3.0), able_answers(1, skill=1.0)
    found = to_json(compare(a, b))
    for name, rows in a.rows().items():
        areas = [roc_auc_score(x.truth[rows], x.scores[rows]) for x in (a, b)]
        assert found[name]["auc_difference"] == pytest.approx(areas[0] - areas[1], abs=1e-9)
        assert found[name]["delong"]["difference"] == pytest.approx(areas[0] - areas[1], abs=1e-9)
        assert found[name]["auc_against"] == pytest.approx(areas[1], abs=1e-9)


def test_the_better_bundle_is_found():
    found = to_json(compare(able_answers(2, skill=4.0), able_answers(2, skill=0.5)))["all"]
    assert found["auc_difference_low"] > 0
    assert found["delong"]["p"] < 1e-3
    assert found["mcnemar"]["all"]["p"] < 1e-3


def test_each_bundle_is_taken_at_its_own_threshold():
    answers = scored([1, 1, 0, 0], [0.6, 0.7, 0.2, 0.3])
    found = to_json(compare(answers, replace(answers, threshold=0.9)))["all"]
    assert found["sensitivity_difference"] == 1.0
    assert found["mcnemar"]["tumor"]["own_only"] == 2
    assert found["mcnemar"]["healthy"]["p"] == 1.0


def test_pairing_makes_the_interval_narrower_than_two_apart():
    a = able_answers(3, n=400)
    b = replace(a, probabilities=0.97 * a.probabilities + 0.03 / 6)
    found = to_json(compare(a, b))["all"]
    assert found["auc_difference_high"] - found["auc_difference_low"] < 0.02


@pytest.mark.parametrize(("own", "other"), [(0, 0), (1, 0), (8, 2), (5, 5), (0, 12)])
def test_mcnemars_p_is_the_exact_binomial_one(own, other):
    right = np.array([True] * own + [False] * other + [True] * 7)
    against = np.array([False] * own + [True] * other + [True] * 7)
    found = mcnemar(right, against)
    assert (found["own_only"], found["against_only"]) == (own, other)
    wanted = min(1.0, 2 * binom.cdf(min(own, other), own + other, 0.5))
    assert found["p"] == pytest.approx(wanted, abs=1e-9)


def test_two_bundles_of_which_one_is_always_right_differ_by_an_interval_of_a_width():
    truth = [1, 0] * 10
    right = scored(truth, [0.9, 0.1] * 10)
    wrong = scored(truth, [0.1, 0.9] * 10)
    found = to_json(compare(right, wrong))["all"]
    for name in ("auc", "sensitivity", "specificity", "accuracy", "f1"):
        assert found[f"{name}_difference"] == 1.0
        assert found[f"{name}_difference_low"] < 1.0 <= found[f"{name}_difference_high"]
        assert found[f"{name}_against_low"] == 0.0 < found[f"{name}_against_high"]
