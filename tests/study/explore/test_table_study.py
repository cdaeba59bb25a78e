"""A table of features is studied by groups, and says so where it has none."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tumorlens.cli import app
from tumorlens.errors import CasesError
from tumorlens.study.explore import separation, tabular
from tumorlens.study.explore.report import write_tabular
from tumorlens.study.explore.tabular import study_features
from tumorlens.study.features.texture import FEATURES

N = 24
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """One quick model and few resamples."""
    monkeypatch.setattr(
        separation, "MODELS", {"random_forest": separation.MODELS["logistic_regression"]}
    )
    study = tabular.study_table
    monkeypatch.setattr(
        tabular, "study_table", lambda *args, **rest: study(*args, resamples=20, **rest)
    )


@pytest.fixture
def table(tmp_path) -> Path:
    """The published form: images without files, classes 0 and 1, its own column names."""
    names = [name.replace("_", " ").title().replace("Asm", "ASM") for name in FEATURES]
    rng = np.random.default_rng(1)
    with (tmp_path / "Brain Tumor.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Image", "Class", *names])
        for i in range(N):
            values = rng.normal(10, 1, len(FEATURES)) + 3 * (i % 2)
            writer.writerow([f"Image{i}", i % 2, *values])
    return tmp_path / "Brain Tumor.csv"


@pytest.fixture
def groups(tmp_path) -> Path:
    path = tmp_path / "groups.csv"
    rows = [f"somewhere/{i % 2}/Image{i}.jpg,g{i // 4},\n" for i in range(N)]
    path.write_text("path,group,patient\n" + "".join(rows))
    return path


def test_the_published_table_is_one_modality_with_three_models_worth_of_figures(table):
    result = study_features(table, groups=None, now=NOW)
    study = result.features["mri"]
    assert (study.n, study.n_groups, result.grouped) == (N, N, False)
    assert study.classes["mri_tumor"].n == N // 2
    assert study.models["random_forest"].auc.value > 0.9


def test_groups_of_an_audit_are_found_by_the_name_of_the_image(table, groups):
    study = study_features(table, groups=groups, now=NOW).features["mri"]
    assert study.n_groups == N // 4


def test_groups_that_do_not_name_an_image_are_refused(table, groups):
    text = groups.read_text().replace("Image7.jpg", "other.jpg")
    groups.write_text(text)
    with pytest.raises(CasesError, match="1 of 24 scans"):
        study_features(table, groups=groups, now=NOW)


def test_a_name_that_several_groups_bear_says_nothing(table, groups):
    groups.write_text(groups.read_text() + "elsewhere/Image7.jpg,other,\n")
    with pytest.raises(CasesError, match="first Image7"):
        study_features(table, groups=groups, now=NOW)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n"])
def test_what_is_no_table_of_groups_is_refused(table, groups, text):
    groups.write_text(text)
    with pytest.raises(CasesError, match=r"groups\.csv"):
        study_features(table, groups=groups, now=NOW)


def test_the_page_says_where_rows_are_taken_as_independent(table, groups, tmp_path):
    for name, chosen in (("alone", None), ("grouped", groups)):
        write_tabular(study_features(table, groups=chosen, now=NOW), tmp_path / name)
    alone, grouped = ((tmp_path / n / "tabular.html").read_text() for n in ("alone", "grouped"))
    assert "Every row counts as independent" in alone
    assert "Every row counts as independent" not in grouped
    for part in ("Research use only", "What shuffling a feature", "Rank correlation",
                 "count that background", "no entropy", "Cliff"):  # fmt: skip
        assert part in alone


def test_the_command_prints_figures_with_interval_and_n(table, groups, tmp_path):
    out = tmp_path / "out"
    words = ["tabular", str(table), "--groups", str(groups), "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "n=24)" in done.stderr
    assert done.stdout.strip() == str(out / "tabular.html")
    assert json.loads((out / "tabular.json").read_text())["schema"] == 1
