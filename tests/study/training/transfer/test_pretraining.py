"""Pretraining: no label is read, a kill loses nothing, and another run starts from it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from support.trained_run import RecordingCallback
from typer.testing import CliRunner

from tumorlens import labels
from tumorlens.cli import app
from tumorlens.errors import LeakError, TrainingError
from tumorlens.progress import SilentCallback, TrainingCallback
from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.data.index import read_cases
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.recipes import Pretraining, find_pretraining, find_recipe
from tumorlens.study.training.loop import STATE_FILE
from tumorlens.study.training.run import Job, train
from tumorlens.study.training.run_folder import HISTORY_FILE, read_history
from tumorlens.study.training.transfer.pretraining import PretrainJob, pretrain

OPTIONS = {"widths": [16], "depths": [0], "stem": 8}
VICREG = find_pretraining("vicreg")
SMALL = replace(
    VICREG,
    recipe=replace(VICREG.recipe, network="residual-tiny", side=40, train_side=40, epochs=3,
                   batch=8, options=OPTIONS),
    projector=(16, 16),
)  # fmt: skip


@dataclass(frozen=True)
class Ground:
    cases: Sequence[Case]
    split: splits.Split
    cache: Path


SILENT = SilentCallback()


def write_split(path: Path, cases: Sequence[Case], parts: Sequence[str]) -> splits.Split:
    """Write a split in which each case is a group of its own."""
    alone = np.arange(len(cases))
    return splits.write_split(path, cases, parts, groups=splits.Groups(alone, alone))


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("ground")
    write_phantoms(folder / "scans", per_class=5, seed=2)
    cases = read_cases(folder / "scans")
    parts = (["test", "val", "train", "train", "train"] * len(cases))[: len(cases)]
    split = write_split(folder / "split.csv", cases, parts)
    return Ground(splits.apply_split(cases, split), split, folder / "cache")


def run(
    ground: Ground,
    out: Path,
    *,
    callback: TrainingCallback = SILENT,
    resume: bool = False,
    small: Pretraining = SMALL,
    cases: Sequence[Case] = (),
) -> Path:
    if not (out / "split.csv").exists():
        write_split(out / "split.csv", ground.cases, [str(c.split) for c in ground.cases])
    job = PretrainJob(small, ground.split, out, ground.cache)
    return pretrain(cases or ground.cases, job, callback=callback, resume=resume)


@pytest.fixture(scope="module")
def pretrained(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(ground, tmp_path_factory.mktemp("pretrained"))


def state_of(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / STATE_FILE) as stored:
        return {name: stored[name] for name in stored.files}


def test_it_learns_and_leaves_a_history_and_a_picture(pretrained: Path):
    history = read_history(pretrained / HISTORY_FILE)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["loss"] < history[0]["loss"]
    assert (pretrained / "learning_curves.png").stat().st_size > 1000


def test_labels_change_nothing(pretrained: Path, ground: Ground, tmp_path: Path):
    blind = [replace(case, label=labels.UNLABELED) for case in ground.cases]
    other = state_of(run(ground, tmp_path / "blind", cases=blind))
    assert all((other[name] == value).all() for name, value in state_of(pretrained).items())


def test_a_run_that_was_broken_off_ends_as_if_it_had_not_been(
    pretrained: Path, ground: Ground, tmp_path: Path
):
    out = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        run(ground, out, callback=RecordingCallback(stop_after=2))
    callback = RecordingCallback()
    run(ground, out, callback=callback, resume=True)
    assert callback.epoch_numbers == [3]
    for name, value in state_of(pretrained).items():
        np.testing.assert_allclose(state_of(out)[name], value, rtol=1e-4, atol=1e-5)


def test_a_folder_with_a_run_is_not_written_over(pretrained: Path, ground: Ground):
    with pytest.raises(TrainingError, match="holds a run already"):
        run(ground, pretrained)


def test_fewer_scans_than_a_batch_are_refused(ground: Ground, tmp_path: Path):
    large = replace(SMALL, recipe=replace(SMALL.recipe, batch=512))
    with pytest.raises(TrainingError, match="fewer than a batch"):
        run(ground, tmp_path / "large", small=large)


def test_training_starts_from_it_and_says_so(pretrained: Path, ground: Ground, tmp_path: Path):
    recipe = replace(find_recipe("quick"), side=40, train_side=40, epochs=1, batch=8,
                     options=OPTIONS)  # fmt: skip
    job = Job(recipe, ground.split, tmp_path / "run", ground.cache, "x", start=pretrained)
    bundle = train(ground.cases, job, callback=SilentCallback())
    assert bundle.provenance.start.run == pretrained.name
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["start"]["sha256"] == bundle.provenance.start.sha256


def test_init_is_refused_where_the_run_saw_what_is_held_out(
    pretrained: Path, ground: Ground, tmp_path: Path
):
    folder = ground.cases[0].path.parents[1]
    turned = ["train" if case.split == "test" else "test" if i % 5 == 2 else "val"
              for i, case in enumerate(ground.cases)]  # fmt: skip
    write_split(tmp_path / "s.csv", ground.cases, turned)
    command = ["train", str(folder), "--recipe", "quick", "--split", str(tmp_path / "s.csv"),
               "--init", str(pretrained), "--out", str(tmp_path / "out")]  # fmt: skip
    found = CliRunner().invoke(app, command)
    assert isinstance(found.exception, LeakError)


def test_unlabeled_scans_follow_their_group_and_else_are_learned_from():
    names = [f"{kind}/{i}" for kind in ("ct_tumor", "ct_healthy") for i in range(20)]
    cases = [Case(Path(name), name, name.split("/")[0], "set") for name in names]
    cases += [Case(Path(f"u{i}"), f"u{i}", labels.UNLABELED, "set") for i in range(41)]
    groups = np.array([*range(40), *range(41)])  # each a copy of a labeled one, but for the last
    parts = splits.split_with_unlabeled(cases, splits.Groups(groups, groups))
    assert parts[40:80] == parts[:40]
    assert parts[80] == "train"
