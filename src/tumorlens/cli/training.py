"""The commands that make a bundle: train, pretrain, recipes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tumorlens.cli.options import (
    AllowLeaks,
    Cache,
    Cores,
    Epochs,
    Folders,
    InitOption,
    Log,
    On,
    Overwrite,
    RecipeName,
    Resume,
    Seed,
    SplitFile,
    WeightsOption,
    check_before_grouping,
    check_init,
    chosen_recipe,
    found_groups,
    job_executor,
    parted_cases,
    print_left_out,
    print_losses,
    print_recipe,
    read_labeled,
    recipe_file,
    tracked_run,
)
from tumorlens.cli.progress import TrainingBars, console, counting
from tumorlens.outputs import Outputs
from tumorlens.progress import silent_steps
from tumorlens.settings import load_settings

recipes_app = typer.Typer(no_args_is_help=True, help="What a training run decides.")


RunOut = Annotated[Path, typer.Option(help="The run folder; the bundle is RUN/bundle.")]
Folds = Annotated[
    int | None,
    typer.Option(min=2, help="Cross-validate: train so many networks, by whole groups."),
]
Repeats = Annotated[int, typer.Option(min=1, help="Of the folds, each drawn anew.")]
TeacherOption = Annotated[
    str,
    typer.Option(
        "--teacher",
        metavar="BUNDLE",
        help="Learn the answers of another bundle of the same split too.",
    ),
]
BundleName = Annotated[str, typer.Option(help="Name of the bundle.")]
PretrainOut = Annotated[Path, typer.Option(help="The run folder, for `train --init RUN`.")]
PretrainingName = Annotated[str, typer.Option(metavar="NAME", help="See `tumorlens recipes list`.")]


def train(
    folders: Folders,
    out: RunOut,
    recipe: RecipeName = "default",
    split_file: SplitFile = None,
    folds: Folds = None,
    repeats: Repeats = 1,
    on: On = "",
    cores: Cores = None,
    epochs: Epochs = None,
    seed: Seed = None,
    weights: WeightsOption = None,
    init: InitOption = None,
    teacher: TeacherOption = "",
    name: BundleName = "",
    cache: Cache = None,
    resume: Resume = False,
    allow_leaks: AllowLeaks = False,
    log: Log = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a recipe; goes on after a kill with --resume.

    Without --split a grouped split is made first and kept in RUN/split.csv. With --folds every
    scan is predicted once a repeat, by a network that saw nothing of its group. Example:
    `tumorlens train scans/ --split split.csv --out runs/default`
    """
    _check_folds(folds, teacher, {"--repeats": repeats > 1, "--on": on, "--cores": cores})
    chosen, file = chosen_recipe(recipe, epochs=epochs, seed=seed, weights=weights)
    folder = load_settings(cache=cache).cache_folder
    read = (*folders, recipe_file(recipe), file, init, teacher)
    outputs = Outputs(*read, overwrite=overwrite)
    tracked = tracked_run(log, name=out.resolve().name, out=out, resume=resume)
    request = _Request(chosen, out, split_file, file, init, teacher, folder, resume, allow_leaks,
                       outputs, tracked)  # fmt: skip
    if folds is None:
        _train_one(folders, request, name=name or out.resolve().name)
    else:
        workers = job_executor(on, cores)
        _cross_validate(folders, request, folds=folds, repeats=repeats, workers=workers)


def _check_folds(folds: int | None, teacher: str, needing: Mapping[str, Any]) -> None:
    """Raise BadParameter for an option that needs folds, or that cannot have any."""
    for name, given in needing.items():
        if given and folds is None:
            raise typer.BadParameter("needs --folds", param_hint=name)
    if teacher and folds is not None:
        raise typer.BadParameter("saw scans of every fold", param_hint="--teacher")


@dataclass(frozen=True)
class _Request:
    """What `train` was asked for, whether for one network or for folds."""

    recipe: Any
    out: Path
    split_file: Path | None
    weights: str  # a file, or ""
    init: Path | None
    teacher: str  # a bundle, or ""
    cache: Path
    resume: bool
    allow_leaks: bool
    outputs: Outputs
    tracked: Any

    def parameters(self, split: str) -> dict[str, Any]:
        """Return what a tracker keeps of it, with the fingerprint of its split."""
        return {
            "recipe": self.recipe.to_json(),
            "split": split,
            "init": self.init.name if self.init else "",
            "teacher": self.teacher,
        }


