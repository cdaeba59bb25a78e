"""The commands that make and judge a bundle: split, train, evaluate, recipes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tumorlens.cli.progress import TrainingBars, console, counting
from tumorlens.settings import load_settings

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
recipes_app = typer.Typer(no_args_is_help=True, help="What a training run decides.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("split")(split)
    app.command("train")(train)
    app.command("evaluate")(evaluate)
    app.add_typer(recipes_app, name="recipes")


def split(
    folders: Folders,
    out: Annotated[Path, typer.Option(help="The split file to write.")],
    test: Annotated[float, typer.Option(help="Share of cases in test.")] = 0.15,
    val: Annotated[float, typer.Option(help="Share of cases in validation.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 0,
    published: Annotated[
        bool, typer.Option("--published", help="Keep the folders' own split; print its leaks.")
    ] = False,
    audit: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Groups of `tumorlens audit`, instead of a new search; the audit may have seen "
            "more folders, whose patients then count.",
        ),
    ] = None,
) -> None:
    """Split into train, validation and test by whole patients and pictures.

    Copies (also flipped, rotated, brightened ones), neighboring slices, recorded patients and
    given groups stay together. Example: `tumorlens split scans/ --out split.csv`
    """
    from tumorlens.study import splits
    from tumorlens.study.audit.tables import read_groups
    from tumorlens.study.datasets.index import read_cases

    cases = read_cases(folders)
    parts = splits.published_parts(cases) if published else []
    if audit:
        groups = read_groups(audit, cases)
    else:
        with counting("looking for copies") as report:
            groups = splits.group_cases(cases, progress=report)
    if not published:
        parts = splits.split_cases(cases, groups, test=test, val=val, seed=seed)
    made = splits.write_split(out, cases, parts, groups=groups)
    _print_groups(cases, groups)
    _print_parts(cases, parts)
    labels = [case.label for case in cases]
    _print_leaks(splits.find_leaks(labels, parts, groups.groups))
    console.print(f"fingerprint {made.fingerprint}")
    typer.echo(out)


def _print_groups(cases: list[Any], groups: Any) -> None:
    pictures, together = len(set(groups.pictures.tolist())), len(set(groups.groups.tolist()))
    console.print(f"{len(cases)} scans, {pictures} distinct pictures, {together} groups")


def _print_parts(cases: list[Any], parts: list[str]) -> None:
    from collections import Counter

    counts = Counter(zip((case.label for case in cases), parts, strict=True))
    for label in sorted({case.label for case in cases}):
        row = "  ".join(f"{part} {counts[label, part]:5}" for part in ("train", "val", "test"))
        console.print(f"{label:15} {row}")


def _print_leaks(leaks: list[Any]) -> None:
    if not leaks or not leaks[0].in_train_or_val:
        console.print("no test scan has a copy, a neighbor or its patient in train or val")
        return
    console.print("test scans with a copy, a neighbor or their patient in train (in train or val):")
    for leak in leaks:
        console.print(
            f"{leak.label:15} {leak.in_train:5} ({leak.in_train_or_val}) of {leak.n}"
            f"  = {leak.share:.1%}"
        )


def train(
    folders: Folders,
    out: Annotated[Path, typer.Option(help="The run folder; the bundle is RUN/bundle.")],
    recipe: Annotated[str, typer.Option(help="See `tumorlens recipes list`.")] = "default",
    split_file: SplitFile = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="imagenet|none|PATH",
            help="Of a pretrained network, instead of the recipe's download: a .h5 file of "
            "Keras Applications without top.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the bundle.")] = "",
    cache: Annotated[str | None, typer.Option(help="Folder of prepared images.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where RUN left off.")] = False,
    allow_leaks: AllowLeaks = False,
) -> None:
    """Train a recipe; goes on after a kill with --resume.

    Without --split a grouped split is made first and kept in RUN/split.csv. Example:
    `tumorlens train scans/ --split split.csv --out runs/default`
    """
    from contextlib import nullcontext
    from dataclasses import replace

    from tumorlens.study import splits
    from tumorlens.study.datasets.index import read_cases
    from tumorlens.study.recipes import IMAGENET, NO_WEIGHTS, find_recipe

    file = "" if weights in (None, IMAGENET, NO_WEIGHTS) else str(weights)
    # The record of a run keeps the name of a file of weights and its hash, not its folder.
    changes = {"epochs": epochs, "seed": seed, "weights": Path(file).name if file else weights}
    chosen = replace(
        find_recipe(recipe), **{key: value for key, value in changes.items() if value is not None}
    )
    cases = read_cases(folders)
    made = _split_for(cases, split_file, out)
    parted = splits.apply_split(cases, made, allow_leaks=allow_leaks)
    head = f"{chosen.head_epochs} epochs of the head, then " if chosen.head_epochs else ""
    console.print(f"{chosen.name}: {chosen.summary}; {head}at most {chosen.epochs} epochs")
    from tumorlens.study.training.backend import load_backend

    load_backend()
    from tumorlens.study.training.run import Job
    from tumorlens.study.training.run import train as run_training

    job = Job(
        recipe=chosen, split=made, out=out, cache=load_settings(cache=cache).cache_folder,
        name=name or out.resolve().name, weights=file,
    )  # fmt: skip
    seen = counting("features of the frozen network") if chosen.head_epochs else nullcontext()
    with counting("preparing scans") as report, seen as looked, TrainingBars(chosen.epochs) as bars:
        bundle = run_training(
            parted, job, watcher=bars, progress=report, extracting=looked, resume=resume
        )
    choice = bundle.threshold_choice
    console.print(
        f"threshold {bundle.threshold:.4f} ({choice['aim']}): on validation sensitivity "
        f"{choice['sensitivity']:.3f} (n={choice['n_tumor']}), specificity "
        f"{choice['specificity']:.3f} (n={choice['n'] - choice['n_tumor']})"
    )
    typer.echo(bundle.folder)


def _split_for(cases: list[Any], split_file: Path | None, out: Path) -> Any:
    """Read the given split, or the run's own, or make one; the run keeps it as split.csv."""
    from tumorlens.errors import SplitError
    from tumorlens.study import splits

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
        groups = splits.group_cases(cases, progress=report)
    return splits.write_split(kept, cases, splits.split_cases(cases, groups), groups=groups)


