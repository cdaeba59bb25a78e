"""A run trained once on phantoms for every test that needs one, and a callback that records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tumorlens.models.bundle import Bundle
from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.data.index import read_cases
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.recipes import find_recipe
from tumorlens.study.training.run import Job, train

RECIPE = replace(
    find_recipe("quick"), side=48, train_side=48, epochs=3, batch=8, seed=5, warmup_epochs=1.0,
    patience=6, options={"stem": 8, "widths": [16, 32], "depths": [1, 1]},
)  # fmt: skip


@dataclass
class RecordingCallback:
    """Keeps what a run reports, and can break it off as Ctrl+C does."""

    stop_at: tuple[int, int] | None = None  # epoch, batch
    stop_after: int | None = None  # epoch
    batches: list[tuple[int, int, int]] = field(default_factory=list)
    epochs: list[tuple[Mapping[str, float], bool]] = field(default_factory=list)

    @property
    def epoch_numbers(self) -> list[float]:
        """The epochs that ended."""
        return [row["epoch"] for row, _ in self.epochs]

    def on_batch_end(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Keep the batch."""
        assert np.isfinite(loss)
        self.batches.append((epoch, done, total))
        if (epoch, done) == self.stop_at:
            raise KeyboardInterrupt

    def on_epoch_end(self, row: Mapping[str, float], is_best: bool) -> None:
        """Keep the row."""
        self.epochs.append((dict(row), is_best))
        if row["epoch"] == self.stop_after:
            raise KeyboardInterrupt


@dataclass(frozen=True)
class TrainedRun:
    """A finished run and what it was made from."""

    cases: Sequence[Case]  # each with its part
    job: Job
    bundle: Bundle
    callback: RecordingCallback


def phantom_split(folder: Path, *, per_class: int) -> tuple[list[Case], splits.Split]:
    """Draw phantoms of 64 px, and split them with each in a group of its own."""
    cases = read_cases(write_phantoms(folder / "phantoms", per_class=per_class, seed=4, side=96))
    alone = splits.Groups(np.arange(len(cases)), np.arange(len(cases)))
    parts = splits.split_cases(cases, alone, seed=1)
    split = splits.write_split(folder / "split.csv", cases, parts, groups=alone)
    return splits.apply_split(cases, split), split


def train_run(folder: Path) -> TrainedRun:
    """Train RECIPE on 72 phantoms, one of them unreadable."""
    cases, split = phantom_split(folder, per_class=12)
    next(case for case in cases if case.split == "train").path.write_bytes(b"broken")
    job = Job(RECIPE, split, folder / "run", folder / "cache", "trained")
    callback = RecordingCallback()
    return TrainedRun(cases, job, train(cases, job, callback=callback), callback)
