"""Facts about settings: defaults < environment < flags."""

import os
from pathlib import Path

import pytest

from tumorlens.errors import SettingsError
from tumorlens.settings import Settings, load_settings


def test_without_environment_and_flags_the_defaults_stand():
    assert load_settings({}) == Settings()


def test_the_environment_beats_the_defaults():
    found = load_settings({"TUMORLENS_BATCH": "7", "TUMORLENS_BUNDLE": "a/b", "BATCH": "9"})
    assert found == Settings(batch=7, bundle="a/b")


def test_a_flag_beats_the_environment():
    assert load_settings({"TUMORLENS_BATCH": "7"}, batch=3).batch == 3


def test_a_flag_that_was_not_given_leaves_the_environment():
    assert load_settings({"TUMORLENS_BATCH": "7"}, batch=None).batch == 7


def test_an_empty_variable_is_no_variable():
    assert load_settings({"TUMORLENS_BATCH": "", "TUMORLENS_CACHE": ""}) == Settings()


def test_the_environment_of_the_process_is_read(monkeypatch):
    monkeypatch.setenv("TUMORLENS_WORKERS", "5")
    assert load_settings().workers == 5


@pytest.mark.parametrize("text", ["many", "1.5", "0x10", "-", "1e3"])
def test_a_variable_that_is_no_whole_number_is_refused_by_name(text):
    with pytest.raises(SettingsError, match="TUMORLENS_MAX_BYTES") as caught:
        load_settings({"TUMORLENS_MAX_BYTES": text})
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("workers", -1), ("batch", 0), ("max_bytes", 0), ("max_pixels", -5)]
)
def test_a_setting_below_its_range_is_refused_by_name(name, value):
    with pytest.raises(SettingsError, match=name):
        Settings(**{name: value})
    with pytest.raises(SettingsError, match=name):
        load_settings({}, **{name: value})
    with pytest.raises(SettingsError, match=name):
        load_settings({f"TUMORLENS_{name.upper()}": str(value)})


@pytest.mark.parametrize(
    ("name", "value"), [("workers", 0), ("batch", 1), ("max_bytes", 1), ("max_pixels", 1)]
)
def test_the_least_value_of_a_setting_is_allowed(name, value):
    assert getattr(Settings(**{name: value}), name) == value


def test_no_workers_means_one_per_core():
    assert Settings(workers=0).worker_count == (os.cpu_count() or 1)
    assert Settings(workers=3).worker_count == 3


def test_the_cache_lies_where_it_was_put():
    assert Settings(cache="somewhere").cache_folder == Path("somewhere")


def test_the_cache_follows_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Settings().cache_folder == tmp_path / "tumorlens"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert Settings().cache_folder == Path.home() / ".cache" / "tumorlens"