def evaluate(
    folders: Folders,
    out: Annotated[Path, typer.Option(help="Folder for json, html and csv.")],
    bundle: Annotated[str, typer.Option(help="A bundle or run folder; default: shipped.")] = "",
    split_file: SplitFile = None,
    part: Annotated[str, typer.Option(help="Of the split: train, val, test, or all.")] = "test",
    workers: Annotated[int | None, typer.Option(min=1, help="Default: one per core.")] = None,
    allow_leaks: AllowLeaks = False,
) -> None:
    """Measure a bundle on one part of a split, or on a whole folder without one.

    Example: `tumorlens evaluate scans/ --bundle runs/default --split split.csv --out results`
    """
    from tumorlens.predictions.predictor import load_predictor
    from tumorlens.study.datasets.index import read_cases
    from tumorlens.study.evaluation.run import evaluate as run_evaluation
    from tumorlens.study.evaluation.run import write_evaluation

    predictor = load_predictor(bundle, load_settings(workers=workers))
    cases, about = _part_of(read_cases(folders), split_file, part, allow_leaks)
    with counting("predicting") as report:
        found = run_evaluation(
            cases, predictor, part=part if split_file else "all", split=about, progress=report
        )
    write_evaluation(found, out)
    _print_figures(found.figures)
    typer.echo(out / "evaluation.html")


def _part_of(
    cases: list[Any], split_file: Path | None, part: str, allow_leaks: bool
) -> tuple[list[Any], dict[str, Any]]:
    """Give the cases of a part with their groups, and what is known of the split."""
    from tumorlens.errors import SplitError
    from tumorlens.study import splits

    if split_file is None:
        with counting("looking for copies") as report:
            groups = splits.group_cases(cases, progress=report)
        return splits.with_groups(cases, groups), {"fingerprint": None, "n": 0, "share": None}
    made = splits.read_split(split_file)
    parted = splits.apply_split(cases, made, allow_leaks=allow_leaks)
    chosen = [case for case in parted if part in ("all", case.split)]
    if not chosen:
        known = ", ".join((*splits.PARTS, "all"))
        raise SplitError(split_file, f"has no cases in part {part!r}", f"Parts: {known}.")
    leak = splits.leaks_of(made)
    return chosen, {"fingerprint": made.fingerprint, "n": leak.n, "share": leak.share}


def _print_figures(figures: Any) -> None:
    from tumorlens.reports.page import figure

    for name, found in figures["detection"].items():
        console.print(
            f"{name:4} AUC {figure(found, 'auc')}  "
            f"sensitivity {figure(found, 'sensitivity', 'n_tumor')}  "
            f"specificity {figure(found, 'specificity', 'n_healthy')}"
        )
    if figures["type"]:
        console.print(f"type accuracy {figure(figures['type'], 'accuracy')}")
    if figures["localisation"]:
        console.print(f"pointing {figure(figures['localisation'], 'pointing')}")
    if figures["split"]["share"]:
        console.print(f"this split leaks: {figures['split']['share']:.1%} of its test scans")


@recipes_app.command("list")
def list_recipes() -> None:
    """List the recipes. Example: `tumorlens recipes list`."""
    from tumorlens.study.recipes import RECIPES

    for recipe in RECIPES.values():
        typer.echo(f"{recipe.name:25} {recipe.epochs:3} epochs  {recipe.side} px  {recipe.summary}")


@recipes_app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="See `tumorlens recipes list`.")],
) -> None:
    """Show everything a recipe decides, and what it reproduces.

    Example: `tumorlens recipes show seed-mri-cnn`
    """
    from textwrap import fill

    from tumorlens.study.recipes import REPRODUCTIONS, describe, find_recipe

    for key, value in find_recipe(name).to_json().items():
        typer.echo(f"{key:18} {value}")
    if name in REPRODUCTIONS:
        typer.echo()
        for title, text in describe(REPRODUCTIONS[name]).items():
            typer.echo(fill(text, 96, initial_indent=f"{title:18} ", subsequent_indent=" " * 19))
