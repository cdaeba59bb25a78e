"""Progress as a program reads it: one JSON object a line, and nothing that is no JSON."""

import json
import math

import pytest

from tumorlens.cli.progress import TrainingBars, WorkerBars, counting
from tumorlens.executors import Underway


@pytest.fixture
def objects(capsys, monkeypatch):
    monkeypatch.setenv("TUMORLENS_PROGRESS", "json")

    def read() -> list[dict]:
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return read


def test_the_first_and_the_last_of_a_step_are_always_written(objects):
    with counting("comparing") as report:
        for done in range(1, 1001):
            report(done, 1000)
    found = objects()
    assert found[0] == {"step": "comparing", "done": 1, "total": 1000}
    assert found[-1] == {"step": "comparing", "done": 1000, "total": 1000}
    assert len(found) < 100


def test_an_epoch_is_written_with_its_figures_and_null_where_there_is_none(objects):
    row = {"epoch": 2.0, "loss": 1.25, "val_loss": 0.5, "val_auc_ct": math.nan}
    with TrainingBars(3) as bars:
        bars.on_batch_end(2, 4, 4, 1.3)
        bars.on_epoch_end(row, True)
    batch, epoch = objects()
    assert batch == {"step": "epoch 2", "done": 4, "total": 4, "loss": 1.3}
    assert epoch == {"step": "epochs", "done": 2, "total": 3, "best": True,
                     "figures": row | {"val_auc_ct": None}}  # fmt: skip


def test_without_a_program_that_reads_it_nothing_is_json(capsys, monkeypatch):
    monkeypatch.delenv("TUMORLENS_PROGRESS", raising=False)
    with counting("comparing") as report:
        report(1, 1)
    assert capsys.readouterr().err == ""


def test_the_lines_of_a_training_run_name_epoch_losses_and_best(capsys):
    row = {"epoch": 2.0, "loss": 1.25, "val_loss": 0.5, "val_auc_ct": math.nan, "val_auc_mri": 0.9,
           "val_type_accuracy": 0.7, "images_per_s": 100.0}  # fmt: skip
    with TrainingBars(3) as bars:
        bars.on_batch_end(2, 1, 4, 1.3)
        bars.on_epoch_end(row, True)
    lines = capsys.readouterr().err
    assert "epoch   2  loss 1.2500  val 0.5000" in lines
    assert "best" in lines


def test_a_figure_that_is_not_a_number_is_a_dash_on_the_terminal(capsys):
    row = {"epoch": 1.0, "loss": 1.25, "val_loss": 0.5, "val_auc_ct": math.nan,
           "val_auc_mri": 0.75, "val_type_accuracy": math.nan, "images_per_s": 9.0}  # fmt: skip
    with TrainingBars(1) as bars:
        bars.on_batch_end(1, 1, 1, math.nan)
        bars.on_epoch_end(row, False)
    words = capsys.readouterr().err.split()
    assert "CT - MRI 0.7500 type -" in " ".join(words)
    assert "nan" not in words


def test_a_new_shard_begins_a_new_bar_and_a_worker_without_work_has_none():
    bars = WorkerBars("scans", 40)
    bars.watch([Underway(0, 7, 5, 10), Underway(1, 8, 3, 10)])
    bars.watch([Underway(0, 9, 1, 10)])
    (_, first, second) = bars._bars.tasks
    assert (first.completed, first.fields["note"]) == (1, "shard 10")
    assert (first.visible, second.visible) == (True, False)
