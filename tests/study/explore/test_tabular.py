"""What a table of features says about the classes, held against SciPy and scikit-learn."""

import json
import os
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tumorlens.errors import CasesError, UnknownLabelError
from tumorlens.inputs.prepare import InputSpec
from tumorlens.json_records import from_json, to_json
from tumorlens.study.data.index import read_cases
from tumorlens.study.explore import separation
from tumorlens.study.explore.record import Counts, Distribution, FeatureStudy
from tumorlens.study.explore.separation import compare_models, single_features
from tumorlens.study.explore.tabular import (
    compare_frames,
    contrasts,
    distributions,
    modality_rows,
    study_table,
)
from tumorlens.study.features.table import FeatureTable, measure_files
from tumorlens.study.features.texture import FEATURES, measure_many
from tumorlens.study.stats.class_differences import rank_correlation

WIDTH = len(FEATURES)
RESAMPLES = 60


def table_of(values: np.ndarray, labels: list[str]) -> FeatureTable:
    names = tuple(f"{i}.png" for i in range(len(labels)))
    return FeatureTable(names, tuple(labels), values, *[("",) * len(labels)] * 2)


@pytest.fixture
def table() -> FeatureTable:
    """Forty healthy and forty tumor rows; the first feature tells them apart, the others not."""
    values = np.random.default_rng(0).normal(0, 1, (80, WIDTH))
    values[40:, 0] += 2.5
    return table_of(values, ["mri_healthy"] * 40 + ["mri_tumor"] * 40)


@pytest.fixture
def truth() -> np.ndarray:
    return np.arange(80) >= 40


@pytest.fixture(autouse=True)
def _one_fast_model(monkeypatch):
    models = {"logistic_regression": separation.MODELS["logistic_regression"]}
    monkeypatch.setattr(separation, "MODELS", models)


def test_a_study_is_json_with_every_part(table):
    found = study_table(table, np.arange(80), resamples=RESAMPLES)
    assert from_json(FeatureStudy, json.loads(json.dumps(to_json(found)))) == found
    assert (found.n, found.n_groups, found.unreadable) == (80, 80, 0)
    assert found.classes["mri_tumor"] == Counts(40, 40)
    assert found.single["mean"].auc.value > 0.9 > found.single["entropy"].auc.value
    assert found.models["logistic_regression"].auc.value > 0.8
    assert np.shape(found.correlation) == (WIDTH, WIDTH)
    assert f"{RESAMPLES} resamples" in found.intervals


def test_rows_with_an_error_are_counted_and_left_out(table):
    errors = ("damaged", *[""] * 79)
    values = table.values.copy()
    values[0] = np.nan
    broken = replace(table, values=values, errors=errors)
    found = study_table(broken, np.arange(80), resamples=RESAMPLES)
    assert (found.n, found.unreadable) == (79, 1)
    assert found.classes["mri_healthy"].n == 39


def test_one_class_alone_has_distributions_and_no_separation(table):
    found = study_table(table.rows(np.arange(80) < 40), np.arange(40), resamples=RESAMPLES)
    assert (found.single, found.models, found.contrasts) == (None, None, ())
    assert found.distributions["mri_healthy"]["mean"].n == 40


@pytest.mark.parametrize(
    ("label", "errors", "error"),
    [("zebra", "", UnknownLabelError), ("", "", UnknownLabelError), ("tumor", "x", CasesError)],
)
def test_a_table_that_cannot_be_studied_is_refused(label, errors, error):
    table = replace(table_of(np.zeros((2, WIDTH)), [label] * 2), errors=(errors,) * 2)
    with pytest.raises(error):
        study_table(table, np.arange(2))


def test_modalities_are_told_apart_by_label():
    table = table_of(np.zeros((4, WIDTH)), ["ct_tumor", "mri_glioma", "tumor", "ct_healthy"])
    rows = {name: found.tolist() for name, found in modality_rows(table).items()}
    assert rows == {
        "ct": [True, False, False, True],
        "mri": [False, True, False, False],
        "unknown": [False, False, True, False],
    }


def test_quantiles_are_those_of_the_known_values():
    values = np.full((6, WIDTH), np.nan)
    values[:5, 2] = [5, 1, 3, 2, 4]
    found = distributions(table_of(values, ["tumor"] * 6))["tumor"]
    assert found["standard_deviation"] == Distribution(5, 3.0, 1.2, 2.0, 3.0, 4.0, 4.8)
    assert found["mean"] == Distribution(0, *[None] * 6)


