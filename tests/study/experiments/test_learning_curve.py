"""Error against the number of training groups: nested parts, one test part, resumable."""

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tumorlens.errors import TrainingError
from tumorlens.labels import ATOMS
from tumorlens.records import Case, Prediction
from tumorlens.study.data import splits
from tumorlens.study.data.index import read_cases
from tumorlens.study.experiments.learning_curve import (
    SizeJob,
    errors_of,
    groups_kept,
    measure_sizes,
)
from tumorlens.study.experiments.learning_curve_report import draw_curve, summarize
from tumorlens.study.experiments.subprocess_runner import STATUS, in_own_process
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.recipes import find_recipe

RECIPE = replace(
    find_recipe("quick"), side=32, train_side=32, epochs=1, batch=8, warmup_epochs=0.0,
    options={"widths": [8, 8, 8], "stem": 8},
)  # fmt: skip
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
        SizeJob(RECIPE, split, Path("out"), Path("cache"), shares=shares)


# --- errors of predictions that are given ---------------------------------------------------


def answer(label: str, tumor: float, *, best: str = "mri_glioma", error: str = ""):
    """A case of a label, and what was predicted of it."""
    atoms = {atom: 0.1 + (atom == best) for atom in ATOMS}
    found = Prediction("x", tumor_probability=None if error else tumor, error=error, atoms=atoms)
    return Case(Path("x"), "x", label, "set"), found


def test_errors_are_of_those_who_can_be_judged():
    given = [
        answer("mri_glioma", 0.9),
        answer("mri_meningioma", 0.4),
        answer("mri_healthy", 0.5),
        answer("mri_healthy", 0.1),
        answer("ct_tumor", 0.9),
        answer("ct_tumor", 0.0, error="broken"),
    ]
    found = errors_of([case for case, _ in given], [prediction for _, prediction in given])
    assert found["error_mri"] == pytest.approx(1 / 4)
    assert found["error_type"] == 0.5
    assert found["error_ct"] is None
    assert (found["n_all"], found["n_mri"], found["n_type"], found["unreadable"]) == (5, 4, 2, 1)


# --- a process of its own -------------------------------------------------------------------


@pytest.mark.skipif(not STATUS.exists(), reason="tells the peak of one process on Linux alone")
def test_the_peak_of_memory_is_that_of_the_work_alone():
    held = np.ones(300 * 2**20, np.uint8)  # of the parent, which must not count
    # Built in, so that the process need not import this module first.
    small, large = (
        in_own_process(eval, f"len(b'x' * {size})", subject="x") for size in (1, 120 * 2**20)
    )
    assert (small[0], large[0]) == (1, 120 * 2**20)
    assert 100 * 2**20 < large[1] - small[1] < 200 * 2**20
    assert small[1] < held.nbytes


def test_a_process_that_is_killed_is_an_error_a_user_can_read():
    with pytest.raises(TrainingError, match="ended from outside"):
        in_own_process(os._exit, 9, subject="run")


# --- a whole curve --------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    cases: Sequence[Case]
    job: SizeJob
    found: dict[str, Any]
    calls: list[tuple[float, int]]  # share and seed of each run that was done


def here(function, *arguments, subject):
    """Call in this process, where Keras is loaded once."""
    return function(*arguments), 512 * 2**20


@pytest.fixture(scope="module")
def curve(tmp_path_factory) -> Curve:
    """Two shares with one seed, of which the second was killed at first."""
    root = tmp_path_factory.mktemp("curve")
    cases = read_cases(write_phantoms(root / "phantoms", per_class=12, seed=8, side=48))
    groups = splits.Groups(np.arange(len(cases)) // 2, np.arange(len(cases)))
    parts = splits.split_cases(cases, groups, test=0.25, val=0.25)
    split = splits.write_split(root / "split.csv", cases, parts, groups=groups)
    cases = splits.apply_split(cases, split)
    job = SizeJob(RECIPE, split, root / "out", root / "cache", shares=(50, 100), seeds=1)
    calls: list[tuple[float, int]] = []

    def call(function, *arguments, subject):
        calls.append(arguments[2:4])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return here(function, *arguments, subject=subject)

    with pytest.raises(KeyboardInterrupt):
        measure_sizes(cases, job, call=call)
    return Curve(cases, job, measure_sizes(cases, job, call=call), calls)


def test_only_what_was_not_finished_is_done_again(curve):
    assert curve.calls == [(50, 0), (100, 0), (100, 0)]


def test_runs_say_how_much_they_learned_from(curve):
    half, whole = curve.found["runs"]
    learned = [case for case in curve.cases if case.split == "train"]
    assert whole["scans"] == whole["pictures"] == len(learned)
    assert whole["groups"] == len({case.group for case in learned})
    assert 0 < half["groups"] < whole["groups"]
    assert half["scans"] < whole["scans"]


def test_every_run_is_judged_on_the_same_test_part(curve):
    n = sum(case.split == "test" for case in curve.cases)
    assert [run["n_all"] for run in curve.found["runs"]] == [n, n]
    assert all(0 <= run["error_all"] <= 1 for run in curve.found["runs"])


def test_time_and_memory_of_each_run_are_kept(curve):
    assert all(run["seconds"] > 0 and run["cpu_seconds"] > 0 for run in curve.found["runs"])
    assert [run["peak_mb"] for run in curve.found["runs"]] == [512, 512]


def test_the_curve_is_a_table_and_a_picture(curve):
    with (curve.job.out / "size_curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["error_all"]) for row in rows] == pytest.approx(
        [run["error_all"] for run in curve.found["runs"]], rel=1e-4
    )
    assert cv2.imread(str(curve.job.out / "size_curve.png")).std() > 5
    assert json.loads((curve.job.out / "size_curve.json").read_text()) == curve.found


def test_going_on_with_another_recipe_is_refused(curve):
    job = replace(curve.job, recipe=replace(RECIPE, epochs=2))
    with pytest.raises(TrainingError, match="another recipe"):
        measure_sizes(curve.cases, job, call=here)


def test_bands_span_the_seeds_and_what_is_unknown_stays_out(tmp_path):
    run = {"share": 50, "pictures": 9, "scans": 9, "error_all": 0.1, "error_ct": None,
           "error_type": 0.0, "seconds": 2.0, "cpu_seconds": 2.0, "peak_mb": None}  # fmt: skip
    runs = [{**run, "groups": groups, "error_mri": error} for groups, error in ((4, 0.2), (6, 0.4))]
    [row] = summarize(runs)
    assert row["error_mri"] == pytest.approx({"mean": 0.3, "least": 0.2, "greatest": 0.4})
    assert (row["groups"]["mean"], row["error_ct"], row["peak_mb"]) == (5, None, None)
    draw_curve([row], tmp_path / "curve.png", title="one size")
    assert cv2.imread(str(tmp_path / "curve.png")).std() > 5
