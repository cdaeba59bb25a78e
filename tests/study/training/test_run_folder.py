"""A folder goes on with the run that it holds, of whatever version, and with no other."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tumorlens.errors import TrainingError
from tumorlens.study.recipes import find_recipe
from tumorlens.study.training.run_folder import (
    CONFIG_FILE,
    RunConfig,
    open_or_resume,
    read_config,
    read_history,
    write_history,
)

LAST_VERSION = Path(__file__).parents[2] / "support" / "last_version" / "run_config.json"
CONFIG = RunConfig(find_recipe("quick"), split="abc").to_json()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The config of a run that has begun."""
    open_or_resume(tmp_path / CONFIG_FILE, CONFIG)
    return tmp_path / CONFIG_FILE


def test_a_config_holds_only_what_its_run_has(file):
    stored = json.loads(file.read_text())
    assert stored == CONFIG
    assert set(stored) == {"recipe", "split", "atoms"}


def test_a_folder_that_holds_a_run_is_refused_unless_it_is_resumed(file):
    with pytest.raises(TrainingError, match="holds a run already"):
        open_or_resume(file, CONFIG, resume=False)
    open_or_resume(file, CONFIG, resume=True)


def test_another_run_is_refused(file):
    other = {**CONFIG, "split": "other"}
    with pytest.raises(TrainingError, match="another recipe, data set or split"):
        open_or_resume(file, other)


def test_a_run_that_ended_before_its_first_state_leaves_nothing_to_lose(file):
    other = {**CONFIG, "split": "other"}
    open_or_resume(file, other, resume=False, has_started=False)
    assert json.loads(file.read_text()) == other


def test_a_run_from_before_a_recipe_had_a_field_can_be_resumed(file):
    stored = json.loads(file.read_text())
    for name in ("options", "weights", "head_epochs", "tuned_blocks"):
        del stored["recipe"][name]
    file.write_text(json.dumps(stored))
    open_or_resume(file, CONFIG)
    assert json.loads(file.read_text()) == CONFIG


def test_a_run_of_the_last_version_can_be_resumed(tmp_path):
    stored = json.loads(LAST_VERSION.read_text())
    (tmp_path / CONFIG_FILE).write_text(LAST_VERSION.read_text())
    recipe = replace(find_recipe("tiny"), epochs=2)
    assert read_config(tmp_path) == (recipe, 6, False)
    config = RunConfig(recipe, stored["split"], stored["atoms"], stored["leaks"], stored["cases"])
    open_or_resume(tmp_path / CONFIG_FILE, config.to_json())


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"recipe": {"zebra": 1}, "atoms": []}'])
def test_a_config_that_is_none_is_an_error_a_user_can_read(tmp_path, content):
    (tmp_path / CONFIG_FILE).write_text(content)
    with pytest.raises(TrainingError):
        read_config(tmp_path)


def test_a_history_holds_nothing_where_nothing_was_measured_and_reads_back(tmp_path):
    write_history(tmp_path / "history.csv", [{"epoch": 1.0, "val_auc_ct": math.nan}])
    assert (tmp_path / "history.csv").read_text().splitlines() == ["epoch,val_auc_ct", "1,"]
    [row] = read_history(tmp_path / "history.csv")
    assert row["epoch"] == 1
    assert math.isnan(row["val_auc_ct"])
