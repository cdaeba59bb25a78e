"""Error against the number of training groups: nested parts, one test part, resumable."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tumorlens.errors import TrainingError
from tumorlens.files import read_table
from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.data.index import read_cases
from tumorlens.study.experiments import learning_curve
from tumorlens.study.experiments.learning_curve import (
    LearningCurve,
    Run,
    curve_of,
    draw_curve,
    errors_of,
    groups_kept,
    measure_learning_curve,
)
from tumorlens.study.experiments.runner import Job, Listeners
from tumorlens.study.experiments.scores import Score, read_scores
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.recipes import find_recipe

CASES = [
    Case(Path("x"), f"set/{label}/{i}", label, "set", group=f"{label}-{i // 2}")
    for label, count in (("ct_healthy", 80), ("mri_glioma", 40), ("ct_tumor", 4))
    for i in range(count)
]


@pytest.mark.parametrize(
    ("share", "expected"), [(5, (2, 1, 1)), (25, (10, 5, 1)), (50, (20, 10, 1)), (100, (40, 20, 2))]
)
def test_a_share_takes_so_many_groups_of_each_label_and_never_none(share, expected):
    kept = groups_kept(CASES, share=share, seed=0)
    counts = [sum(group.startswith(label) for group in kept)
              for label in ("ct_healthy", "mri_glioma", "ct_tumor")]  # fmt: skip
    assert tuple(counts) == expected


def test_a_smaller_part_lies_inside_a_larger_one_of_the_same_seed():
    parts = [groups_kept(CASES, share=share, seed=3) for share in (5, 10, 25, 50, 100)]
    assert all(small <= large for small, large in pairwise(parts))


def test_another_seed_draws_other_groups_whatever_the_order_of_the_cases():
    assert groups_kept(CASES, share=25, seed=0) != groups_kept(CASES, share=25, seed=1)
    assert groups_kept(CASES[::-1], share=25, seed=0) == groups_kept(CASES, share=25, seed=0)


@pytest.mark.parametrize("shares", [(), (0, 50), (50, 101), (float("nan"),)])
def test_shares_that_cannot_be_taken_are_refused(shares):
    split = splits.Split({}, {}, {}, "", "")
    with pytest.raises(TrainingError, match="cannot be taken"):
        LearningCurve(find_recipe("quick"), split, Path("out"), Path("cache"), shares=shares)


# --- errors of scores that are given --------------------------------------------------------


def test_errors_are_of_those_who_can_be_judged():
    found = errors_of([
        Score("x/1", "mri_glioma", "", 0.9, 0.5, type="glioma"),
        Score("x/2", "mri_meningioma", "", 0.4, 0.5, type="glioma"),
        Score("x/3", "mri_healthy", "", 0.5, 0.5, type="glioma"),
        Score("x/4", "mri_healthy", "", 0.1, 0.5, type="glioma"),
        Score("x/5", "ct_tumor", "", 0.9, 0.5, type="glioma"),
    ])  # fmt: skip
    assert found["error_mri"] == pytest.approx(1 / 4)
    assert found["error_type"] == 0.5
    assert found["error_ct"] is None
    assert (found["n_all"], found["n_mri"], found["n_type"]) == (5, 4, 2)


# --- a whole curve --------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    cases: Sequence[Case]
    plan: LearningCurve
    runs: list[Run]
    started: list[str]  # folders of runs that were started
    learned: list[set[str]]  # groups, of each network


@pytest.fixture(scope="module")
def measured(tmp_path_factory, copied_training, small_recipe, executor) -> Measured:
    """Two shares with one seed, of which the second was killed at first."""
    root = tmp_path_factory.mktemp("curve")
    cases = read_cases(write_phantoms(root / "phantoms", per_class=12, seed=8, side=48))
    groups = splits.Groups(np.arange(len(cases)) // 2, np.arange(len(cases)))
    parts = splits.split_cases(cases, groups, test=0.25, val=0.25)
    split = splits.write_split(root / "split.csv", cases, parts, groups=groups)
    cases = splits.apply_split(cases, split)
    test = [case for case in cases if case.split == "test"]
    test[0].path.write_bytes(b"broken")
    plan = LearningCurve(
        small_recipe, split, root / "out", root / "cache", shares=(50, 100), seeds=1
    )
    started: list[str] = []

    def interrupted(job: Job, listeners: Listeners) -> None:
        if job.folder != plan.out:  # there the network is built once, before all runs
            started.append(job.folder.name)
            if len(started) == 2:
                raise KeyboardInterrupt
        executor(job, listeners)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(learning_curve, "train_network", copied_training)
        with pytest.raises(KeyboardInterrupt):
            measure_learning_curve(cases, plan, executor=interrupted)
        runs = measure_learning_curve(cases, plan, executor=interrupted)
    return Measured(cases, plan, runs, started, copied_training.learned)


def test_only_what_was_not_finished_is_done_again(measured):
    assert measured.started == ["size-50-seed-0", "size-100-seed-0", "size-100-seed-0"]


def test_runs_say_how_much_they_learned_from(measured):
    half, whole = measured.runs
    learned = [case for case in measured.cases if case.split == "train"]
    assert whole.scans == whole.pictures == len(learned)
    assert whole.groups == len({case.group for case in learned})
    assert 0 < half.groups < whole.groups
    assert half.scans < whole.scans
    assert measured.learned[0] < measured.learned[1]


def test_every_run_is_judged_on_the_same_test_part(measured):
    n = sum(case.split == "test" for case in measured.cases)
    for run in measured.runs:
        assert (run.n_all, run.unreadable) == (n - 1, 1)
        assert 0 <= run.error_all <= 1
        scores = read_scores(measured.plan.out / f"size-{run.share:g}-seed-0" / "scores.csv")
        assert errors_of(scores)["error_all"] == pytest.approx(run.error_all)


def test_time_and_memory_of_each_run_are_kept(measured):
    for run in measured.runs:
        assert run.seconds > 0
        assert run.cpu_seconds > 0
        assert run.peak_mb is None or run.peak_mb > 10


def test_the_curve_is_a_table_and_a_plot(measured):
    out = measured.plan.out
    rows = read_table(out / "size_curve.csv")
    assert [float(row["error_all"]) for row in rows] == pytest.approx(
        [run.error_all for run in measured.runs], rel=1e-4
    )
    assert cv2.imread(str(out / "size_curve.png")).std() > 5
    stored = json.loads((out / "size_curve.json").read_text())
    assert stored["runs"] == [asdict(run) for run in measured.runs]
    assert [(row["share"], row["runs"]) for row in stored["curve"]] == [(50, 1), (100, 1)]
    assert stored["curve"][1]["error_all"]["mean"] == measured.runs[1].error_all


def test_going_on_with_another_recipe_is_refused(measured):
    plan = replace(measured.plan, recipe=replace(measured.plan.recipe, epochs=2))
    with pytest.raises(TrainingError, match="another recipe"):
        measure_learning_curve(measured.cases, plan)


def test_bands_span_the_seeds_and_what_is_unknown_stays_out(tmp_path):
    known: dict[str, Any] = dict.fromkeys((field.name for field in fields(Run)), 1)
    known |= {"share": 50, "error_all": 0.1, "error_ct": None, "error_type": 0.0, "peak_mb": None}
    runs = [Run(**{**known, "groups": groups, "error_mri": error})
            for groups, error in ((4, 0.2), (6, 0.4))]  # fmt: skip
    curve = curve_of(runs)
    mri, groups = curve[50]["error_mri"], curve[50]["groups"]
    assert mri is not None
    assert (mri.mean, mri.least, mri.greatest) == pytest.approx((0.3, 0.2, 0.4))
    assert groups is not None
    assert (groups.mean, curve[50]["error_ct"], curve[50]["peak_mb"]) == (5, None, None)
    draw_curve(curve, tmp_path / "curve.png", title="one size")
    assert cv2.imread(str(tmp_path / "curve.png")).std() > 5
