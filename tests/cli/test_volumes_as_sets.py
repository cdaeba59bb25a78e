"""Labeled volumes go through every command of the bench, as slices of one patient each."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.cheap import SMALL, make_cheap
from support.command import command_runner
from support.trained_run import RECIPE

from tumorlens.study.phantom import volumes
from tumorlens.study.recipes.recipe import write_recipe

SLICES, PER_CLASS = 6, 5


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUMORLENS_CACHE", str(tmp_path / "cache"))
    return command_runner(monkeypatch, capsys)


def rows_of(path: str) -> list[dict[str, str]]:
    with Path(path).open() as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("without_plots")
def test_phantom_volumes_are_indexed_audited_split_trained_on_and_evaluated(run, monkeypatch):
    make_cheap(monkeypatch)
    monkeypatch.setattr(volumes, "SLICES", SLICES)
    volumes.write_volumes(Path("heads"), form="nifti", per_class=PER_CLASS, seed=2, side=64)
    write_recipe(replace(RECIPE, epochs=1, options=SMALL["options"]), Path("tiny.json"))
    steps = [
        ("data", "index", "heads", "--out", "cases.csv"),
        ("audit", "heads", "--out", "audit"),
        ("split", "heads", "--audit", "audit", "--out", "split.csv"),
        ("features", "heads", "--out", "features.csv"),
        ("train", "heads", "--split", "split.csv", "--recipe", "tiny.json", "--out", "run"),
        (
            *("evaluate", "heads", "--bundle", "run/bundle", "--split", "split.csv"),
            *("--out", "evaluation", "--no-controls", "--no-robustness"),
            "--no-explanations",
        ),
    ]
    for words in steps:
        ended = run(*words)
        assert ended.status == 0, (words, ended.err)
    cases = rows_of("cases.csv")
    part_of = {row["case"]: row["split"] for row in rows_of("split.csv")}
    assert len(part_of) == len(cases) > 100
    assert len({(key.split("#")[0], part) for key, part in part_of.items()}) == 6 * PER_CLASS
    assert len(rows_of("features.csv")) == len(cases)
    tested = rows_of("evaluation/predictions.csv")
    assert {row["path"] for row in tested} == {
        row["path"] for row in rows_of("split.csv") if row["split"] == "test"
    }
    assert "same_level" in json.loads(Path("evaluation/evaluation.json").read_text())
