"""Scores are one table, and figures of them are means of repeats with intervals over groups."""

import numpy as np
import pytest

from tumorlens import labels
from tumorlens.records import Case, Prediction
from tumorlens.study.experiments.scores import (
    Score,
    area,
    detection,
    read_scores,
    scores_of,
    summarize,
    type_accuracy,
    write_scores,
)


def score(number: int, value: float, *, label: str, **changes) -> Score:
    """One score of a case with a group of its own."""
    kept = {"threshold": 0.5, "type": "meningioma", **changes}
    return Score(f"set/c{number}", label, f"g{number}", value, **kept)


def test_a_table_is_read_as_it_was_written(tmp_path):
    atoms = {atom: round(0.1 * (i + 1), 6) for i, atom in enumerate(labels.ATOMS)}
    given = [
        Score("set/=1", "mri_glioma", "g1", 0.123456789, 0.5, repeat=2, fold=3, network="plain",
              trained_on="other", type="pituitary", atoms=atoms),
        Score("set/2", "healthy", "g2", 0.25, 0.75),
    ]  # fmt: skip
    write_scores(given, tmp_path / "scores.csv")
    assert read_scores(tmp_path / "scores.csv") == given


def test_scores_are_of_predictions_that_were_read():
    case = Case("x", "set/x", "mri_glioma", "set")  # pyright: ignore[reportArgumentType]
    atoms = {atom: 0.1 + (atom == "mri_glioma") for atom in labels.ATOMS}
    read = Prediction("x", tumor_probability=0.9, threshold=0.4, atoms=atoms)
    [found] = scores_of([(case, read), (case, Prediction("x", error="broken"))], fold=7)
    assert (found.tumor_probability, found.threshold, found.type) == (0.9, 0.4, "glioma")
    assert (found.fold, found.group, found.dataset) == (7, "set/x", "set")


def test_each_fold_is_judged_by_its_own_threshold():
    found = summarize([
        score(1, 0.3, label="mri_glioma", threshold=0.2),
        score(2, 0.1, label="mri_healthy", threshold=0.2),
        score(3, 0.8, label="mri_glioma", fold=2, threshold=0.7),
        score(4, 0.6, label="mri_healthy", fold=2, threshold=0.7),
    ], detection)  # fmt: skip
    assert [found.figures[name].value for name in ("sensitivity", "specificity", "f1")] == [1, 1, 1]
    assert found.folds["sensitivity"] == [1.0, 1.0]


def test_a_figure_of_repeats_is_their_mean_and_a_case_counts_once():
    first = [score(1, 0.9, label="ct_tumor"), score(2, 0.1, label="ct_healthy")]
    second = [
        score(1, 0.1, label="ct_tumor", repeat=2),
        score(2, 0.1, label="ct_healthy", repeat=2),
    ]
    found = summarize([*first, *second], detection)
    assert (found.n, found.n_tumor, found.n_groups, found.repeats) == (2, 1, 2, 2)
    assert found.figures["sensitivity"].value == pytest.approx(0.5)
    assert found.spread("sensitivity")["mean"] == pytest.approx(0.5)
    assert found.spread("sensitivity")["deviation"] == pytest.approx(0.5**0.5)


def test_a_share_that_no_resample_moves_still_has_an_interval():
    found = summarize(
        [score(i, i % 2, label=("ct_healthy", "ct_tumor")[i % 2]) for i in range(20)], detection
    )
    sensitivity = found.figures["sensitivity"]
    assert (sensitivity.value, sensitivity.high, sensitivity.n) == (1, 1, 10)
    assert 0.6 < (sensitivity.low or 0) < 0.9


def test_one_class_alone_has_no_auc_and_no_specificity():
    given = [score(1, 0.9, label="ct_tumor"), score(2, 0.2, label="ct_tumor")]
    found = summarize(given, detection).figures
    assert (found["auc"].value, found["specificity"].value) == (None, None)
    assert found["sensitivity"].value == 0.5


def test_the_mean_may_be_over_folds():
    rng = np.random.default_rng(0)
    given = [score(i, rng.random(), label=("ct_healthy", "ct_tumor")[i % 2], fold=i % 4 // 2)
             for i in range(40)]  # fmt: skip
    found = summarize(given, area, over=lambda score: score.fold)
    assert found.figures["auc"].value == pytest.approx(found.spread("auc")["mean"])


def test_no_type_counts_as_a_wrong_one():
    given = [
        score(1, 0.9, label="mri_meningioma"),
        score(2, 0.9, label="mri_glioma"),
        score(3, 0.9, label="mri_meningioma", type=""),
    ]
    assert summarize(given, type_accuracy).figures["accuracy"].value == pytest.approx(1 / 3)
