"""Pretraining, and networks that start from it or do not, each once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studies.baselines.bench import Bench, read_sets, split_of
from studies.baselines.starts import (
    LEARNED_SETS,
    MEASURED_SET,
    PRETRAINED,
    SEEDS,
    SHARES,
    STARTS,
)

from tumorlens.progress import TrainingCallback
from tumorlens.study.audit.tables import read_groups
from tumorlens.study.data import splits
from tumorlens.study.experiments.learning_curve import LearningCurve, measure_learning_curve
from tumorlens.study.recipes import IMAGENET, find_pretraining
from tumorlens.study.training.transfer.initialize import check_warm_start
from tumorlens.study.training.transfer.pretraining import PretrainJob, pretrain


def run_pretraining(bench: Bench, *, callback: TrainingCallback) -> Path:
    """Pretrain on the train groups of several sets together, unless that is done."""
    out = bench.runs / PRETRAINED
    cases = read_sets(bench, LEARNED_SETS)
    groups = read_groups(bench.audit, cases)
    split = split_of(out, cases, splits.split_cases(cases, groups), groups)
    job = PretrainJob(find_pretraining("vicreg"), split, out, bench.cache)
    return pretrain(splits.apply_split(cases, split), job, callback=callback, resume=True)


def run_start(name: str, bench: Bench) -> Mapping[str, Any]:
    """Measure one start at a few percent of the groups; give what `size-curve` writes."""
    start, pretrained = STARTS[name], bench.runs / PRETRAINED
    split = splits.read_split(pretrained / "split.csv")
    if start.is_pretrained:
        held = [key for key, part in split.parts.items() if part == "test"]
        check_warm_start(pretrained, split.groups, held)
    job = LearningCurve(
        start.made, split, bench.runs / name, bench.cache, shares=SHARES, seeds=SEEDS,
        weights=bench.weights if start.made.weights == IMAGENET else "",
        start=pretrained if start.is_pretrained else None,
    )  # fmt: skip
    return measure_learning_curve(splits.apply_split(read_sets(bench, (MEASURED_SET,)), split), job)
