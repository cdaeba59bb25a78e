"""Folders that the last version began are gone on with, and say what they said."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tumorlens.files import read_table
from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.data.folds import groups_of
from tumorlens.study.experiments.cross_validation import CrossValidation, cross_validate
from tumorlens.study.experiments.hypothesis_runs import (
    PairedRuns,
    PairedSets,
    run_pairs,
    write_experiments,
)
from tumorlens.study.experiments.learning_curve import LearningCurve, measure_learning_curve
from tumorlens.study.experiments.runner import Job, Listeners
from tumorlens.study.experiments.tuning import tune
from tumorlens.study.recipes import Recipe, read_recipe, read_space
from tumorlens.study.training.run import Job as TrainingJob

STORED = Path(__file__).parents[2] / "support" / "last_version"


def never(job: Job, listeners: Listeners) -> None:
    raise AssertionError(f"{job.folder} is done already")


def cases_of(split: splits.Split) -> list[Case]:
    return [
        Case(Path(key), key, key.split("/")[1], "ph", split=part, group=split.groups[key])
        for key, part in split.parts.items()
    ]


def stored_recipe(plan: Path, tmp_path: Path) -> Recipe:
    (tmp_path / "recipe.json").write_text(json.dumps(json.loads(plan.read_text())["recipe"]))
    return read_recipe(tmp_path / "recipe.json")


@pytest.fixture
def opened(tmp_path):
    """Copy a folder, and return it with the recipe of its plan."""

    def copy(name: str, plan: str) -> tuple[Path, Recipe]:
        shutil.copytree(STORED / name, tmp_path / name)
        return tmp_path / name, stored_recipe(tmp_path / name / plan, tmp_path)

    return copy


def flat(value: object, prefix: str = "") -> dict[str, object]:
    """Return each number under its path; widths of intervals at 0 and 1 may have changed."""
    rows = value.items() if isinstance(value, dict) else enumerate(value)  # pyright: ignore
    found = {}
    for key, held in rows:
        name = f"{prefix}/{key}"
        found |= flat(held, name) if isinstance(held, dict | list) else {name: held}
    return found


def assert_as_stored(found: Path, stored: Path, *, but: Sequence[str] = ()) -> None:
    new, old = (flat(json.loads(path.read_text())) for path in (found, stored))
    new, old = ({k: v for k, v in rows.items() if "/recipe/" not in k and k not in but}
                for rows in (new, old))  # fmt: skip
    assert new == pytest.approx(old)


def test_a_cross_validation(opened, tmp_path):
    out, recipe = opened("folds", "folds.json")
    split = splits.read_split(out / "fold-1" / "split.csv")
    cases = cases_of(split)
    plan = CrossValidation(recipe, 2, 1, out, tmp_path / "cache")
    figures = cross_validate(cases, groups_of(split, cases), plan, executor=never, resume=True)
    # No healthy scan was right: the interval of that had no width.
    high = [f"/detection/{part}/specificity_high" for part in ("all", "ct", "mri")]
    sure = ["/detection/ct/sensitivity_high"]
    assert_as_stored(out / "cross_validation.json", STORED / "folds" / "cross_validation.json",
                     but=[*high, *sure])  # fmt: skip
    healthy = figures.whole.detection["all"].figures["specificity"]
    assert (healthy.value, healthy.low, healthy.n) == (0, 0, 20)
    assert 0.1 < (healthy.high or 0) < 0.3


def test_a_learning_curve(opened, tmp_path):
    out, recipe = opened("curve", "plan.json")
    split = splits.read_split(STORED / "split.csv")
    plan = LearningCurve(recipe, split, out, tmp_path / "cache", (50, 100), seeds=1)
    runs = measure_learning_curve(cases_of(split), plan, executor=never)
    assert [run.groups for run in runs] == [24, 47]
    assert_as_stored(out / "size_curve.json", STORED / "curve" / "size_curve.json")
    assert read_table(out / "size_curve.csv") == read_table(STORED / "curve" / "size_curve.csv")


def test_a_search(opened, tmp_path):
    out, recipe = opened("tune", "tune.json")
    split = splits.read_split(STORED / "split.csv")
    (tmp_path / "space.json").write_text(
        json.dumps(json.loads((out / "tune.json").read_text())["space"])
    )
    job = TrainingJob(recipe, split, out, tmp_path / "cache", "tune")
    tuned = tune(cases_of(split), job, read_space(tmp_path / "space.json"), trials=2,
                 executor=never)  # fmt: skip
    assert (tuned.best.number, len(tuned.trials)) == (0, 2)
    assert replace(tuned.recipe, summary="") == replace(
        read_recipe(STORED / "tune" / "recipe.json"), summary=""
    )
    assert read_table(out / "trials.csv") == read_table(STORED / "tune" / "trials.csv")


def test_pairs_for_hypotheses(opened, tmp_path):
    out, recipe = opened("pairs", "plan.json")
    split = splits.read_split(STORED / "split.csv")
    cases = cases_of(split)
    groups = replace(groups_of(split, cases), audit=split.audit)
    sets = PairedSets(tuple(cases), groups, ("ph",), {"ph": frozenset(split.groups.values())})
    done: list[Job] = []

    def pretend(job: Job, listeners: Listeners) -> None:
        shutil.copytree(out / "ph-0", job.folder)
        done.append(job)

    plan = PairedRuns(recipe, out, tmp_path / "cache")
    assert not run_pairs(sets, plan, at_most=1, executor=pretend)
    assert [job.folder.name for job in done] == ["ph-1"]
    shutil.rmtree(out / "ph-1")
    assert not run_pairs(sets, plan, at_most=0, executor=never)
    write_experiments(out)
    assert_as_stored(out / "experiments.json", STORED / "pairs" / "experiments.json")
