"""Trainings that are copies of one."""

import pickle
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.trained_run import TrainedRun

from tumorlens.models.bundle import Bundle, load_bundle
from tumorlens.records import Case
from tumorlens.study.data.splits import Split
from tumorlens.study.experiments.runner import SILENT, Executor, Job, Listeners
from tumorlens.study.recipes import Recipe, find_recipe


class CopiedTraining:
    """Takes the place of `train_network`: a run that was trained once is copied."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.recipes: list[Any] = []
        self.learned: list[set[str]] = []  # groups, of each network

    def __call__(
        self,
        cases: Sequence[Case],
        split: Split,
        *,
        recipe: Any,
        out: Path,
        listeners: Listeners = SILENT,
        **ignored: Any,
    ) -> Bundle:
        started = time.process_time()
        while time.process_time() < started + 0.02:  # a training takes time
            pass
        self.recipes.append(recipe)
        self.learned.append({case.group or case.key for case in cases if case.split != "test"})
        shutil.copytree(self.run, out, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("split.csv"))  # fmt: skip
        listeners.callback.on_epoch_end({"epoch": 1}, True)
        return load_bundle(out)


def as_plain_data(job: Job, listeners: Listeners) -> None:
    """Do a job as another process would get it."""
    pickle.loads(pickle.dumps(job)).run(listeners)


@pytest.fixture(scope="session")
def executor() -> Executor:
    """What does jobs in this process, from plain data."""
    return as_plain_data


@pytest.fixture(scope="session")
def small_recipe() -> Recipe:
    """A recipe of one short epoch."""
    return replace(
        find_recipe("quick"), side=32, train_side=32, epochs=1, batch=8, warmup_epochs=0.0,
        sensitivity_aim=0.9, options={"widths": [8, 8], "depths": [0, 0], "stem": 8},
    )  # fmt: skip


@pytest.fixture(scope="module")
def copied_training(trained_run: TrainedRun) -> CopiedTraining:
    """What takes the place of `train_network` where it is not the training that is tested."""
    return CopiedTraining(trained_run.job.out)