def _train_one(folders: list[Path], request: _Request, *, name: str) -> None:
    from tumorlens.models.bundle import load_bundle
    from tumorlens.study.training.backend import load_backend
    from tumorlens.study.training.preconditions import check_teacher

    recipe, out = request.recipe, request.out
    teacher = load_bundle(request.teacher) if request.teacher else None
    parted, made = parted_cases(
        folders, request.split_file, out, outputs=request.outputs, allow_leaks=request.allow_leaks,
        init=request.init, recipe=recipe, cache=request.cache,
    )  # fmt: skip
    if teacher:
        check_teacher(teacher, recipe, made.fingerprint, allow_leaks=request.allow_leaks)
    print_recipe(recipe)
    load_backend()
    from tumorlens.study.training.run import Job
    from tumorlens.study.training.run import train as run_training

    job = Job(recipe, made, out, request.cache, name, weights=request.weights, start=request.init,
              teacher=teacher)  # fmt: skip
    step = counting if recipe.head_epochs else silent_steps

    def on_prepared(run: Path) -> None:
        _print_prepared(parted, run)
        request.tracked.start(request.parameters(made.fingerprint))

    with (
        request.tracked as tracked,
        counting("preparing scans") as report,
        step("features of the frozen network") as extracting,
        TrainingBars(recipe.epochs) as bars,
    ):
        bundle = run_training(
            parted, job, callback=tracked.listening(bars), progress=report,
            extracting=extracting, on_prepared=on_prepared, resume=request.resume,
        )  # fmt: skip
        tracked.log_bundle(bundle)
    _print_threshold(bundle)
    typer.echo(bundle.folder)


def _print_prepared(cases: list[Any], run: Path) -> None:
    """Say what is known of the scans before the first epoch."""
    _print_unreadable(cases, run)
    _print_not_plain(run)


def _print_unreadable(cases: list[Any], run: Path) -> None:
    """Say what cannot be read of what is to be learned from."""
    from tumorlens.files import read_table

    tables = sorted(run.glob("unreadable_*.csv"))
    reasons = {row["path"]: row["error"] for table in tables for row in read_table(table)}
    learned = [case for case in cases if case.split in ("train", "val")]
    print_losses(
        [reasons.get(str(case.path), "") for case in learned],
        [case.label for case in learned],
        where=", ".join(table.name for table in tables),
    )


def _print_not_plain(out: Path) -> None:
    """Say what is learned from though it is not one plain slice."""
    from collections import Counter

    from tumorlens.files import read_table
    from tumorlens.study.training.run import NOT_PLAIN_FILE

    if not (table := out / NOT_PLAIN_FILE).exists():
        return
    rows = list(read_table(table))
    reasons = Counter(row["reason"].split(",")[0] for row in rows).most_common(3)
    listed = "; ".join(f"{count} x {reason}" for reason, count in reasons)
    console.print(
        f"{len(rows)} of these scans are not one plain slice, and a network learns what is drawn "
        f"on them too ({listed}): better take those in {table} out"
    )


def _print_threshold(bundle: Any) -> None:
    from tumorlens.models.usefulness import describe_usefulness

    chosen = bundle.operating_point
    console.print(
        f"threshold {bundle.threshold:.4f} ({chosen.aim}): on validation sensitivity "
        f"{chosen.sensitivity}, specificity {chosen.specificity}; see threshold.svg"
    )
    for sentence in describe_usefulness(bundle.performance):
        console.print(sentence)


