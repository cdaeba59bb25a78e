"""Baselines: protocols divide as they say, figures are right, the page says what is missing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from studies.baselines.jobs import epochs_of, plan_jobs
from studies.baselines.page import write_page
from studies.baselines.protocols import (
    PROTOCOLS,
    divide,
    rows_asked,
)
from studies.baselines.results import (
    Results,
    add_time,
    collect,
    read_results,
    result_of,
    title,
    write_results,
)
from studies.baselines.runs import (
    FIRST,
    FOLDS,
    LEFT_OUT,
    PRETRAINED,
    RUNS,
    SEARCHES,
    SHIPPED,
    STRANGERS,
    THEIRS,
    Run,
)
from studies.baselines.sections import (
    augmentation_section,
    cache_section,
    kept_section,
    starts_section,
    weights_section,
)
from studies.baselines.sets import Sets, scores_file, scores_in
from studies.baselines.targets import (
    DIFFERENCES,
    FIGURES,
    PAIRS,
    TARGETS,
    Target,
    class_accuracy,
    detection_of,
    difference,
    mismatched,
)
from studies.external_validation.holdout import held_out_sets

from tumorlens.records import Case
from tumorlens.study.data.splits import Groups
from tumorlens.study.experiments.scores import Score, summarize, type_accuracy, write_scores
from tumorlens.study.explore.held_out_performance import AUGMENTATION, Experiment, Pair
from tumorlens.study.recipes import RECIPES, REPRODUCTIONS

PUBLISHED = ("train", "train", "train", "val", "test")
CASES = [
    Case(Path(f"{kind}/{i}"), f"set/{kind}/{i}", kind, "set", split=PUBLISHED[i % 5])
    for kind in ("mri_healthy", "mri_glioma")
    for i in range(60)
]
GROUPS = Groups(np.arange(len(CASES)) // 3, np.arange(len(CASES)) // 2)


def parts_of(protocol: str) -> np.ndarray:
    return np.array(divide(CASES, GROUPS, protocol=protocol)[0])


@pytest.mark.parametrize("name", [name for name, row in PROTOCOLS.items() if row.is_honest])
def test_an_honest_protocol_keeps_what_it_knows_of_copies(name: str):
    assert divide(CASES, GROUPS, protocol=name)[1] is GROUPS


@pytest.mark.parametrize("name", [name for name, row in PROTOCOLS.items() if not row.is_honest])
def test_a_faulty_one_takes_every_file_for_itself(name: str):
    known = divide(CASES, GROUPS, protocol=name)[1]
    assert len(np.unique(known.image_ids)) == len(CASES)


def test_grouped_parts_share_no_group():
    parts = parts_of("grouped")
    for group in np.unique(GROUPS.groups):
        assert len(set(parts[GROUPS.groups == group])) == 1
    assert set(parts) == {"train", "val", "test"}


def test_random_parts_do_share_groups():
    parts = parts_of("random")
    shared = [g for g in np.unique(GROUPS.groups) if len(set(parts[GROUPS.groups == g])) > 1]
    assert shared


def test_the_test_folder_is_learned_and_still_what_is_asked_where_that_is_the_fault():
    name = "published, test learned"
    parts = parts_of(name)
    tested = rows_asked(CASES, parts.tolist(), protocol=name)
    assert {CASES[i].split for i in tested} == {"test"}
    assert set(parts[tested]) == {"train"}


def test_a_held_out_set_takes_along_what_shares_a_group_with_it():
    others = [replace(case, dataset="other") for case in CASES[:30]]
    cases = [*CASES, *others]
    groups = np.concatenate([GROUPS.groups, GROUPS.groups[:12], 1000 + np.arange(18)])
    parts = np.array(held_out_sets(cases, Groups(groups, groups), held=["other"]))
    assert (parts[-30:] == "test").all()
    assert (parts[:12] == "test").all()
    assert set(parts[12 : len(CASES)]) == {"train", "val"}


RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 2, 80).astype(bool)
SCORES = np.clip(TRUTH * 0.3 + RNG.random(80) * 0.7, 0, 1)
GIVEN = [
    Score(f"set/c{i}", "mri_glioma" if tumor else "mri_healthy", f"g{i // 2}", float(score), 0.4,
          type="glioma", atoms={"mri_glioma": float(score), "mri_healthy": 1 - float(score)})
    for i, (tumor, score) in enumerate(zip(TRUTH, SCORES, strict=True))
]  # fmt: skip


@pytest.mark.parametrize(("rule", "threshold"), [("own", 0.4), ("half", 0.5)])
def test_figures_agree_with_scikit_learn(rule: str, threshold: float):
    summary = detection_of(GIVEN, rule)
    found = {name: estimate.value for name, estimate in summary.figures.items()}
    flagged = threshold <= SCORES
    assert found["accuracy"] == pytest.approx((flagged == TRUTH).mean())
    assert found["sensitivity"] == pytest.approx(flagged[TRUTH].mean())
    assert found["f1"] == pytest.approx(f1_score(TRUTH, flagged))
    assert found["auc"] == pytest.approx(roc_auc_score(TRUTH, SCORES))
    accuracy = summary.figures["accuracy"]
    assert accuracy.low < accuracy.value < accuracy.high
    assert (summary.n, summary.n_tumor, summary.n_groups) == (80, int(TRUTH.sum()), 40)


def accuracy_of(scores: list[Score], threshold: str = "own") -> float:
    found = FIGURES["accuracy"](scores, threshold)
    assert found is not None
    assert found.value is not None
    return found.value


def test_the_threshold_that_is_best_on_test_flatters():
    best = accuracy_of(GIVEN, "best on test")
    assert best == max(((t <= SCORES) == TRUTH).mean() for t in SCORES)
    assert best > accuracy_of(GIVEN, "half")


def test_two_repeats_give_the_mean_of_both_and_count_a_case_once():
    other = [replace(score, repeat=2, tumor_probability=0.9) for score in GIVEN]
    assert accuracy_of([*GIVEN, *other]) == pytest.approx((accuracy_of(GIVEN) + TRUTH.mean()) / 2)
    found = detection_of([*GIVEN, *other])
    assert (found.n, found.repeats) == (80, 2)


def test_labels_in_another_order_bring_accuracy_to_chance():
    sure = [replace(score, tumor_probability=float(score.is_tumor)) for score in GIVEN]
    assert accuracy_of(sure, "half") == 1
    assert 0.3 < mismatched(sure) < 0.7


def test_a_tumor_without_a_recorded_type_is_right_with_any_type():
    def right(scores: list[Score]) -> float | None:
        return summarize(scores, class_accuracy).figures["accuracy"].value

    named = [replace(score, type="pituitary", atoms={"mri_pituitary": 0.9, "mri_glioma": 0.1})
             for score in GIVEN if score.is_tumor]  # fmt: skip
    vague = [replace(score, label="mri_tumor") for score in named]
    assert (right(vague), right(named)) == (1, 0)
    assert FIGURES["type right"](vague, "own") is None
    assert summarize(named, type_accuracy).figures["accuracy"].value == 0


def test_every_run_names_what_there_is():
    assert len({run.name for run in RUNS}) == len(RUNS)
    for run in RUNS:
        assert run.recipe in RECIPES
        assert run.system in REPRODUCTIONS
        assert run.protocol in {*PROTOCOLS, FOLDS, SHIPPED, LEFT_OUT}
        assert run.start in {"", PRETRAINED, STRANGERS}
        assert bool(run.faults) == (run.role == THEIRS)
        assert run.changed_recipe.name == run.recipe
        assert not run.search or run.search in SEARCHES
    names = {run.name for run in RUNS}
    assert {target.run for target in TARGETS} | set(FIRST) <= names
    assert {name for pair in PAIRS for name in (pair.ours, pair.theirs)} <= names


def test_no_run_of_an_earlier_system_has_fewer_pixels_or_epochs_than_it_had():
    for run in RUNS:
        if run.recipe.startswith("baseline-"):
            whole = RECIPES[run.recipe]
            used = run.changed_recipe
            assert (used.side, used.train_side) == (whole.side, whole.train_side)
            assert run.stored or used.epochs >= whole.epochs


def test_every_job_comes_after_those_that_it_starts_from(tmp_path):
    names = list(plan_jobs(Sets(tmp_path, tmp_path, tmp_path, tmp_path)))
    assert len(names) == len(RUNS) + len(SEARCHES) + 1 + 3
    for run in RUNS:
        assert run.start != PRETRAINED or names.index(PRETRAINED) < names.index(run.name)
        assert not run.search or names.index(run.search) < names.index(run.name)
    assert names.index("pretrained") < names.index("start-vicreg")
    assert [epochs_of(n) for n in ("br35h-ours", "start-imagenet", "pretrained")] == [15, 0, 10]


def test_scores_of_the_last_version_are_found_by_their_old_name(tmp_path):
    write_scores(GIVEN, tmp_path / "answers.csv")
    assert scores_file(tmp_path) == "answers.csv"
    assert [score.case for score in scores_in(tmp_path)] == [score.case for score in GIVEN]
    assert scores_file(tmp_path / "new") == "scores.csv"


def run_named(name: str) -> Run:
    return next(run for run in RUNS if run.name == name)


def results_of(name: str, folder: Path) -> Results:
    return Results({name: result_of(run_named(name), GIVEN, folder)})


def test_the_page_tells_what_was_found_and_what_was_not_run(tmp_path):
    page = write_page(results_of("br35h-ours", tmp_path))
    accuracy = accuracy_of(GIVEN)
    assert f"| {accuracy:.3f} (" in page
    assert f"short by {0.93 - accuracy:.3f}" in page
    assert "not run yet: `--only bohaju-search bohaju-cnn-published`" in page
    assert "Research use only" in page


def test_a_result_stays_where_the_folder_of_its_run_is_gone(tmp_path):
    known = results_of("br35h-ours", tmp_path)
    write_results(collect(tmp_path / "nothing", known), tmp_path / "results.json")
    read = read_results(tmp_path / "results.json")
    assert write_page(read) == write_page(known)


def test_the_time_of_a_run_adds_up_over_its_starts(tmp_path):
    for seconds in (600, 1200):
        add_time(tmp_path, seconds)
    result = result_of(run_named("br35h-ours"), GIVEN, tmp_path)
    assert result.seconds == 1800
    (tmp_path / "history.csv").write_text("epoch,loss\n1,0.5\n")  # of a version without times
    assert result_of(run_named("br35h-ours"), GIVEN, tmp_path) == result
    assert "| 30 min |" in write_page(Results({"br35h-ours": result}))


def test_fewer_repeats_than_stated_are_said(tmp_path):
    result = result_of(run_named("navoneel-ours"), GIVEN, tmp_path)
    assert result.remark == "1 of 5 repeats"
    assert "1 of 5 repeats" in write_page(Results({"navoneel-ours": result}))


def test_a_gain_is_paired_scan_by_scan_and_group_by_group():
    worse = [replace(score, atoms={"mri_glioma": 0.9}, type="glioma") for score in GIVEN]
    gain = difference(GIVEN, worse[:60], "classes right")
    alone = [summarize(rows[:60], class_accuracy).figures["accuracy"].value
             for rows in (GIVEN, worse)]  # fmt: skip
    assert gain.value == pytest.approx(alone[0] - alone[1])
    assert gain.n == 60
    assert difference(GIVEN, GIVEN, "AUC on MRI").high == 0
    assert set(DIFFERENCES) == set(PAIRS[0].figures)
    assert title(PAIRS[0]) == f"{PAIRS[0].ours} beside {PAIRS[0].theirs}"


def test_a_network_with_a_class_for_tumors_without_type_has_to_name_it(tmp_path):
    seven = [replace(score, label="mri_tumor", atoms={"mri_tumor": 0.6, "mri_glioma": p})
             for score, p in zip(GIVEN[:4], (0.1, 0.7, 0.2, 0.9), strict=True)]  # fmt: skip
    write_scores(seven, tmp_path / "scores.csv")
    found = summarize(scores_in(tmp_path), class_accuracy).figures["accuracy"]
    assert found.value == 0.5


def test_a_section_without_its_runs_stays_as_the_page_has_it():
    page = "# Page\n\n## One\n\ntext of one\n\n## Two\n\ntext of two\n"
    assert kept_section(page, "One") == "## One\n\ntext of one\n"
    assert kept_section(page, "Two") == "## Two\n\ntext of two\n"
    assert kept_section(page, "Three") == ""


def test_a_verdict_is_by_the_figure_itself():
    accuracy = accuracy_of(GIVEN)
    assert Target("br35h-ours", "", "accuracy", 0.5).verdict(accuracy) == "reached"
    missed = Target("br35h-ours", "", "accuracy", accuracy + 0.05)
    assert missed.verdict(accuracy) == "short by 0.050"


def test_a_start_is_compared_with_random_weights_seed_by_seed():
    def curve(errors: list[float]) -> dict:
        runs = [
            {"seed": seed, "groups": 9, "pictures": 20, "n_ct": 5, "n_mri": 6, "n_type": 4,
             "error_ct": error, "error_mri": error, "error_type": error}
            for seed, error in enumerate(errors)
        ]  # fmt: skip
        return {"runs": runs}

    text = starts_section(
        {"start-random": curve([0.30, 0.20, 0.25]), "start-vicreg": curve([0.20, 0.12, 0.13])}, 7
    )
    gains = np.array([0.10, 0.08, 0.12])
    half = 4.302652729911275 * gains.std(ddof=1) / np.sqrt(3)  # t of 2 degrees of freedom
    assert f"+0.100 ({0.1 - half:+.3f} to {0.1 + half:+.3f}, n=3)" in text
    assert "0.250 (0.200-0.300)" in text
    assert "for 7 epochs" in text


@pytest.mark.parametrize(
    ("gains", "verdict_of_them"),
    [
        ([0.02, 0.03, 0.02, 0.04, 0.03], "| supported |"),
        ([-0.02, -0.03, -0.02, -0.04, -0.03], "| not supported |"),
        ([0.02, -0.03, 0.02, -0.04, 0.03], "| undecided |"),
    ],
)
def test_augmentation_is_judged_by_the_interval_of_its_pairs(
    gains: list[float], verdict_of_them: str
):
    pairs = tuple(Pair(seed, 0.8, 0.8 + gain) for seed, gain in enumerate(gains))
    text = augmentation_section([Experiment(AUGMENTATION, "AUC", pairs, where="other sets")])
    assert verdict_of_them in text
    assert "n=5" in text


def test_sections_without_results_are_left_out():
    assert not starts_section({}, 0)
    assert not augmentation_section([])
    assert not cache_section(None)
    assert not weights_section(None)
