"""Types and labels agree with scikit-learn, and sets of answers hold what they promise."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from support.made_answers import able_answers, make_answers, one_atom, random_answers

from tumorlens.json_records import to_json
from tumorlens.labels import ATOMS, TYPES
from tumorlens.study.evaluation.classification import (
    class_figures,
    class_limits,
    conformal_figures,
    type_figures,
)

CLOSE = {"abs": 1e-9}


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


# --- conformal sets -------------------------------------------------------------------------


def test_limits_leave_out_the_promised_share_of_each_class():
    scores = np.arange(1, 20) / 20  # 19 scans: with an error of 0.1, (19 + 1) 0.1 = 2 may fall
    table = np.column_stack([scores, 1 - scores])
    assert class_limits(table, np.zeros(19, int), error=0.1)[0] == pytest.approx(0.1)
    assert class_limits(table, np.zeros(19, int), error=0.05)[0] == pytest.approx(0.05)


def test_a_class_with_too_few_scans_stands_in_every_set():
    table = np.full((18, 2), 0.5)
    assert class_limits(table, np.zeros(18, int), error=0.05).tolist() == [0.0, 0.0]


def test_every_class_is_covered_as_promised_over_many_draws():
    covered = {"healthy": [], "tumor": []}
    for seed in range(60):
        found = to_json(conformal_figures(able_answers(seed, 300), able_answers(1000 + seed, 300)))
        row = next(row for row in found["detection"] if row["error"] == 0.1)
        for name, values in covered.items():
            values.append(row["classes"][name]["coverage"])
    for values in covered.values():
        assert 0.89 <= np.mean(values) <= 0.93


def test_sets_are_counted_by_size():
    answers = able_answers(1)
    for rows in to_json(conformal_figures(answers, able_answers(2))).values():
        for row in rows:
            assert row["single"] + row["several"] + row["empty"] == row["n"]
            assert row["size_low"] <= row["size"] <= row["size_high"]


def test_without_validation_there_are_no_sets_and_without_types_none_of_them():
    assert to_json(conformal_figures(able_answers(1), None)) is None
    ct = make_answers(["ct_tumor", "ct_healthy"] * 20, one_atom(*["ct_tumor", "ct_healthy"] * 20))
    assert set(to_json(conformal_figures(ct, ct))) == {"detection"}
