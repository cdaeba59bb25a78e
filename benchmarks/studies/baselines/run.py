"""One arm after the other, each once: trained, asked, and its answers kept in a table."""

import contextlib
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from studies.baselines.arms import FOLDS, SHIPPED, SOURCES, Arm, Source
from studies.baselines.asking import ask, backbone, train_into, write_answers
from studies.baselines.bench import (
    ANSWERS_FILE,
    Bench,
    read_answers,
    read_sets,
    split_of,
)
from studies.baselines.protocols import divide, held_out_sets, rows_asked

from tumorlens.errors import TrainingError
from tumorlens.models.bundle import load_bundle
from tumorlens.progress import TrainingCallback
from tumorlens.records import Case
from tumorlens.study.audit.tables import read_groups
from tumorlens.study.data.splits import Groups
from tumorlens.study.experiments.cross_validation import CrossValidation, cross_validate
from tumorlens.study.recipes import REPRODUCTIONS
from tumorlens.study.training.run_folder import HISTORY_FILE, Row, read_history
from tumorlens.study.training.transfer.initialize import check_warm_start


def run_source(source: Source, bench: Bench, *, callback: TrainingCallback) -> Path:
    """Train the network that others start from, unless it is there; give its folder."""
    out = bench.runs / source.name
    if len(read_history(out / HISTORY_FILE)) < source.epochs_run:
        learned = read_sets(bench, source.folders)
        cases = learned + read_sets(bench, source.held)
        groups = read_groups(bench.audit, cases)
        parts = held_out_sets(cases, groups, held=source.held)
        split = split_of(out, cases, parts, groups)
        with contextlib.suppress(StopIteration):
            until = _Until(callback, source.epochs_run)
            train_into(learned, split, source.made, out, bench, callback=until)
    return out


@dataclass(frozen=True)
class _Until:
    """Hears a run for another, and ends it after some epochs."""

    callback: TrainingCallback
    epochs: int

    def on_batch_end(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Hand on."""
        self.callback.on_batch_end(epoch, done, total, loss)

    def on_epoch_end(self, row: Row, is_best: bool) -> None:
        """Hand on, and end it where that was the last."""
        self.callback.on_epoch_end(row, is_best)
        if row["epoch"] >= self.epochs:
            raise StopIteration  # the state of the epoch is written


def run_arm(arm: Arm, bench: Bench, *, callback: TrainingCallback) -> list[dict[str, str]]:
    """Train an arm unless its answers are there, and give them, a row per case and repeat."""
    out = bench.runs / arm.name
    if not (out / ANSWERS_FILE).exists():
        cases = read_sets(bench, (REPRODUCTIONS[arm.system].data_set,))
        groups = read_groups(bench.audit, cases)
        run = {FOLDS: _run_folds, SHIPPED: _ask_shipped}.get(arm.protocol, _run_once)
        write_answers(run(arm, cases, groups, bench, callback=callback), out / ANSWERS_FILE)
    return read_answers(out)


def _run_folds(
    arm: Arm, cases: list[Case], groups: Groups, bench: Bench, *, callback: TrainingCallback
) -> list[dict[str, Any]]:
    job = CrossValidation(
        recipe=arm.made, folds=5, repeats=arm.repeats, out=bench.runs / arm.name,
        cache=bench.cache, weights=backbone(arm.made, bench),
        start=_start(arm, cases, bench),
    )  # fmt: skip
    cross_validate(cases, groups, job, callback=callback, resume=True)
    with (job.out / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if not row["error"]]


def _run_once(
    arm: Arm, cases: list[Case], groups: Groups, bench: Bench, *, callback: TrainingCallback
) -> list[dict[str, Any]]:
    out = bench.runs / arm.name
    parts, known = divide(cases, groups, protocol=arm.protocol, joint=bench.joint)
    split = split_of(out, cases, parts, known)
    start = _start(arm, cases, bench)
    train_into(cases, split, arm.made, out, bench, callback=callback, start=start)
    tested = rows_asked(cases, [split.parts[case.key] for case in cases], protocol=arm.protocol)
    return ask(load_bundle(out / "bundle"), cases, groups, tested)


def _ask_shipped(
    arm: Arm, cases: list[Case], groups: Groups, bench: Bench, *, callback: TrainingCallback
) -> list[dict[str, Any]]:
    """Ask our bundle for the test part of the split it was trained on; nothing is trained."""
    joint = bench.joint
    if joint is None or bench.bundle is None:
        raise TrainingError(
            arm.name, "needs our bundle and its split", "Give --bundle and --split."
        )
    bundle = load_bundle(bench.bundle)
    if bundle.provenance.data.split != joint.fingerprint:
        fix = "Give the split that it was trained on."
        raise TrainingError(bench.bundle, "was trained on another split", fix)
    tested = np.flatnonzero([joint.parts[case.key] == "test" for case in cases])
    return ask(bundle, cases, groups, tested)


def _start(arm: Arm, cases: Sequence[Case], bench: Bench) -> Path | None:
    """Give the run an arm starts from, which has seen none of its cases and no copy of them."""
    if not arm.start:
        return None
    together = [*cases, *read_sets(bench, SOURCES[arm.start].folders)]
    numbers = read_groups(bench.audit, together).groups
    groups = {case.key: str(number) for case, number in zip(together, numbers, strict=True)}
    check_warm_start(bench.runs / arm.start, groups, [case.key for case in cases])
    return bench.runs / arm.start
