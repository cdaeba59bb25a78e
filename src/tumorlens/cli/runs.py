"""What the commands that train share: which recipe, which split, how it is told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tumorlens.cli.progress import console, counting

Folders = Annotated[
    list[Path],
    typer.Argument(
        metavar="DIR",
        help="Class folders, split/class folders, or folders with cases.csv; several make one set.",
    ),
]
SplitFile = Annotated[Path | None, typer.Option("--split", help="A file `tumorlens split` made.")]
AllowLeaks = Annotated[
    bool, typer.Option("--allow-leaks", help="Go on with a split that leaks; every page says so.")
]
RecipeName = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="See `tumorlens recipes list`; or a .json file.")
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")]
Seed = Annotated[int | None, typer.Option(help="Instead of the recipe's.")]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        metavar="imagenet|none|PATH",
        help="Of a pretrained network, instead of the recipe's download: a .h5 file of "
        "Keras Applications without top.",
    ),
]
InitOption = Annotated[
    Path | None,
    typer.Option(
        "--init",
        metavar="RUN",
        help="Start from the network of another run, of `pretrain` or `train`, instead of random "
        "or ImageNet weights.",
    ),
]
Cache = Annotated[str | None, typer.Option(help="Folder of prepared images.")]


def chosen_recipe(
    name: str, *, epochs: int | None, seed: int | None, weights: str | None
) -> tuple[Any, str]:
    """Return the recipe with what was set instead, and the file of weights where one was given."""
    from dataclasses import replace

    from tumorlens.study.recipes import IMAGENET, NO_WEIGHTS, find_recipe

    file = "" if weights in (None, IMAGENET, NO_WEIGHTS) else str(weights)
    # The record of a run keeps the name of a file of weights and its hash, not its folder.
    changes = {"epochs": epochs, "seed": seed, "weights": Path(file).name if file else weights}
    set_instead = {key: value for key, value in changes.items() if value is not None}
    return replace(find_recipe(name), **set_instead), file


def split_for(cases: list[Any], split_file: Path | None, out: Path) -> Any:
    """Read the given split, or the run's own, or make one; the run keeps it as split.csv."""
    from tumorlens.errors import SplitError
    from tumorlens.study.audit.duplicates.copies import group_cases
    from tumorlens.study.data import splits

    kept = out / "split.csv"
    if split_file is not None:
        made = splits.read_split(split_file)
        if not kept.exists():
            splits.copy_split(split_file, kept)
        return made
    if kept.exists():
        made = splits.read_split(kept)
        new = [case for case in cases if case.key not in made.parts]
        if new:
            fact = f"does not name {len(new)} of the scans given, first {new[0].path}"
            raise SplitError(kept, fact, "Train into another folder, or name a split.")
        return made
    with counting("looking for copies") as report:
        groups = group_cases(cases, progress=report)
    return splits.write_split(kept, cases, splits.split_cases(cases, groups), groups=groups)


def grouped_for(
    cases: list[Any], split_file: Path | None, kept: Path, *, allow_leaks: bool
) -> tuple[list[Any], Any]:
    """Return the cases to cross-validate, and their groups.

    With a split these are its train and val cases: its test part stays unread. Without one, all
    of them, in groups that are found, or that the split file `kept` of a fold knows already.
    """
    from tumorlens.study.audit.duplicates.copies import group_cases
    from tumorlens.study.data import splits
    from tumorlens.study.data.folds import groups_of

    if split_file is not None:
        made = splits.read_split(split_file)
        parted = splits.apply_split(cases, made, allow_leaks=allow_leaks)
        cases = [case for case in parted if case.split != "test"]
        return cases, groups_of(made, cases)
    if kept.exists():
        made = splits.read_split(kept)
        if all(case.key in made.parts for case in cases):
            return cases, groups_of(made, cases)
    with counting("looking for copies") as report:
        return cases, group_cases(cases, progress=report)


def check_init(run: Path | None, groups: Mapping[str, str], held: list[str]) -> None:
    """Refuse a run to start from that learned from what is held out here."""
    from tumorlens.study.training.transfer.initialize import check_warm_start

    if run:
        check_warm_start(run, groups, held)


def print_recipe(recipe: Any) -> None:
    """Print what is going to be trained."""
    head = f"{recipe.head_epochs} epochs of the head, then " if recipe.head_epochs else ""
    console.print(f"{recipe.name}: {recipe.summary}; {head}at most {recipe.epochs} epochs")


def print_cross(figures: Any) -> None:
    """Print each figure of a cross-validation with its interval and its spread over folds."""
    _print_part(figures.whole)
    for name, found in figures.sets.items():
        console.print(f"of {name} alone:")
        _print_part(found)
    if figures.unreadable:
        console.print(f"{figures.unreadable} scans could not be read: see predictions.csv")


def _print_part(figures: Any) -> None:
    for name, found in figures.detection.items():
        _print_summary(f"{name:4}", found)
    if figures.type:
        _print_summary("type", figures.type)


def _print_summary(title: str, summary: Any) -> None:
    console.print(f"{title} n={summary.n} ({summary.n_groups} groups)")
    for name, found in summary.figures.items():
        if found.value is None:
            continue
        interval = "" if found.low is None else f" ({found.low:.3f}-{found.high:.3f})"
        spread = summary.spread(name)
        deviation = "" if spread["deviation"] is None else f", deviation {spread['deviation']:.3f}"
        folds = f"mean of {spread['n']} folds {spread['mean']:.3f}{deviation}"
        console.print(f"     {name:12} {found.value:.3f}{interval}; {folds if spread['n'] else ''}")
