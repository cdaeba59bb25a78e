"""A search over a recipe's space: on validation alone, resumable, and its best is a recipe."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import optuna
import pytest

from tumorlens.errors import TrainingError
from tumorlens.files import read_table
from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.data.index import read_cases
from tumorlens.study.experiments import tuning
from tumorlens.study.experiments.runner import Listeners
from tumorlens.study.experiments.trials import (
    Trial,
    draw_trials,
    own_values,
    recipe_with,
    write_trials,
)
from tumorlens.study.experiments.tuning import Tuned, tune
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.recipes import (
    RECIPES,
    Choices,
    Range,
    Recipe,
    find_recipe,
    read_recipe,
    read_space,
    space_of,
    write_recipe,
)
from tumorlens.study.training.learner import build_network
from tumorlens.study.training.run import Job

RECIPE = replace(
    find_recipe("quick"), side=32, train_side=32, epochs=2, batch=8, warmup_epochs=0.0,
    options={"widths": [8, 8], "depths": [0, 0], "stem": 8}, augmentation=0.0,
)  # fmt: skip
SPACE = {
    "learning_rate": Range(1e-4, 1e-2, log=True),
    "options.dropout": Range(0.0, 0.5),
    "options.widths": Choices(((8, 8), (12, 16))),
}
TRIALS = 3


@dataclass
class Ear:
    """Hears epochs and trials, and can break the search off in an epoch."""

    stop_after: int = 10**6
    epochs: list[float] = field(default_factory=list)
    begun: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    ended: list[tuple[int, bool]] = field(default_factory=list)

    def on_batch_end(self, epoch: int, done: int, total: int, loss: float) -> None:
        if len(self.epochs) == self.stop_after:
            raise KeyboardInterrupt

    def on_epoch_end(self, row: Any, is_best: bool) -> None:
        self.epochs.append(row["epoch"])

    def end(self, trial: Trial, folder: Path) -> None:
        self.ended.append((trial.number, (folder / "history.csv").exists()))

    def begin(self, number: int, values: Mapping[str, Any]) -> None:
        self.begun.append((number, values))


@dataclass(frozen=True)
class Searched:
    cases: Sequence[Case]
    job: Job
    tuned: Tuned
    ears: list[Ear]  # until the kill, and after it


@pytest.fixture(scope="module")
def searched(tmp_path_factory, executor) -> Searched:
    """Three trials, broken off in the second epoch of the second, and taken up again."""
    root = tmp_path_factory.mktemp("search")
    cases = read_cases(write_phantoms(root / "phantoms", per_class=5, seed=6, side=48))
    groups = splits.Groups(np.arange(len(cases)), np.arange(len(cases)))
    parts = splits.split_cases(cases, groups, seed=1)
    split = splits.write_split(root / "split.csv", cases, parts, groups=groups)
    cases = splits.apply_split(cases, split)
    for case in cases:
        if case.split == "test":
            case.path.unlink()  # whoever read it would say so
    job = Job(RECIPE, split, root / "run", root / "cache", "tune")
    ears = [Ear(stop_after=3), Ear()]
    with pytest.raises(KeyboardInterrupt):
        tune(cases, job, SPACE, trials=TRIALS, listeners=Listeners(ears[0]), on_start=ears[0].begin)

    def twice(job, listeners):
        """As where a worker is killed between its last word to the search and its end."""
        executor(job, listeners)
        executor(job, listeners)

    tuned = tune(
        cases, job, SPACE, trials=TRIALS, listeners=Listeners(ears[1]), executor=twice,
        on_start=ears[1].begin, on_end=ears[1].end,
    )  # fmt: skip
    return Searched(cases, job, tuned, ears)


def test_the_first_trial_is_the_recipe_itself(searched):
    number, values = searched.ears[0].begun[0]
    assert number == 0
    assert values == {"learning_rate": 0.002, "options.dropout": 0.1, "options.widths": [8, 8]}


def test_a_trial_that_was_broken_off_goes_on_with_its_values_in_the_epoch_it_was_in(searched):
    assert searched.ears[0].epochs == [1, 2, 1]
    assert searched.ears[1].begun[0][1] == searched.ears[0].begun[1][1]
    assert searched.ears[1].epochs[0] == 2


def test_each_trial_that_ends_is_reported_with_the_folder_of_its_epochs(searched):
    assert searched.ears[1].ended == [(number, True) for number, _ in searched.ears[1].begun]


def test_as_many_trials_end_as_were_asked_for(searched):
    rows = read_table(searched.job.out / "trials.csv")
    assert len(rows) == len(searched.tuned.trials) == TRIALS
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    for row in rows:
        assert (row["state"] == "complete") == (row["epochs"] == "2")
        assert float(row["val_loss"]) > 0
        assert float(row["seconds"]) > 0
        assert 1e-4 <= float(row["learning_rate"]) <= 1e-2


def test_two_trials_under_way_with_the_same_values_have_folders_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setattr(tuning, "_prepared", lambda *_: None)
    plan = tuning._plan_trials(
        optuna.create_study(), [], SimpleNamespace(out=tmp_path), {"batch": Choices((16,))},
        trials=2, listeners=Listeners(), on_start=lambda *_: None,
    )  # fmt: skip
    assert len({one.folder for one in plan}) == 2


def test_the_best_has_the_least_validation_loss_of_the_completed(searched):
    rows = [
        row for row in read_table(searched.job.out / "trials.csv") if row["state"] == "complete"
    ]
    least = min(rows, key=lambda row: float(row["val_loss"]))
    assert searched.tuned.best.number == int(least["trial"])


def test_the_best_recipe_is_one_to_train_with(searched):
    found = find_recipe(str(searched.job.out / "recipe.json"))
    assert found == searched.tuned.recipe
    best = searched.tuned.best.values
    assert found.learning_rate == best["learning_rate"]
    assert found.options == {"stem": 8, "depths": [0, 0], "dropout": best["options.dropout"],
                             "widths": best["options.widths"]}  # fmt: skip
    assert (found.name, found.epochs, found.side) == ("quick-best", 2, 32)
    assert build_network(found, side=32, atoms=6).output.shape[-1] == 6


def test_the_trials_are_a_picture(searched):
    picture = cv2.imread(str(searched.job.out / "trials.png"))
    assert picture is not None
    assert picture.std() > 5


def test_only_the_history_of_a_trial_that_ended_is_kept(searched):
    folders = list((searched.job.out / "trials").iterdir())
    assert len(folders) == TRIALS
    assert all([path.name for path in folder.iterdir()] == ["history.csv"] for folder in folders)


def test_a_search_that_is_finished_trains_nothing_more(searched):
    ear = Ear()
    again = tune(searched.cases, searched.job, SPACE, trials=TRIALS, listeners=Listeners(ear))
    assert ear.epochs == []
    assert again.recipe == searched.tuned.recipe


def copied(searched: Searched, out: Path) -> Job:
    shutil.copytree(searched.job.out, out)
    return replace(searched.job, out=out)


def test_a_line_of_the_journal_that_a_kill_cut_short_is_dropped(searched, tmp_path):
    job = copied(searched, tmp_path / "run")
    with (job.out / "trials.journal").open("ab") as file:
        file.write(b'{"op_code":4,"worker_')
    for _ in range(2):
        found = tune(searched.cases, job, SPACE, trials=TRIALS)
        assert found.recipe == searched.tuned.recipe


def test_a_damaged_journal_is_an_error_a_user_can_read(searched, tmp_path):
    job = copied(searched, tmp_path / "run")
    lines = (job.out / "trials.journal").read_bytes().splitlines(keepends=True)
    (job.out / "trials.journal").write_bytes(b"".join([*lines[:3], b"zebra\n", *lines[3:]]))
    with pytest.raises(TrainingError, match="is damaged"):
        tune(searched.cases, job, SPACE, trials=TRIALS)


def test_another_space_in_the_same_folder_is_refused(searched):
    other = {"learning_rate": Range(1e-4, 1e-2)}
    with pytest.raises(TrainingError, match="another recipe"):
        tune(searched.cases, searched.job, other, trials=1)


def test_a_search_in_which_nothing_can_be_trained_ends_with_the_reason(searched, tmp_path):
    recipe = replace(RECIPE, network="baseline-cnn-small", side=48, train_side=32, options={})
    job = replace(searched.job, recipe=recipe, out=tmp_path / "run")
    space = {"learning_rate": Range(1e-4, 1e-2, log=True)}
    with pytest.raises(TrainingError, match="cannot be trained at 32 px"):
        tune(searched.cases, job, space, trials=20)
    assert not list(job.out.glob("*"))


def test_an_option_that_the_network_has_not_is_refused_at_once(searched, tmp_path):
    job = replace(searched.job, out=tmp_path / "run")
    with pytest.raises(TrainingError, match="has no option depth"):
        tune(searched.cases, job, {"options.depth": Choices((1, 2))}, trials=1)
    assert not list(job.out.glob("*"))


# --- spaces and recipes as data -------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_every_recipe_states_a_space_that_holds_its_own_values(recipe: Recipe):
    space = space_of(recipe)
    assert set(own_values(recipe, space)) == set(space)


@pytest.mark.parametrize("name", ["quick", "default"])
def test_rate_decay_augmentation_dropout_and_width_of_our_networks_are_tuned(name):
    assert set(space_of(find_recipe(name))) == {
        "learning_rate", "weight_decay", "augmentation", "options.dropout", "options.widths",
    }  # fmt: skip


def test_every_width_of_a_space_builds_a_network():
    for name in ("quick", "default"):
        recipe = find_recipe(name)
        for widths in space_of(recipe)["options.widths"].values:
            changed = recipe_with(recipe, {"options.widths": list(widths)})
            assert build_network(changed, side=32, atoms=6).count_params() > 0


def test_a_space_survives_json(tmp_path):
    path = tmp_path / "space.json"
    path.write_text(json.dumps({name: row.to_json() for name, row in SPACE.items()}))
    assert read_space(path) == SPACE


SPACES = {
    "no json": ("{", "cannot be read"),
    "no object": ("[1]", "is no space"),
    "empty": ("{}", "is no space"),
    "unknown field": ('{"zebra": [1]}', "zebra"),
    "a field that all trials share": ('{"side": [64, 96]}', "side"),
    "low above high": ('{"ema": {"low": 1, "high": 0}}', "ema"),
    "logarithm of 0": ('{"ema": {"low": 0, "high": 1, "log": true}}', "ema"),
    "not a number": ('{"ema": {"low": NaN, "high": 1}}', "ema"),
    "words": ('{"learning_rate": ["fast"]}', "fast"),
    "a range of whole numbers": ('{"batch": {"low": 8, "high": 64}}', "list of choices"),
    "no choices": ('{"batch": []}', "batch"),
}


@pytest.mark.parametrize(("text", "match"), SPACES.values(), ids=SPACES.keys())
def test_a_space_that_cannot_be_searched_is_refused(tmp_path, text, match):
    path = tmp_path / "space.json"
    path.write_text(text)
    with pytest.raises(TrainingError, match=match):
        read_space(path)


def test_a_recipe_survives_its_file(tmp_path):
    write_recipe(RECIPE, tmp_path / "recipe.json")
    assert read_recipe(tmp_path / "recipe.json") == RECIPE


WHOLE = RECIPE.to_json()
FILES = {
    "no file": (None, "cannot be read"),
    "no json": ("{", "cannot be read"),
    "no object": ("[1]", "is no recipe"),
    "an unknown field": (json.dumps({**WHOLE, "zebra": 1}), "zebra"),
    "a field less": (json.dumps({k: v for k, v in WHOLE.items() if k != "side"}), "lacks side"),
    "words for a number": (json.dumps({**WHOLE, "epochs": "many"}), "many"),
    "true for a number": (json.dumps({**WHOLE, "epochs": True}), "True"),
}


@pytest.mark.parametrize(("text", "match"), FILES.values(), ids=FILES.keys())
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, match):
    path = tmp_path / "recipe.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(TrainingError, match=match):
        find_recipe(str(path))


# --- table and picture of trials that are given ---------------------------------------------

GIVEN = [
    Trial(0, "complete", 0.5, 3, 9.0, {"learning_rate": 1e-3, "options.widths": [8, 8]}),
    Trial(1, "pruned", 0.9, 1, 3.0, {"learning_rate": 1e-2, "options.widths": [8, 16]}),
    Trial(2, "failed", float("nan"), 0, 0.1, {"learning_rate": 9e-2, "options.widths": [8, 8]},
          "diverged"),
]  # fmt: skip


def test_a_failed_trial_is_a_row_with_its_reason(tmp_path):
    write_trials(GIVEN, tmp_path / "trials.csv")
    rows = read_table(tmp_path / "trials.csv")
    assert [row["state"] for row in rows] == ["complete", "pruned", "failed"]
    assert (rows[2]["val_loss"], rows[2]["error"]) == ("", "diverged")
    assert rows[1]["options.widths"] == "[8, 16]"


@pytest.mark.parametrize("trials", [GIVEN, GIVEN[2:], []], ids=["some", "one failed", "none"])
def test_any_trials_can_be_drawn(tmp_path, trials):
    draw_trials(trials, {}, tmp_path / "trials.png", title="trials")
    picture = cv2.imread(str(tmp_path / "trials.png"))
    assert picture is not None
    assert picture.std() > 5


def test_a_recipe_with_stages_of_its_own_gets_no_widths_of_others():
    small = replace(find_recipe("quick"), options={"widths": [8, 16], "depths": [1, 1]})
    assert "options.widths" not in space_of(small)
    assert set(space_of(small)) < set(space_of(find_recipe("quick")))
