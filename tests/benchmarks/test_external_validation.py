"""What is held out is not learned, reflected heads keep their labels, figures hold."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from studies.external_validation.holdout import (
    FULL,
    GEOMETRIC,
    KINDS,
    KINDS_BEFORE,
    HoldoutRun,
    all_runs,
    holdout_figures,
)
from studies.external_validation.page import write_page
from studies.external_validation.reflected import reflect_cases, reflected_figures
from studies.external_validation.scope import distances, scope_figures

from tumorlens.models.bundle import load_bundle
from tumorlens.predictions.predictor import Predictor
from tumorlens.study.data.index import read_cases
from tumorlens.study.experiments.scores import Score, write_scores
from tumorlens.study.phantom.drawing import write_phantoms
from tumorlens.study.recipes import find_recipe


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(load_bundle())


def test_kinds_of_a_run_differ_by_what_the_recipe_adds_alone():
    made = {kind: HoldoutRun("bohaju", kind, 0).recipe().to_json() for kind in KINDS}
    steps = list(itertools.pairwise(made.values()))
    different = [{key for key in a if a[key] != b[key]} - {"name"} for a, b in steps]
    assert different == [
        {"photometric", "balance"},
        {"counterfactual_share", "localization_weight", "ood_images"},
        {"synthetic_lesion_share"},
    ]
    full = made[FULL]["synthetic_lesion_share"]
    assert full == find_recipe("default").synthetic_lesion_share > 0


def write_run(folder: Path, values: np.ndarray, *, seed: int, file: str = "scores.csv") -> None:
    scores = [
        Score(f"bohaju/c{i}", "mri_tumor" if i % 2 else "mri_healthy", f"g{i // 2}", value, 0.5)
        for i, value in enumerate(values.tolist())
    ]
    order = np.random.default_rng(seed).permutation(len(scores))
    write_scores([scores[i] for i in order], folder / file)


def test_the_gain_is_the_mean_over_seeds_that_both_kinds_have(tmp_path):
    rng, truth = np.random.default_rng(0), np.arange(60) % 2 == 1
    values = {(kind, seed): rng.random(60) + step * truth
              for kind, step in ((GEOMETRIC, 0.2), (FULL, 0.6)) for seed in (0, 1)}  # fmt: skip
    values[GEOMETRIC, 2] = rng.random(60)  # its pair has not run
    for (kind, seed), found in values.items():
        write_run(HoldoutRun("bohaju", kind, seed).folder(tmp_path), found, seed=seed)
    first, row = holdout_figures(tmp_path)
    assert (len(first.gains), first.gain.value, row.kind) == (3, 0.0, FULL)
    each = [roc_auc_score(truth, values[FULL, s]) - roc_auc_score(truth, values[GEOMETRIC, s])
            for s in (0, 1)]  # fmt: skip
    assert row.gains == pytest.approx(each)
    assert row.gain.value == pytest.approx(np.mean(each))
    assert row.gain.low < row.gain.value < row.gain.high


def test_runs_of_the_last_version_are_found_by_their_old_names(tmp_path):
    truth = np.arange(40) % 2 == 1
    for kind, name in KINDS_BEFORE.items():
        write_run(tmp_path / f"without-bohaju-{name}-0", 0.5 + 0.1 * truth, seed=0,
                  file="answers.csv")  # fmt: skip
        assert HoldoutRun("bohaju", kind, 0).folder(tmp_path).name.endswith(f"{name}-0")
    assert [row.kind for row in holdout_figures(tmp_path)] == list(KINDS)


def test_nothing_trained_gives_no_figures(tmp_path):
    assert holdout_figures(tmp_path) == []
    assert len(all_runs(3)) == len(set(all_runs(3))) == 24


def test_the_page_tells_what_each_network_held_out_has(tmp_path, predictor):
    truth = np.arange(40) % 2 == 1
    for kind in (GEOMETRIC, FULL):
        values = np.random.default_rng(0).random(40) + (kind == FULL) * truth
        write_run(HoldoutRun("bohaju", kind, 0).folder(tmp_path), values, seed=0)
    found = holdout_figures(tmp_path)
    text = write_page(predictor.bundle, holdout=found, reflected=None, scope={})
    for kind in KINDS:
        assert f"`{kind}`" in text
    assert f"{found[1].gains[0]:+.3f}" in text


def test_reflected_heads_show_both_labels_of_one_patient(tmp_path, predictor):
    write_phantoms(tmp_path / "phantoms", per_class=6, seed=3)
    cases = [case for case in read_cases([tmp_path / "phantoms"]) if case.mask]
    made = reflect_cases(cases, predictor, cache=tmp_path / "cache")
    assert len(made.images) == len(made.truth) == len(made.patients)
    assert made.truth.any()
    assert not made.truth.all()
    found = reflected_figures(made, predictor)
    assert found.n_without == (~made.truth).sum()
    assert 0 <= found.auc.low <= found.auc.value <= found.auc.high <= 1


def test_a_file_that_is_no_picture_lies_infinitely_far_and_is_refused(tmp_path, predictor):
    path = tmp_path / "words.png"
    path.write_text("no picture", encoding="utf-8")
    noise = tmp_path / "noise.png"
    rng = np.random.default_rng(0)
    noise.write_bytes(cv2.imencode(".png", rng.integers(0, 255, (90, 90), np.uint8))[1].tobytes())
    found = distances([path, noise], predictor.bundle, cache=tmp_path / "cache")
    assert found[0] == np.inf
    assert 0 <= found[1] <= 2


def test_figures_of_the_scope_agree_with_scikit_learn():
    rng = np.random.default_rng(1)
    outside, inside = rng.random(40) + 0.3, rng.random(200)
    found = scope_figures(outside, inside, limit=0.9)
    both = np.concatenate([outside, inside])
    assert found.auroc == pytest.approx(roc_auc_score(np.arange(240) < 40, both), abs=1e-12)
    assert found.refused.value == (outside > 0.9).mean()
    assert found.accepted_at_95 == (outside <= np.quantile(inside, 0.95)).mean()


def test_the_page_has_a_section_for_what_was_measured_alone(predictor):
    scope = {"natural": scope_figures(np.ones(4), np.zeros(9), limit=0.5)}
    text = write_page(predictor.bundle, holdout=[], reflected=None, scope=scope)
    assert "## What is no head" in text
    assert "1.000" in text
    assert "## A source left out" not in text
    assert "Research use only" in text
