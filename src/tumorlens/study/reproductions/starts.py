"""What pretraining is worth: the same few labeled scans, from three different starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tumorlens.study import splits
from tumorlens.study.audit.tables import read_groups
from tumorlens.study.recipes import IMAGENET, Recipe, find_pretraining, find_recipe
from tumorlens.study.reproductions.bench import Bench, read_sets, split_of
from tumorlens.study.training.loop import Watcher
from tumorlens.study.training.pretraining import PretrainJob, pretrain
from tumorlens.study.training.size_curve import SizeJob, measure_sizes
from tumorlens.study.training.start import check_start

LEARNED_SETS = ("multimodal", "br35h")  # without their labels, train groups alone
MEASURED_SET = "multimodal"
SHARES, SEEDS = (5.0,), 3  # percent of its training groups
PRETRAINED = "pretrained"
_FEW = {"epochs": 10, "batch": 16, "learning_rate": 1e-3, "warmup_epochs": 1.0}


@dataclass(frozen=True)
class Start:
    """A way to begin."""

    title: str
    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    is_pretrained: bool = False

    @property
    def made(self) -> Recipe:
        """The recipe with its changes."""
        return replace(find_recipe(self.recipe), **self.changes)


STARTS: Mapping[str, Start] = {
    "start-random": Start("random", "adapted", _FEW),
    "start-vicreg": Start("VICReg on prepared scans", "adapted", _FEW, is_pretrained=True),
    "start-imagenet": Start("ImageNet (MobileNet, frozen)", "mobilenet-frozen"),
}


def run_pretraining(bench: Bench, *, watcher: Watcher) -> Path:
    """Pretrain on the train groups of several sets together, unless that is done."""
    out = bench.runs / PRETRAINED
    cases = read_sets(bench, LEARNED_SETS)
    groups = read_groups(bench.audit, cases)
    split = split_of(out, cases, splits.split_cases(cases, groups), groups)
    job = PretrainJob(find_pretraining("vicreg"), split, out, bench.cache)
    return pretrain(splits.apply_split(cases, split), job, watcher=watcher, resume=True)


def run_start(name: str, bench: Bench) -> Mapping[str, Any]:
    """Measure one start at a few percent of the groups; give what `size-curve` writes."""
    start, pretrained = STARTS[name], bench.runs / PRETRAINED
    split = splits.read_split(pretrained / "split.csv")
    if start.is_pretrained:
        held = [key for key, part in split.parts.items() if part != "train"]
        check_start(pretrained, split.groups, held)
    job = SizeJob(
        start.made, split, bench.runs / name, bench.cache, shares=SHARES, seeds=SEEDS,
        weights=bench.weights if start.made.weights == IMAGENET else "",
        start=pretrained if start.is_pretrained else None,
    )  # fmt: skip
    return measure_sizes(splits.apply_split(read_sets(bench, (MEASURED_SET,)), split), job)