def test_effects_are_those_of_scipy_and_count_every_group_once(table):
    doubled = table.rows(np.ones(80, bool))
    doubled = replace(
        doubled, paths=table.paths * 3, labels=table.labels * 3, errors=table.errors * 3,
        values=np.tile(table.values, (3, 1)),
    )  # fmt: skip
    once, thrice = contrasts(table, np.arange(80)), contrasts(doubled, np.tile(np.arange(80), 3))
    healthy, tumor = table.values[:40, 0], table.values[40:, 0]
    row = once[0].rows[0]
    pairs = tumor[:, None] - healthy
    assert row.delta == pytest.approx(np.sign(pairs).mean())
    pooled = np.sqrt((healthy.var(ddof=1) + tumor.var(ddof=1)) / 2)
    assert row.cohen_d == pytest.approx((tumor.mean() - healthy.mean()) / pooled)
    exact = stats.mannwhitneyu(healthy, tumor, method="asymptotic").pvalue
    assert row.p == pytest.approx(exact)
    assert (thrice[0].n_groups_a, thrice[0].n_groups_b) == (40, 40)
    assert [r.p_holm for r in thrice[0].rows] == pytest.approx([r.p_holm for r in once[0].rows])


def test_only_what_differs_is_significant_after_correction(table):
    rows = contrasts(table, np.arange(80))[0].rows
    assert [row.feature for row in rows if row.p_holm < 0.05] == ["mean"]


def test_every_two_classes_are_compared_and_tumor_with_healthy():
    labels = ["mri_healthy", "mri_glioma", "mri_pituitary"] * 4
    table = table_of(np.random.default_rng(1).normal(size=(12, WIDTH)), labels)
    names = [(found.a, found.b) for found in contrasts(table, np.arange(12))]
    assert names == [
        ("all healthy", "all tumor"), ("mri_glioma", "mri_healthy"),
        ("mri_glioma", "mri_pituitary"), ("mri_healthy", "mri_pituitary"),
    ]  # fmt: skip


def test_a_constant_feature_has_no_effect_that_could_be_told():
    table = table_of(np.ones((8, WIDTH)), ["mri_healthy", "mri_tumor"] * 4)
    row = contrasts(table, np.arange(8))[0].rows[0]
    assert row.cohen_d is None
    assert row.delta == 0
    assert np.isnan(rank_correlation(table.values)).all()


def test_a_feature_that_is_higher_in_healthy_says_so(table, truth):
    values = table.values.copy()
    values[:, 0] *= -1
    up = single_features(table.values, truth, np.arange(80), resamples=RESAMPLES)["mean"]
    down = single_features(values, truth, np.arange(80), resamples=RESAMPLES)["mean"]
    assert (up.higher_in, down.higher_in) == ("tumor", "healthy")
    assert astuple(down.auc) == pytest.approx(astuple(up.auc))
    assert up.auc.low < up.auc.value < up.auc.high


def test_unknown_values_of_a_feature_do_not_count(table, truth):
    values = table.values.copy()
    values[[0, 41], 0] = np.nan
    found = single_features(values, truth, np.arange(80), resamples=0)["mean"]
    known = np.isfinite(values[:, 0])
    assert found.auc.value == pytest.approx(roc_auc_score(truth[known], values[known, 0]))


def test_copies_widen_no_knowledge(truth, table):
    single = single_features(table.values, truth, np.arange(80), resamples=300)["mean"]
    copied = single_features(
        np.repeat(table.values, 4, axis=0), np.repeat(truth, 4), np.repeat(np.arange(80), 4),
        resamples=300,
    )["mean"]  # fmt: skip
    assert copied.auc.low == pytest.approx(single.auc.low)
    assert (copied.auc.n, copied.n_groups) == (320, 80)


def test_a_model_never_tests_on_a_group_it_learned_from(truth, table, monkeypatch):
    groups = np.arange(80) // 4
    seen = []

    class Spy(LogisticRegression):
        def fit(self, X, y):
            self.known = {row.tobytes() for row in X}
            return super().fit(X, y)

        def predict_proba(self, X):
            if len(X) > 4:
                seen.append(self.known)
            return super().predict_proba(X)

    monkeypatch.setattr(separation, "MODELS", {"spy": lambda seed: Spy()})
    compare_models(table.values, truth, groups, resamples=RESAMPLES)
    rows = [row.tobytes() for row in table.values]
    for known in seen:
        parts = {(group, row in known) for row, group in zip(rows, groups.tolist(), strict=True)}
        assert len(parts) == len(set(groups))
    assert len(seen) >= separation.FOLDS


