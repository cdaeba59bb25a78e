"""The figures of evaluation.json agree with scikit-learn and with counting by hand."""

import json

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    recall_score,
    roc_auc_score,
)
from support.made_answers import all_rows, make_answers, one_atom, random_answers

from tumorlens.json_records import to_json
from tumorlens.labels import ATOMS, TYPES
from tumorlens.study.evaluation.classification import class_figures, type_figures
from tumorlens.study.evaluation.decision import calibration_figures
from tumorlens.study.evaluation.detection import detection_figures, roc_points

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


@pytest.mark.parametrize("seed", range(3))
def test_type_figures_agree_with_scikit_learn(seed):
    answers = random_answers(seed)
    names = [name[4:] for name in answers.labels]
    rows = [i for i, name in enumerate(names) if name in TYPES]
    typed = answers.probabilities[rows][:, [ATOMS.index(f"mri_{name}") for name in TYPES]]
    chosen = [TYPES[i] for i in typed.argmax(1)]
    truth = [names[i] for i in rows]
    found = to_json(type_figures(answers))
    assert found["n"] == len(rows)
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, chosen), **CLOSE)
    assert found["macro_f1"] == pytest.approx(f1_score(truth, chosen, average="macro"), **CLOSE)


def test_a_type_is_the_likeliest_given_a_tumor_also_where_none_was_flagged():
    answers = make_answers(["mri_glioma"], [[0.1, 0.1, 0.7, 0.06, 0.02, 0.02]])
    assert to_json(type_figures(answers))["accuracy"] == 1.0


def test_macro_f1_counts_the_types_that_are_there():
    answers = make_answers(["mri_glioma"] * 2, one_atom("mri_glioma", "mri_glioma"))
    assert to_json(type_figures(answers))["macro_f1"] == 1.0


def test_without_a_recorded_type_there_are_no_type_figures():
    answers = make_answers(["mri_tumor", "ct_tumor"], one_atom("mri_glioma", "ct_tumor"))
    assert to_json(type_figures(answers)) is None


@pytest.mark.parametrize("seed", range(3))
def test_the_brier_score_agrees_with_scikit_learn(seed):
    answers = random_answers(seed)
    wanted = brier_score_loss(answers.truth, answers.scores)
    assert to_json(calibration_figures(answers))["brier"] == pytest.approx(wanted, **CLOSE)


@pytest.mark.parametrize("n", [7, 80, 200])
def test_the_calibration_error_is_the_mean_gap_of_equal_bins(n):
    answers = random_answers(2, n=n)
    order = np.argsort(answers.scores, kind="stable")
    total = 0.0
    for bin_ in np.array_split(order, min(15, n)):
        total += abs(answers.scores[bin_].sum() - answers.truth[bin_].sum())
    found = to_json(calibration_figures(answers))
    assert found["ece"] == pytest.approx(total / n, **CLOSE)
    assert sum(row["n"] for row in found["bins"]) == found["n"] == n


def test_answers_that_are_sure_and_right_are_calibrated():
    answers = make_answers(["ct_tumor", "ct_healthy"], one_atom("ct_tumor", "ct_healthy"))
    found = to_json(calibration_figures(answers))
    assert (found["ece"], found["brier"]) == (0, 0)


def test_any_atom_of_the_set_is_right():
    names = ["mri_tumor", "mri_tumor", "tumor", "healthy", "mri_glioma"]
    answers = make_answers(
        names, one_atom("mri_pituitary", "ct_tumor", "ct_tumor", "mri_healthy", "mri_meningioma")
    )
    assert to_json(class_figures(answers))["accuracy"] == pytest.approx(3 / 5)


def test_the_class_table_counts_answers_by_label():
    answers = make_answers(["tumor", "ct_tumor", "tumor"],
                           one_atom("ct_tumor", "ct_healthy", "mri_glioma"))  # fmt: skip
    found = to_json(class_figures(answers))
    assert found["labels"] == ["ct_tumor", "tumor"]
    assert found["atoms"] == list(ATOMS)
    assert found["confusion"] == [[1, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 0]]


def test_all_figures_can_be_written_as_strict_json():
    answers = make_answers(["ct_tumor"] * 2, one_atom("ct_tumor", "ct_healthy"))
    found = [
        to_json(detection_figures(answers, all_rows(answers))),
        to_json(class_figures(answers)),
        to_json(calibration_figures(answers)),
    ]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
