"""The commands that make and judge a bundle: split, train, evaluate, recipes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tumorlens.cli.progress import TrainingBars, console, counting
from tumorlens.cli.runs import (
    AllowLeaks,
    Cache,
    Epochs,
    Folders,
    InitOption,
    RecipeName,
    Seed,
    SplitFile,
    WeightsOption,
    check_init,
    chosen_recipe,
    grouped_for,
    print_cross,
    print_recipe,
    split_for,
)
from tumorlens.settings import load_settings

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
    from tumorlens.study.audit.duplicates.groups import group_cases
    from tumorlens.study.audit.tables import read_groups
    from tumorlens.study.data import splits
    from tumorlens.study.data.index import read_cases

    cases = read_cases(folders)
    parts = splits.published_parts(cases) if published else []
    if audit:
        groups = read_groups(audit, cases)
    else:
        with counting("looking for copies") as report:
            groups = group_cases(cases, progress=report)
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
    pictures, together = len(set(groups.image_ids.tolist())), len(set(groups.groups.tolist()))
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
    recipe: RecipeName = "default",
    split_file: SplitFile = None,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="Cross-validate: train so many networks, by whole groups."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Of the folds, each drawn anew.")] = 1,
    epochs: Epochs = None,
    seed: Seed = None,
    weights: WeightsOption = None,
    init: InitOption = None,
    name: Annotated[str, typer.Option(help="Name of the bundle.")] = "",
    cache: Cache = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where RUN left off.")] = False,
    allow_leaks: AllowLeaks = False,
) -> None:
    """Train a recipe; goes on after a kill with --resume.

    Without --split a grouped split is made first and kept in RUN/split.csv. With --folds every
    scan is predicted once a repeat, by a network that saw nothing of its group. Example:
    `tumorlens train scans/ --split split.csv --out runs/default`
    """
    from contextlib import nullcontext

    from tumorlens.study.data import splits
    from tumorlens.study.data.index import read_cases

    if repeats > 1 and folds is None:
        raise typer.BadParameter("needs --folds", param_hint="--repeats")
    chosen, file = chosen_recipe(recipe, epochs=epochs, seed=seed, weights=weights)
    cases = read_cases(folders)
    if folds is not None:
        _cross_validate(
            cases, chosen, out=out, split_file=split_file, folds=folds, repeats=repeats,
            weights=file, init=init, cache=cache, resume=resume, allow_leaks=allow_leaks,
        )  # fmt: skip
        return
    made = split_for(cases, split_file, out)
    parted = splits.apply_split(cases, made, allow_leaks=allow_leaks)
    print_recipe(chosen)
    from tumorlens.study.training.backend import load_backend

    load_backend()
    if not allow_leaks:
        check_init(init, made.groups, [key for key, part in made.parts.items() if part != "train"])
    from tumorlens.study.training.run import Job
    from tumorlens.study.training.run import train as run_training

    job = Job(
        recipe=chosen, split=made, out=out, cache=load_settings(cache=cache).cache_folder,
        name=name or out.resolve().name, weights=file, start=init,
    )  # fmt: skip
    seen = counting("features of the frozen network") if chosen.head_epochs else nullcontext()
    with counting("preparing scans") as report, seen as looked, TrainingBars(chosen.epochs) as bars:
        bundle = run_training(
            parted, job, callback=bars, progress=report, extracting=looked, resume=resume
        )
    choice = bundle.threshold_choice
    console.print(
        f"threshold {bundle.threshold:.4f} ({choice['aim']}): on validation sensitivity "
        f"{choice['sensitivity']:.3f} (n={choice['n_tumor']}), specificity "
        f"{choice['specificity']:.3f} (n={choice['n'] - choice['n_tumor']}); see threshold.svg"
    )
    typer.echo(bundle.folder)


def _cross_validate(
    cases: list[Any],
    recipe: Any,
    *,
    out: Path,
    split_file: Path | None,
    folds: int,
    repeats: int,
    weights: str,
    init: Path | None,
    cache: str | None,
    resume: bool,
    allow_leaks: bool,
) -> None:
    print_recipe(recipe)
    from tumorlens.study.training.backend import load_backend

    load_backend()
    from tumorlens.study.experiments.folds import CrossJob, cross_validate

    kept = out / "fold-1" / "split.csv"
    cases, groups = grouped_for(cases, split_file, kept, allow_leaks=allow_leaks)
    if not allow_leaks:
        keys = [case.key for case in cases]
        check_init(init, dict(zip(keys, map(str, groups.groups), strict=True)), keys)
    job = CrossJob(
        recipe=recipe, folds=folds, repeats=repeats, out=out,
        cache=load_settings(cache=cache).cache_folder, weights=weights, start=init,
    )  # fmt: skip
    with counting("preparing scans") as report, TrainingBars(recipe.epochs) as bars:
        figures = cross_validate(
            cases, groups, job, callback=bars, resume=resume, progress=report,
            begun=lambda number, total: console.print(f"fold {number} of {total}"),
        )  # fmt: skip
    print_cross(figures)
    typer.echo(out / "cross_validation.json")


def evaluate(
    folders: Folders,
    out: Annotated[Path, typer.Option(help="Folder for json, html and csv.")],
    bundle: Annotated[str, typer.Option(help="A bundle or run folder; default: shipped.")] = "",
    split_file: SplitFile = None,
    part: Annotated[str, typer.Option(help="Of the split: train, val, test, or all.")] = "test",
    against: Annotated[
        str,
        typer.Option(metavar="BUNDLE", help="Another bundle, compared on the same scans."),
    ] = "",
    controls: Annotated[
        bool,
        typer.Option(
            "--controls/--no-controls",
            help="Also measure shuffled labels, blanked brains and facts of the files.",
        ),
    ] = True,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness/--no-robustness",
            help="Also measure a sample after noise, blur, rotation and other damage.",
        ),
    ] = True,
    explanations: Annotated[
        bool,
        typer.Option(
            "--explanations/--no-explanations",
            help="Also test whether heatmaps say what moved the answer.",
        ),
    ] = True,
    workers: Annotated[int | None, typer.Option(min=1, help="Default: one per core.")] = None,
    allow_leaks: AllowLeaks = False,
) -> None:
    """Measure a bundle on one part of a split, or on a whole folder without one.

    Each look is counted in the bundle's run folder. Example:
    `tumorlens evaluate scans/ --bundle runs/default --split split.csv --out results`
    """
    from datetime import UTC, datetime

    from tumorlens.cli.evaluation import part_of, print_figures
    from tumorlens.predictions.predictor import load_predictor
    from tumorlens.study.data.index import read_cases
    from tumorlens.study.evaluation.run import evaluate as run_evaluation
    from tumorlens.study.evaluation.run import write_evaluation
    from tumorlens.study.evaluation.test_access_log import counted

    settings = load_settings(workers=workers)
    predictor = load_predictor(bundle, settings)
    rival = load_predictor(against, settings) if against else None
    cases, about, context = part_of(read_cases(folders), split_file, part, allow_leaks)
    found = run_evaluation(
        cases, predictor, part=part if split_file else "all", split=about, context=context,
        against=rival, controls=controls, robustness=robustness, explanations=explanations,
        steps=counting,
    )  # fmt: skip
    found = counted(found, predictor.bundle, out=out, now=datetime.now(UTC))
    write_evaluation(found, out, bundle=predictor.bundle)
    print_figures(found.figures)
    typer.echo(out / "evaluation.html")


@recipes_app.command("list")
def list_recipes() -> None:
    """List the recipes, those of pretraining last. Example: `tumorlens recipes list`."""
    from tumorlens.study.recipes import PRETRAININGS, RECIPES

    for recipe in (*RECIPES.values(), *(found.recipe for found in PRETRAININGS.values())):
        typer.echo(f"{recipe.name:25} {recipe.epochs:3} epochs  {recipe.side} px  {recipe.summary}")


@recipes_app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="See `tumorlens recipes list`.")],
) -> None:
    """Show everything a recipe decides, and what it reproduces.

    Example: `tumorlens recipes show seed-mri-cnn`
    """
    from textwrap import fill

    from tumorlens.study.recipes import PRETRAININGS, REPRODUCTIONS, describe, find_recipe

    fields = find_recipe(name).to_json() if name not in PRETRAININGS else {
        **PRETRAININGS[name].recipe.to_json(), **PRETRAININGS[name].to_json()
    }  # fmt: skip
    for key, value in fields.items():
        typer.echo(f"{key:18} {value}")
    if name in REPRODUCTIONS:
        typer.echo()
        for title, text in describe(REPRODUCTIONS[name]).items():
            typer.echo(fill(text, 96, initial_indent=f"{title:18} ", subsequent_indent=" " * 19))
