"""Where a notebook works, so that the same cells run on phantoms in minutes and on real sets.

Three environment variables say what else than phantoms: `TUMORLENS_NOTEBOOK_DATA`, a labeled
folder or several with the system's path separator between them; `TUMORLENS_NOTEBOOK_OUT`, where
results go; `TUMORLENS_NOTEBOOK_WEIGHTS`, a file of ImageNet weights instead of a download.
"""

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from tumorlens import labels
from tumorlens.errors import CasesError
from tumorlens.inputs.prepare import InputSpec
from tumorlens.models.bundle import Bundle
from tumorlens.progress import SilentCallback
from tumorlens.records import Case
from tumorlens.reports.evaluation import SplitFacts
from tumorlens.settings import load_settings
from tumorlens.study.audit.duplicates.copies import group_cases
from tumorlens.study.data import splits
from tumorlens.study.data.groups import Groups
from tumorlens.study.data.index import read_cases
from tumorlens.study.evaluation.subgroups import Context, read_context
from tumorlens.study.experiments.hypothesis_runs import PairedRuns, small_recipe
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.recipes import NO_WEIGHTS, Recipe, find_recipe

DATA, OUT, WEIGHTS = (f"TUMORLENS_NOTEBOOK_{name}" for name in ("DATA", "OUT", "WEIGHTS"))
PHANTOMS = {"phantoms": 11, "other-phantoms": 12}  # set and seed
PER_CLASS = 12
# What phantoms need of a network is to be trained at all, and soon.
SMALL = {"side": 48, "train_side": 48, "epochs": 2, "batch": 16, "warmup_epochs": 0.0}
NARROW = {"stem": 8, "widths": [8, 8], "depths": [0, 0]}  # of a network of our own


@dataclass(frozen=True)
class Workplace:
    """What a notebook looks at, and where it writes."""

    sets: tuple[Path, ...]
    out: Path
    cache: Path  # of prepared images
    is_phantom: bool
    weights: str = ""

    @property
    def max_pairs(self) -> int | None:
        """How many pairs of networks notebook 7 trains at a time; None: all."""
        return 1 if self.is_phantom else None


@dataclass(frozen=True)
class GroupedSet:
    """The first set, with a split by whole patients and images."""

    cases: tuple[Case, ...]  # `group` as found, `split` train, val or test
    groups: Groups
    split: splits.Split

    def part(self, name: str) -> list[Case]:
        """Return the cases of train, val or test."""
        return [case for case in self.cases if case.split == name]


def open_workplace(environment: Mapping[str, str] | None = None) -> Workplace:
    """Find the sets that the environment names, or draw phantoms.

    Raises CasesError where a folder does not exist.
    """
    given = os.environ if environment is None else environment
    out = Path(given.get(OUT) or "study")
    named = [Path(part) for part in given.get(DATA, "").split(os.pathsep) if part]
    lost = [path for path in named if not path.exists()]
    if lost:
        raise CasesError(lost[0], "does not exist", f"Name labeled folders in {DATA}.")
    sets = named or [_phantoms(out / name, seed) for name, seed in PHANTOMS.items()]
    cache = load_settings(given).cache_folder
    return Workplace(tuple(sets), out, cache, not named, given.get(WEIGHTS, ""))


def _phantoms(folder: Path, seed: int) -> Path:
    if (folder / "cases.csv").exists():
        return folder
    return write_phantoms(folder, per_class=PER_CLASS, seed=seed, side=128)


def open_set(place: Workplace) -> GroupedSet:
    """Read the first set and split it by whole groups; a split that stands there is kept."""
    cases = read_cases(place.sets[0])
    groups = group_cases(cases, cache=place.cache, spec=InputSpec())
    file = place.out / "split.csv"
    if not file.exists():
        splits.write_split(file, cases, splits.split_cases(cases, groups), groups=groups)
    split = splits.read_split(file)
    return GroupedSet(tuple(splits.apply_split(cases, split)), groups, split)


