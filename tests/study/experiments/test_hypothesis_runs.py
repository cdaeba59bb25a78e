"""Pairs keep groups apart, leave out what sets share, go on after a stop, and give their AUC."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tumorlens.errors import CasesError, TrainingError
from tumorlens.records import Case, Prediction
from tumorlens.study.data.groups import Groups
from tumorlens.study.experiments import hypothesis_runs
from tumorlens.study.experiments.hypothesis_runs import (
    PairedRuns,
    choose_sets,
    experiments_of,
    run_pairs,
    small_recipe,
)
from tumorlens.study.experiments.runner import in_this_process
from tumorlens.study.experiments.scores import Score
from tumorlens.study.explore.held_out_performance import read_experiments

PAIRS = 12  # groups of each label, of two scans
PLAN = PairedRuns(small_recipe(), Path("out"), Path("cache"), folds=3, max_images=40)


def made_cases() -> tuple[list[Case], Groups]:
    """Two MRI sets that share four groups, and a third without healthy scans."""
    cases, groups = [], []
    for number, name in enumerate(("first", "second")):
        for side, label in enumerate(("mri_healthy", "mri_tumor")):
            for i in range(2 * PAIRS):
                cases.append(Case(Path(f"{name}{label}{i}"), f"{name}/{label}/{i}", label, name))
                shared = i // 2 < 2
                groups.append(100 * (0 if shared else number) + 50 * side + i // 2)
    cases += [Case(Path(f"t{i}"), f"third/{i}", "mri_glioma", "third") for i in range(9)]
    groups += list(range(900, 909))
    return cases, Groups(np.array(groups), np.arange(len(cases)), "abc")


@pytest.fixture
def sets():
    return choose_sets(*made_cases(), PLAN)


def test_sets_without_both_classes_take_no_part(sets):
    assert sets.trained == ("first", "second")
    assert {case.dataset for case in sets.cases} == {"first", "second"}


def test_so_many_pictures_are_taken_and_labels_keep_their_share(sets):
    counts = Counter((case.dataset, case.label) for case in sets.cases)
    assert set(counts.values()) == {20}


def test_one_file_of_each_picture_is_taken():
    cases, groups = made_cases()
    doubled = Groups(groups.groups, np.arange(len(cases)) // 2, "abc")
    found = choose_sets(cases, doubled, replace(PLAN, max_images=1000))
    assert Counter(case.dataset for case in found.cases) == {"first": 24, "second": 24}


def test_sets_of_few_groups_cannot_be_trained_on():
    cases, groups = made_cases()
    with pytest.raises(CasesError, match="no set"):
        choose_sets(cases, groups, replace(PLAN, folds=20))


@pytest.fixture
def asked(monkeypatch) -> list[dict[str, set[str]]]:
    """Replace networks; return what each learned from and was asked for."""
    found = []

    def train(cases, split, *, recipe, **ignored):
        found.append({"learned": {case.group for case in cases if case.split != "test"}})
        return recipe.augmentation > 0

    def predict(is_augmented, cases):
        found[-1]["asked"] = {case.group for case in cases}
        return [
            (case, Prediction("x", tumor_probability=right, threshold=0.5))
            for case in cases
            for right in [0.9 if (case.label == "mri_tumor") == is_augmented else 0.1]
        ]

    monkeypatch.setattr(hypothesis_runs, "train_network", train)
    monkeypatch.setattr(hypothesis_runs, "predict_cases", predict)
    return found


def test_no_network_is_asked_for_a_group_it_learned_from(sets, asked, tmp_path, executor):
    assert run_pairs(sets, replace(PLAN, out=tmp_path), executor=executor)
    assert len(asked) == 2 * 3 * 2
    assert all(row["asked"] and not row["asked"] & row["learned"] for row in asked)


def test_what_two_sets_share_is_asked_in_neither(sets, asked, tmp_path):
    run_pairs(sets, replace(PLAN, out=tmp_path), executor=in_this_process)
    found = json.loads((tmp_path / "experiments.json").read_text())["experiments"]
    matrix = next(row["matrix"] for row in found if row["id"] == "transfer")
    own = {case.group for case in sets.cases if case.dataset == "second"}
    assert matrix["first MRI"]["second MRI"]["n_groups"] == len(own - sets.seen_by["first"])
    assert matrix["first MRI"]["first MRI"]["n"] == 40


def test_pairs_go_on_where_they_stopped(sets, asked, tmp_path):
    plan = replace(PLAN, out=tmp_path)
    assert not run_pairs(sets, plan, at_most=2, executor=in_this_process)
    found = json.loads((tmp_path / "experiments.json").read_text())
    assert found["trials"] == {"done": 2, "planned": 6}
    assert len(asked) == 4
    heard = []
    assert run_pairs(
        sets, plan, executor=in_this_process, on_end=lambda *how_many: heard.append(how_many)
    )
    assert len(asked) == 12
    assert heard == [(3, 6), (4, 6), (5, 6), (6, 6)]


def test_pairs_of_another_plan_are_refused(sets, asked, tmp_path):
    run_pairs(sets, replace(PLAN, out=tmp_path), at_most=1, executor=in_this_process)
    with pytest.raises(TrainingError, match="another recipe"):
        run_pairs(sets, replace(PLAN, out=tmp_path, steps=7), executor=in_this_process)


def test_results_can_be_judged_by(sets, asked, tmp_path):
    run_pairs(sets, replace(PLAN, out=tmp_path), executor=in_this_process)
    found = read_experiments(tmp_path / "experiments.json")
    gains = {e.where: [(p.without, p.with_it) for p in e.pairs] for e in found if e.pairs}
    # The pretended networks are right with augmentation and wrong without.
    assert gains == {"unseen groups of the same set": 3 * [(0, 1)], "other sets": 3 * [(0, 1)]}


def scores_of(*rows: tuple[int, bool, float]) -> list[Score]:
    return [
        Score(f"a/{i}", "tumor" if is_tumor else "healthy", f"g{i}", score, 0.5, fold=fold,
              network="augmented", trained_on="a")
        for i, (fold, is_tumor, score) in enumerate(rows)
    ]  # fmt: skip


def test_the_auc_of_a_set_is_the_mean_of_its_folds():
    scores = scores_of(
        (0, True, 0.9), (0, False, 0.1), (0, True, 0.8), (0, False, 0.2),
        (1, True, 0.1), (1, False, 0.9), (1, True, 0.2), (1, False, 0.15),
    )  # fmt: skip
    cell = experiments_of(scores)[0]["matrix"]["a"]["a"]
    assert cell["auc"] == pytest.approx((1.0 + 0.25) / 2)
    assert cell["auc_low"] <= cell["auc"] <= cell["auc_high"]
    assert (cell["n"], cell["n_groups"], cell["networks"]) == (8, 8, 2)


def test_a_fold_with_one_class_alone_counts_for_nothing():
    assert experiments_of(scores_of((0, True, 0.9), (0, True, 0.1))) == []
