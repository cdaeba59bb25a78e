"""The commands that train many networks to choose or to learn something: tune, size-curve."""

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
    Seed,
    SplitFile,
    WeightsOption,
    chosen_recipe,
    job_executor,
    load_keras,
    parted_cases,
    print_recipe,
    recipe_file,
    tracked_run,
)
from tumorlens.cli.progress import TrainingBars, console, counting
from tumorlens.outputs import Outputs
from tumorlens.settings import load_settings

TuneOut = Annotated[Path, typer.Option(help="The folder of the search; best: RUN/recipe.json.")]
Trials = Annotated[int, typer.Option(min=1, help="To end, stopped early or not.")]
Space = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="What to search, as JSON, instead of the recipe's own."),
]
CurveOut = Annotated[Path, typer.Option(help="Folder for json, csv, plot and all the runs.")]
Shares = Annotated[str, typer.Option(help="Percents of the training groups.")]
Seeds = Annotated[int, typer.Option(min=1, help="Runs at each share.")]
SameUpdates = Annotated[
    bool,
    typer.Option("--same-updates", help="As many steps at every share; else as many epochs."),
]


def tune(
    folders: Folders,
    out: TuneOut,
    recipe: RecipeName = "default",
    trials: Trials = 30,
    on: On = "",
    cores: Cores = None,
    space: Space = None,
    split_file: SplitFile = None,
    epochs: Epochs = None,
    seed: Seed = None,
    weights: WeightsOption = None,
    cache: Cache = None,
    allow_leaks: AllowLeaks = False,
    log: Log = None,
    overwrite: Overwrite = False,
) -> None:
    """Search a recipe's space with Hyperband, on validation alone; repeat the command to go on.

    Example: `tumorlens tune scans/ --recipe quick --split split.csv --out runs/tune`, then
    `tumorlens train scans/ --recipe runs/tune/recipe.json --split split.csv --out runs/best`
    """
    from tumorlens.study.recipes import read_space, space_of

    chosen, file = chosen_recipe(recipe, epochs=epochs, seed=seed, weights=weights)
    searched = read_space(space) if space else space_of(chosen)
    outputs = Outputs(*folders, recipe_file(recipe), space, file, overwrite=overwrite)
    folder = load_settings(cache=cache).cache_folder
    tracked = tracked_run(log, name=out.resolve().name, out=out, resume=True)
    parted, made = parted_cases(
        folders, split_file, out, outputs=outputs, allow_leaks=allow_leaks, recipe=chosen,
        cache=folder,
    )  # fmt: skip
    _print_search(chosen, searched)
    load_keras()
    from tumorlens.study.training.run import Job

    job = Job(chosen, made, out, folder, out.resolve().name, weights=file)
    with tracked, job_executor(on, cores) as executor:
        _print_best(_search(parted, job, searched, trials, tracked, executor), out)


def _search(
    cases: list[Any], job: Any, space: Any, trials: int, tracked: Any, executor: Any
) -> Any:
    from tumorlens.study.experiments.runner import Listeners
    from tumorlens.study.experiments.tuning import tune

    def on_start(number: int, values: Any) -> None:
        tracked.start({"recipe": job.recipe.to_json(), "split": job.split.fingerprint})
        _print_trial(number, values)

    with counting("preparing scans") as report, TrainingBars(job.recipe.epochs) as bars:
        tuned = tune(
            cases, job, space, trials=trials, listeners=Listeners(bars, preparing=report),
            executor=executor, on_start=on_start,
            on_end=lambda trial, run: _log_trial(tracked, trial, run),
        )  # fmt: skip
    tracked.log_parameters({"best": tuned.best.values})
    tracked.log_metrics({"best val_loss": tuned.best.val_loss})
    return tuned


def _log_trial(tracked: Any, trial: Any, run: Path) -> None:
    from tumorlens.study.training.run_folder import HISTORY_FILE, read_history

    tracked.log_child(
        f"trial {trial.number}",
        parameters={**trial.values, "state": trial.state},
        history=read_history(run / HISTORY_FILE),
    )


def _print_search(recipe: Any, space: Any) -> None:
    print_recipe(recipe)
    for field, row in space.items():
        console.print(f"  {field:20} {row.to_json()}")


def _print_best(tuned: Any, out: Path) -> None:
    from tumorlens.records import figure_text

    best, trials = tuned.best, len(tuned.trials)
    loss = f"validation loss {figure_text(best.val_loss, digits=4)}"
    console.print(f"best: trial {best.number} of {trials}, {loss}; {_listed(best.values)}")
    typer.echo(out / "recipe.json")


def _print_trial(number: int, values: Any) -> None:
    console.print(f"trial {number}: {_listed(values)}")


def _listed(values: Any) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in values.items()
    )


def size_curve(
    folders: Folders,
    out: CurveOut,
    recipe: RecipeName = "quick",
    shares: Shares = "5,10,25,50,100",
    seeds: Seeds = 3,
    same_updates: SameUpdates = False,
    on: On = "",
    cores: Cores = None,
    split_file: SplitFile = None,
    epochs: Epochs = None,
    weights: WeightsOption = None,
    init: InitOption = None,
    cache: Cache = None,
    allow_leaks: AllowLeaks = False,
    overwrite: Overwrite = False,
) -> None:
    """Train on growing parts of the training groups, and measure error, time and memory.

    Every run has the same validation and test part, and a process of its own; repeat the
    command to go on. Example: `tumorlens size-curve scans/ --split split.csv --out size`
    """
    from tumorlens.study.experiments.learning_curve import LearningCurve, measure_learning_curve

    chosen, file = chosen_recipe(recipe, epochs=epochs, seed=None, weights=weights)
    percents, folder = _percents(shares), load_settings(cache=cache).cache_folder
    outputs = Outputs(*folders, recipe_file(recipe), file, init, overwrite=overwrite)
    parted, made = parted_cases(
        folders, split_file, out, outputs=outputs, allow_leaks=allow_leaks, init=init,
        recipe=chosen, cache=folder,
    )  # fmt: skip
    plan = LearningCurve(
        recipe=chosen, split=made, out=out, cache=folder,
        shares=percents, seeds=seeds, same_updates=same_updates, weights=file, start=init,
    )  # fmt: skip
    print_recipe(chosen)
    workers = job_executor(on, cores, own_process=True)
    with counting("preparing scans") as report, workers as executor:
        measure_learning_curve(parted, plan, executor=executor, progress=report, on_end=_print_run)
    typer.echo(out / "size_curve.json")


def _percents(text: str) -> tuple[float, ...]:
    from tumorlens.errors import TrainingError

    try:
        return tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        fix = "Give percents with commas between, such as 5,10,25,50,100."
        raise TrainingError("--shares", f"{text!r} is no list of numbers", fix) from None


def _print_run(number: int, total: int, run: Any) -> None:
    errors = {
        "all": run.error_all,
        "ct": run.error_ct,
        "mri": run.error_mri,
        "type": run.error_type,
    }
    known = ", ".join(f"{part} {error:.3f}" for part, error in errors.items() if error is not None)
    memory = f", {run.peak_mb:.0f} MiB" if run.peak_mb else ""
    console.print(
        f"run {number} of {total}: {run.share:g} %, {run.groups} groups, seed {run.seed}: "
        f"errors {known}; {run.seconds:.0f} s{memory}"
    )