def test_group_membership_that_random_folds_would_learn_is_worth_nothing():
    """Rows of a group are all but equal and labels are random by group."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(60), 10)
    values = rng.normal(size=(60, WIDTH))[groups] + rng.normal(0, 0.01, (600, WIDTH))
    truth = (rng.random(60) < 0.5)[groups]
    found = compare_models(values, truth, groups, resamples=RESAMPLES)
    assert found["logistic_regression"].auc.value < 0.7


def test_importance_points_to_the_feature_that_tells(table, truth):
    found = compare_models(table.values, truth, np.arange(80), resamples=RESAMPLES)
    importance = found["logistic_regression"].importance
    assert max(importance, key=lambda name: importance[name].mean) == "mean"
    assert importance["mean"].mean > 0.2


def test_models_bear_unknown_values(table, truth, monkeypatch):
    monkeypatch.undo()
    values = table.values.copy()
    values[::7, 12] = np.nan
    values[:, 5] = np.nan
    found = compare_models(values, truth, np.arange(80), resamples=RESAMPLES)
    assert set(found) == {"logistic_regression", "random_forest", "gradient_boosting"}
    assert min(model.auc.value for model in found.values()) > 0.8


def test_models_give_the_same_answer_to_the_same_seed(table, truth):
    first, again = (
        compare_models(table.values, truth, np.arange(80), seed=4, resamples=20) for _ in range(2)
    )
    assert first == again


@pytest.mark.parametrize("groups", [np.zeros(80), (np.arange(80) >= 40).astype(int)])
def test_models_need_two_groups_of_either_class(table, truth, groups):
    assert compare_models(table.values, truth, groups, resamples=0) is None


def test_progress_counts_the_models(table, truth):
    seen = []
    compare_models(
        table.values, truth, np.arange(80), resamples=0, progress=lambda *done: seen.append(done)
    )
    assert seen == [(1, 1)]


def test_what_is_read_off_the_outline_is_gone_inside_the_head():
    """Heads of the same tissue, round in one class and slender in the other."""
    rng = np.random.default_rng(6)
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    widths = np.where(np.arange(60) % 2, 0.9, 0.6) + rng.uniform(0, 0.1, 60)
    heads = rows**2 + (columns / widths[:, None, None]) ** 2 < 0.9
    pixels = (rng.integers(90, 220, heads.shape) * heads).astype(np.uint8)
    names = ["mri_healthy", "mri_tumor"] * 30
    whole = table_of(measure_many(pixels), names)
    head = table_of(measure_many(pixels, masks=heads), names)
    found = compare_frames(whole, head, np.arange(60), resamples=RESAMPLES)
    assert found.head_share.auc.auc.value == 1
    assert found.head_share.q50 == pytest.approx(np.median(heads.mean((1, 2))))
    feature = found.features["mean"]
    assert feature.whole.auc.auc.value == 1
    assert feature.whole.with_head_share > 0.98
    assert feature.head_only.auc.auc.value < 0.7
    assert abs(feature.head_only.with_head_share) < 0.4


def test_frames_of_one_class_have_ties_and_no_separation(table):
    healthy = table.rows(np.arange(80) < 40)
    found = compare_frames(healthy, healthy, np.arange(40))
    assert found.head_share.auc is None
    assert found.features["mean"].whole.auc is None
    assert found.head_share.q50 == 1


def test_frames_of_different_scans_are_not_compared(table):
    with pytest.raises(CasesError, match="same scans"):
        compare_frames(table, table.rows(np.arange(80) > 0), np.arange(80))


@pytest.mark.skipif(
    not os.environ.get("TUMORLENS_DATA"), reason="set TUMORLENS_DATA to a folder with the sets"
)
def test_entropy_of_the_whole_square_is_the_area_of_background(tmp_path):
    folder = Path(os.environ["TUMORLENS_DATA"]) / "bohaju"
    if not folder.is_dir():
        pytest.skip("bohaju is not in TUMORLENS_DATA")
    cases = [case for case in read_cases(folder) if case.split == "validation"]
    cases = cases or read_cases(folder)[::12]
    whole = measure_files(cases, InputSpec(), cache=tmp_path)
    head = measure_files(cases, InputSpec(), cache=tmp_path, head_only=True)
    found = compare_frames(whole, head, np.arange(len(cases)), resamples=RESAMPLES).features
    assert found["energy"].whole.with_head_share < -0.99
    assert found["entropy"].whole.with_head_share > 0.8
    assert abs(found["entropy"].head_only.with_head_share) < 0.5
