"""Jobs of the baselines: a search at full length comes first, and its best recipe is taken."""

import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from studies.baselines import jobs
from studies.baselines.runs import RUNS, SEARCHES, Run
from studies.baselines.sets import Sets, split_of
from studies.external_validation import holdout

from tumorlens.errors import LeakError, TrainingError
from tumorlens.records import Case
from tumorlens.study.data.groups import Groups
from tumorlens.study.experiments import tuning
from tumorlens.study.experiments.runner import SILENT
from tumorlens.study.recipes import find_recipe, write_recipe

CASES = [
    Case(
        Path(f"{part}/{name}/{i}.png"), f"bohaju/{part}/{name}/{i}.png", name, "bohaju", split=part
    )
    for part in ("train", "val", "test")
    for name in ("mri_healthy", "mri_tumor")
    for i in range(6)
]


@pytest.fixture
def sets(tmp_path, monkeypatch) -> Sets:
    groups = Groups(np.arange(len(CASES)), np.arange(len(CASES)))
    monkeypatch.setattr(Sets, "read", lambda _self, _names: (CASES, groups))
    return Sets(tmp_path, tmp_path, tmp_path, tmp_path)


def run_named(name: str) -> Run:
    return next(run for run in RUNS if run.name == name)


def test_a_search_has_the_pixels_epochs_and_space_of_its_authors(sets, monkeypatch):
    asked: dict[str, Any] = {}

    def tune(cases: Any, job: Any, space: Any, **options: Any) -> Any:
        asked.update(cases=cases, job=job, space=space, **options)
        return SimpleNamespace(trials=[1, 2], best=SimpleNamespace(number=1))

    monkeypatch.setattr(tuning, "tune", tune)
    [job] = [job for name, job in jobs.plan_jobs(sets).items() if name == "bohaju-search"]
    job.folder.mkdir()
    job.run(SILENT)
    assert (asked["job"].recipe.side, asked["job"].recipe.epochs) == (240, 40)
    assert asked["space"]["options.dense"].values == (64, 128, 256, 512)
    assert asked["trials"] == SEARCHES["bohaju-search"].trials
    assert {case.key for case in asked["cases"] if case.split == "test"} == {
        case.key for case in CASES if case.split == "test"
    }
    assert job.is_done


def test_a_run_takes_what_its_search_found_with_its_own_changes(sets):
    run = run_named("bohaju-cnn-published")
    found = sets.runs / run.search
    found.mkdir()
    best = replace(find_recipe(run.recipe), options={"dense": 512}, augmentation=1.2)
    write_recipe(best, found / "recipe.json")
    with pytest.raises(TrainingError, match="has not ended") as caught:
        jobs._recipe_of(run, sets)
    assert "--only bohaju-search bohaju-cnn-published" in caught.value.fix
    (found / jobs.ENDED).write_text("ended")
    recipe = jobs._recipe_of(run, sets)
    assert (recipe.options, recipe.augmentation) == ({"dense": 512}, 0.0)


def test_a_run_without_a_search_takes_its_own_recipe(sets):
    run = run_named("navoneel-cnn-random")
    assert jobs._recipe_of(run, sets) == run.changed_recipe


def test_what_others_start_from_is_done_before_and_no_row_is_forgotten(sets):
    planned = jobs.plan_jobs(sets)
    first, later = ({job.folder.name for job in wave} for wave in jobs.waves_of(planned))
    assert first | later == set(planned)
    assert {run.search for run in RUNS if run.search} | {"pretrained"} <= first
    assert "bohaju-cnn-published" in later


def test_the_domain_network_starts_from_what_saw_nothing_that_it_holds_out(sets):
    _, groups = sets.read(())
    held = [case.split for case in CASES]
    run = run_named("multimodal-domain-grouped")
    split = split_of(sets.runs / "own", CASES, held, groups)
    split_of(sets.runs / run.start, CASES, held, groups)
    assert jobs._start(run, CASES, split, sets) == sets.runs / "pretrained"
    (sets.runs / run.start / "split.csv").unlink()
    split_of(sets.runs / run.start, CASES, held[::-1], groups)
    with pytest.raises(LeakError, match="learned from 12 scans that are held out here"):
        jobs._start(run, CASES, split, sets)


def test_an_adapted_network_starts_from_what_saw_none_of_its_scans(sets, tmp_path):
    run, (_, groups) = run_named("bohaju-ours-adapted"), sets.read(())
    with pytest.raises(TrainingError, match="--strangers RUN"):
        jobs._strangers(run, CASES, sets)
    saw_nothing = replace(sets, strangers=tmp_path / "nothing")
    split_of(saw_nothing.strangers, CASES, ["test"] * len(CASES), groups)
    assert jobs._strangers(run, CASES, saw_nothing) == tmp_path / "nothing"
    with pytest.raises(TrainingError, match="a split without 1 of these scans, first bohaju/new"):
        jobs._strangers(run, [replace(CASES[0], key="bohaju/new.png")], saw_nothing)
    saw_some = replace(sets, strangers=tmp_path / "some")
    split_of(saw_some.strangers, CASES, [case.split for case in CASES], groups)
    with pytest.raises(LeakError, match="learned from 24 scans"):
        jobs._strangers(run, CASES, saw_some)


def test_jobs_go_to_a_worker_as_plain_data(sets):
    for job in [*jobs.plan_jobs(sets).values(), *holdout.plan_jobs(1, sets, epochs=1, steps=2)]:
        again = pickle.loads(pickle.dumps(job))
        assert (again.folder, again.result, again.work) == (job.folder, job.result, job.work)
    assert (job.settings["run"].recipe().epochs, job.settings["run"].steps) == (1, 2)


def test_the_time_of_a_job_that_fails_counts_too(sets):
    [job] = [job for name, job in jobs.plan_jobs(sets).items() if name == "bohaju-cnn-published"]
    job.folder.mkdir()
    with pytest.raises(TrainingError, match="has not ended"):
        job.run(SILENT)
    assert (job.folder / "time.json").exists()