def _cross_validate(
    folders: list[Path], request: _Request, *, folds: int, repeats: int, workers: Any
) -> None:
    from tumorlens.study.training.backend import load_backend

    print_recipe(request.recipe)
    load_backend()
    from tumorlens.study.experiments.cross_validation import CrossValidation, cross_validate
    from tumorlens.study.experiments.runner import Listeners

    kept = request.out / "fold-1" / "split.csv"
    cases, groups = _cases_to_fold(folders, request, kept)
    if request.init and not request.allow_leaks:
        keys = [case.key for case in cases]
        named = dict(zip(keys, map(str, groups.groups), strict=True))
        check_init(request.init, named, dict.fromkeys(keys, "test"))
    plan = CrossValidation(
        request.recipe, folds, repeats, request.out, request.cache, weights=request.weights,
        start=request.init,
    )  # fmt: skip

    def on_start(number: int, total: int) -> None:
        request.tracked.start(request.parameters("") | {"folds": folds, "repeats": repeats})
        console.print(f"fold {number} of {total}")

    with (
        request.tracked as tracked,
        counting("preparing scans") as report,
        TrainingBars(request.recipe.epochs) as bars,
        workers as executor,
    ):
        figures = cross_validate(
            cases, groups, plan, resume=request.resume, listeners=Listeners(bars, preparing=report),
            executor=executor, on_start=on_start, on_end=lambda fold: _log_fold(tracked, fold),
        )  # fmt: skip
        tracked.log_figures({"held out": figures})
    _print_cross(figures)
    typer.echo(request.out / "cross_validation.json")


def _log_fold(tracked: Any, fold: Path) -> None:
    """Log a fold as a run of its own; of a frozen network no epochs are kept."""
    from tumorlens.study.training.run_folder import HISTORY_FILE, read_history

    history = read_history(fold / HISTORY_FILE)
    tracked.log_child(fold.name, parameters={"fold": fold.name}, history=history)


def _cases_to_fold(folders: list[Path], request: _Request, kept: Path) -> tuple[list[Any], Any]:
    """Return the cases to cross-validate, and their groups.

    With a split these are its train and val cases: its test part stays unread. Without one, all
    of them, in groups that are found, or that the split file `kept` of a fold knows already.
    """
    from tumorlens.study.data import splits
    from tumorlens.study.data.folds import groups_of

    cases = read_labeled(folders)
    request.outputs.claim_folder(request.out)
    check_before_grouping(cases, request.recipe, request.out, request.cache)
    if request.split_file is not None:
        made = splits.read_split(request.split_file)
        parted = splits.apply_split(cases, made, allow_leaks=request.allow_leaks)
        print_left_out(cases, made)
        cases = [case for case in parted if case.split != "test"]
        return cases, groups_of(made, cases)
    if kept.exists():
        made = splits.read_split(kept)
        if all(case.key in made.parts for case in cases):
            return cases, groups_of(made, cases)
    return cases, found_groups(cases)


def _print_cross(figures: Any) -> None:
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


def pretrain(
    folders: Folders,
    out: PretrainOut,
    recipe: PretrainingName = "vicreg",
    split_file: SplitFile = None,
    epochs: Epochs = None,
    seed: Seed = None,
    cache: Cache = None,
    resume: Resume = False,
    allow_leaks: AllowLeaks = False,
    overwrite: Overwrite = False,
) -> None:
    """Pretrain the network on scans without looking at their labels; `train --init` goes on.

    Only the train part of the split is seen. Without --split one is made first, as `train` makes
    it, and what stands in folders named unlabeled is learned from too. Example:
    `tumorlens pretrain scans/ --split split.csv --out runs/pretrained`
    """
    from tumorlens.study.recipes import find_pretraining

    chosen = find_pretraining(recipe)
    changes = {"epochs": epochs, "seed": seed}
    set_instead = {key: value for key, value in changes.items() if value is not None}
    chosen = replace(chosen, recipe=replace(chosen.recipe, **set_instead))
    parted, made = parted_cases(
        folders, split_file, out, outputs=Outputs(*folders, overwrite=overwrite),
        allow_leaks=allow_leaks, unlabeled=True,
    )  # fmt: skip
    console.print(f"{recipe}: {chosen.recipe.summary} ({chosen.source})")
    from tumorlens.study.training.backend import load_backend

    load_backend()
    from tumorlens.study.training.transfer.pretraining import PretrainJob
    from tumorlens.study.training.transfer.pretraining import pretrain as run_pretraining

    job = PretrainJob(chosen, made, out, load_settings(cache=cache).cache_folder)
    with counting("preparing scans") as report, TrainingBars(chosen.recipe.epochs) as bars:
        run_pretraining(parted, job, callback=bars, progress=report, resume=resume)
    typer.echo(out)


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

    Example: `tumorlens recipes show baseline-mri-cnn`
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