def recipe_for(place: Workplace, name: str) -> Recipe:
    """Return a recipe by name; on phantoms a small one, without weights that are downloaded."""
    recipe = find_recipe(name)
    if not place.is_phantom:
        return recipe
    if not recipe.head_epochs:
        return replace(recipe, **SMALL, options=NARROW)
    # The head learns; the backbone is never touched.
    changes = {"epochs": 0, "head_epochs": 5, "head_views": 1, "weights": NO_WEIGHTS}
    return replace(recipe, **SMALL | changes)


def train_once(place: Workplace, found: GroupedSet, recipe: Recipe) -> Bundle:
    """Train a recipe on the set; a run that is finished is not repeated."""
    from tumorlens.study.training.backend import load_backend

    load_backend()
    from tumorlens.study.training.run import Job, train

    job = Job(
        recipe, found.split, place.out / "runs" / recipe.name, place.cache, recipe.name,
        weights=place.weights if recipe.head_epochs else "",
    )  # fmt: skip
    return train(found.cases, job, callback=EpochPrinter(), resume=True)


def first_of(cases: Sequence[Case], *, modality: str, is_tumor: bool) -> Case:
    """Return the first case of a kind; raises CasesError where there is none."""
    for case in cases:
        if (labels.modality_of(case.label), labels.is_tumor(case.label)) == (modality, is_tumor):
            return case
    kind = f"{modality.upper()} scan {'with' if is_tumor else 'without'} a tumor"
    raise CasesError("cases", f"hold no {kind}", f"Name another folder in {DATA}.")


def tested_part(found: GroupedSet) -> tuple[list[Case], SplitFacts, Context]:
    """Return what `evaluate` asks for: the test cases, what is known of the split, and by it."""
    leak = splits.leaks_of(found.split)
    facts = SplitFacts(found.split.fingerprint, leak.n, leak.share)
    return found.part("test"), facts, read_context(found.cases, found.split, part="test")


def pairs_of(place: Workplace) -> PairedRuns:
    """Plan the networks that hypotheses are judged by; few and small ones on phantoms."""
    out = place.out / "hypotheses" / "networks"
    if not place.is_phantom:
        return PairedRuns(small_recipe(), out, place.cache)
    recipe = replace(small_recipe(), **SMALL, options=NARROW)
    return PairedRuns(recipe, out, place.cache, folds=3, steps=4)


class EpochPrinter(SilentCallback):
    """Prints a line for each epoch."""

    def on_epoch_end(self, row: Mapping[str, float], is_best: bool) -> None:
        """Print losses and validation figures."""
        best = "  best" if is_best else ""
        print(
            f"epoch {row['epoch']:3.0f}  loss {row['loss']:.3f}  validation {row['val_loss']:.3f}"
            f"  AUC MRI {row['val_auc_mri']:.3f}{best}"
        )


@dataclass(frozen=True, repr=False)
class Shown:
    """Something that a notebook draws."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


def table(rows: Iterable[Mapping[str, Any]], *columns: str) -> Shown:
    """Show rows of one shape, all columns or some; nothing where there is no figure."""
    listed = [{name: row[name] for name in columns or row} for row in rows]
    heads = "".join(f"<th>{escape(_title(name))}</th>" for name in (listed[0] if listed else {}))
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_plain(value))}</td>" for value in row.values()) + "</tr>"
        for row in listed
    )
    return Shown(f"<table><tr>{heads}</tr>{body}</table>")


def flat(nested: Mapping[str, Any], *names: str) -> list[dict[str, Any]]:
    """Turn mappings inside mappings into rows, each key a column under its name.

    >>> flat({"ct": {"n": 3}, "mri": {"n": 5}}, "modality")
    [{'modality': 'ct', 'n': 3}, {'modality': 'mri', 'n': 5}]
    """
    if not names:
        return [{key: value for key, value in nested.items() if not isinstance(value, Mapping)}]
    return [
        {names[0]: key, **row}
        for key, held in nested.items()
        if isinstance(held, Mapping)
        for row in flat(held, *names[1:])
    ]


def _title(name: str) -> str:
    return str(name).replace("_", " ")


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def pictures(files: Sequence[Path], *, width: int = 260) -> Shown:
    """Show PNG files side by side."""
    images = (
        f'<img alt="{escape(file.stem)}" width="{width}" '
        f'src="data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}">'
        for file in files
    )
    return Shown("".join(images))
