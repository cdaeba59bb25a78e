"""Reproductions: protocols divide as they say, figures are right, the page says what is missing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from studies.baselines.aims import AIMS, FIGURES, Aim, verdict
from studies.baselines.arms import ARMS, FOLDS, SHIPPED, SOURCES, THEIRS
from studies.baselines.figures import classes_of, detection_of, mismatched, types_of
from studies.baselines.page import write_page
from studies.baselines.protocols import (
    PROTOCOLS,
    divide,
    held_out_sets,
    rows_asked,
)
from studies.baselines.sections import (
    augmentation_section,
    cache_section,
    starts_section,
)

from tumorlens import labels
from tumorlens.records import Case
from tumorlens.study.data.splits import Groups
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
ROWS = [
    {
        "repeat": "1", "case": f"c{i}", "group": f"g{i // 2}",
        "label": "mri_glioma" if tumor else "mri_healthy",
        "tumor_probability": f"{score:.9g}", "threshold": "0.4",
        **dict.fromkeys(labels.ATOMS, "0"),
        "mri_glioma": f"{score:.9g}", "mri_healthy": f"{1 - score:.9g}",
    }
    for i, (tumor, score) in enumerate(zip(TRUTH, SCORES, strict=True))
]  # fmt: skip


@pytest.mark.parametrize(("measure", "threshold"), [("threshold", 0.4), ("half", 0.5)])
def test_figures_agree_with_scikit_learn(measure: str, threshold: float):
    found = detection_of(ROWS, measure)
    flagged = threshold <= SCORES
    assert found["accuracy"] == pytest.approx((flagged == TRUTH).mean())
    assert found["sensitivity"] == pytest.approx(flagged[TRUTH].mean())
    assert found["f1"] == pytest.approx(f1_score(TRUTH, flagged))
    assert found["auc"] == pytest.approx(roc_auc_score(TRUTH, SCORES))
    assert found["accuracy_low"] < found["accuracy"] < found["accuracy_high"]
    assert (found["n"], found["n_tumor"], found["n_groups"]) == (80, int(TRUTH.sum()), 40)


def test_the_threshold_that_is_best_on_test_flatters():
    best = detection_of(ROWS, "best on test")["accuracy"]
    assert best == max(((t <= SCORES) == TRUTH).mean() for t in SCORES)
    assert best > detection_of(ROWS, "half")["accuracy"]


def test_two_repeats_give_the_mean_of_both_and_count_a_case_once():
    other = [{**row, "repeat": "2", "tumor_probability": "0.9"} for row in ROWS]
    found = detection_of([*ROWS, *other])
    assert found["accuracy"] == pytest.approx((detection_of(ROWS)["accuracy"] + TRUTH.mean()) / 2)
    assert (found["n"], found["repeats"]) == (80, 2)


def test_labels_in_another_order_bring_accuracy_to_chance():
    sure = [{**row, "tumor_probability": "1" if tumor else "0"}
            for row, tumor in zip(ROWS, TRUTH, strict=True)]  # fmt: skip
    assert detection_of(sure, "half")["accuracy"] == 1
    assert 0.3 < mismatched(sure) < 0.7


def test_a_tumor_without_a_recorded_type_is_right_with_any_type():
    vague = [{**row, "label": "mri_tumor"} for row in ROWS if row["label"] == "mri_glioma"]
    other = [{**row, "mri_glioma": "0", "mri_pituitary": "1", "mri_healthy": "0"} for row in vague]
    assert classes_of(other)["accuracy"] == 1
    assert types_of(other) is None
    named = [{**row, "label": "mri_glioma"} for row in other]
    assert classes_of(named)["accuracy"] == 0
    assert types_of(named)["accuracy"] == 0  # pyright: ignore[reportOptionalSubscript]


def test_every_arm_names_what_there_is():
    assert len({arm.name for arm in ARMS}) == len(ARMS)
    for arm in ARMS:
        assert arm.recipe in RECIPES
        assert arm.system in REPRODUCTIONS
        assert arm.protocol in {*PROTOCOLS, FOLDS, SHIPPED}
        assert not arm.start or arm.start in SOURCES
        assert bool(arm.faults) == (arm.role == THEIRS)
        assert arm.made.name == arm.recipe
    assert {aim.arm for aim in AIMS} <= {arm.name for arm in ARMS}


def test_a_start_holds_out_every_set_it_is_used_on():
    for arm in ARMS:
        if arm.start:
            source = SOURCES[arm.start]
            assert REPRODUCTIONS[arm.system].data_set not in source.folders


def test_the_page_says_what_was_found_and_what_was_not_run():
    page = write_page({"br35h-ours": ROWS})
    accuracy = detection_of(ROWS)["accuracy"]
    assert f"| {accuracy:.3f} (" in page
    assert f"short by {0.98 - accuracy:.3f}" in page
    assert "not run here" in page
    assert "Research use only" in page


def test_a_verdict_is_by_the_figure_itself():
    aim = Aim("br35h-ours", "", "accuracy", 0.5)
    found = FIGURES["accuracy"](ROWS, "threshold")
    assert verdict(found, aim) == "reached"
    assert verdict(found, replace(aim, least=found["value"] + 0.05)) == "short by 0.050"


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
