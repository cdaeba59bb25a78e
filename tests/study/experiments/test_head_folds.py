"""Folds of a head on a frozen network: honest as folds of networks, and no network is trained."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tumorlens.errors import TrainingError
from tumorlens.files import read_table
from tumorlens.study.data import splits
from tumorlens.study.data.index import read_cases
from tumorlens.study.experiments import cross_validation
from tumorlens.study.experiments.cross_validation import CrossValidation, cross_validate
from tumorlens.study.experiments.runner import SILENT, Listeners
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.recipes import find_recipe

RECIPE = replace(
    find_recipe("adapted-head"), network="residual-tiny", side=40, train_side=40, batch=8,
    head_epochs=4, head_views=2, sensitivity_aim=0.9,
    options={"widths": [8, 16], "depths": [0, 1], "stem": 8},
)  # fmt: skip


class Nobody:
    def on_batch_end(self, *told: object) -> None:
        raise AssertionError("no network is trained")

    def on_epoch_end(self, *told: object) -> None:
        raise AssertionError("no network is trained")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("ground")
    write_phantoms(folder / "scans", per_class=8, seed=4)
    cases = read_cases(folder / "scans")
    groups = splits.Groups(np.arange(len(cases)), np.arange(len(cases)))
    return cases, groups, folder


@pytest.fixture(scope="module")
def done(ground):
    cases, groups, folder = ground
    job = CrossValidation(RECIPE, folds=2, repeats=2, out=folder / "run", cache=folder / "cache")
    figures = cross_validate(cases, groups, job, listeners=Listeners(Nobody()))
    return figures, read_table(job.out / "predictions.csv"), job


def test_every_scan_is_predicted_once_a_repeat(ground, done):
    cases, _, _ = ground
    for repeat in "12":
        found = [row["case"] for row in done[1] if row["repeat"] == repeat]
        assert sorted(found) == sorted(case.key for case in cases)


def test_rows_and_figures_are_those_of_a_cross_validation(ground, done):
    figures, rows, _ = done
    assert figures.n == len(ground[0])
    assert set(figures.whole.detection) == {"all", "ct", "mri"}
    for row in rows:
        assert 0 <= float(row["tumor_probability"]) <= 1
        assert row["decision"] in {"tumor", "no tumor", "uncertain"}
    assert len({row["threshold"] for row in rows}) > 1  # each fold chooses its own


def test_a_fold_leaves_no_bundle(done):
    folder = done[2].folder(1, 1)
    assert {file.name for file in folder.iterdir()} == {"split.csv", "predictions.csv"}


def test_what_is_done_is_not_done_again(ground, done, monkeypatch: pytest.MonkeyPatch):
    cases, groups, _ = ground
    monkeypatch.setattr(cross_validation, "train_head", None)
    again = cross_validate(cases, groups, done[2], listeners=Listeners(Nobody()), resume=True)
    assert again == done[0]


def test_what_is_held_out_teaches_the_head_nothing(ground, tmp_path: Path):
    cases = ground[0]
    parts = {case.key: ("test" if i % 4 == 0 else "val" if i % 4 == 1 else "train")
             for i, case in enumerate(cases)}  # fmt: skip
    network = cross_validation.FrozenNetwork(RECIPE, tmp_path, tmp_path)
    seen = network.extract(cases, {}, SILENT)
    first = cross_validation.predict_held_out(seen, parts, RECIPE)
    held = np.flatnonzero([parts[case.key] == "test" for case in seen.part.cases])
    other = seen.plain.copy()
    other[held] = 0
    views = seen.views.copy()
    views[held] = 7
    second = cross_validation.predict_held_out(
        replace(seen, plain=other, views=views), parts, RECIPE
    )
    assert [p.threshold for _, p in first] == [p.threshold for _, p in second]
    assert len({p.tumor_probability for _, p in second}) == 1  # all of them are zeros now


def test_a_network_that_flattens_has_no_features(ground, tmp_path: Path):
    cases, groups, _ = ground
    recipe = replace(RECIPE, network="baseline-cnn-small", options={})
    job = CrossValidation(
        recipe, folds=2, repeats=1, out=tmp_path / "run", cache=tmp_path / "cache"
    )
    with pytest.raises(TrainingError, match="flattens"):
        cross_validate(cases, groups, job, listeners=Listeners(Nobody()))
