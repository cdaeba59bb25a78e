"""`tumorlens hypotheses`: six beliefs about labeled sets, judged by figures."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tumorlens.cli.explore import found_groups, print_study
from tumorlens.cli.progress import console, counting
from tumorlens.cli.runs import Cache, Epochs, Folders, chosen_recipe
from tumorlens.settings import load_settings


def hypotheses(
    folders: Folders,
    out: Annotated[Path, typer.Option(help="Folder for the table, the networks and the pages.")],
    audit: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Groups of `tumorlens audit` of all folders, else they are sought."
        ),
    ] = None,
    experiments: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Judge by these results, and train nothing."),
    ] = None,
    runs: Annotated[
        int | None,
        typer.Option(min=1, help="Train at most so many pairs of networks now; repeat to go on."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Of the networks, instead of a small, short one."),
    ] = None,
    epochs: Epochs = None,
    folds: Annotated[int, typer.Option(min=3, help="Of each set, by whole groups.")] = 5,
    scans: Annotated[int, typer.Option(min=20, help="Images taken of one set at most.")] = 2000,
    cache: Cache = None,
) -> None:
    """Judge six hypotheses on each folder and across them, and write one table of verdicts.

    Trains small networks on each folder, with and without augmentation, and asks them for their
    own unseen groups and for the other folders; repeat the command to go on after a stop.
    Example: `tumorlens hypotheses first/ second/ --out study`
    """
    from tumorlens.inputs.prepare import InputSpec
    from tumorlens.study.data.index import read_cases
    from tumorlens.study.explore.hypothesis_report import TEXT, write_hypothesis_report
    from tumorlens.study.explore.report import study_sets

    cases, kept = read_cases(folders), load_settings(cache=cache).cache_folder
    groups = found_groups(cases, audit, kept, InputSpec())
    results = experiments or _trained(
        cases, groups, out / "networks", cache=kept, recipe=recipe, epochs=epochs, folds=folds,
        scans=scans, runs=runs,
    )  # fmt: skip
    if results is None:
        return
    studies = study_sets(
        cases, groups, out=out, cache=kept, results=results, steps=counting, on_set=console.print
    )
    for name, study in studies.items():
        console.print(f"[bold]{name}[/bold]")
        print_study(study)
    write_hypothesis_report(studies, results, out)
    typer.echo(out / TEXT)


def _trained(
    cases: list[Any],
    groups: Any,
    out: Path,
    *,
    cache: Path,
    recipe: str | None,
    epochs: int | None,
    folds: int,
    scans: int,
    runs: int | None,
) -> Path | None:
    """Train what is missing; give the file of results, or None where some still is."""
    from dataclasses import replace

    from tumorlens.study.experiments import hypothesis_runs as pairs

    chosen = pairs.small_recipe()
    if recipe:
        chosen, _ = chosen_recipe(recipe, epochs=None, seed=None, weights=None)
    if epochs:
        chosen = replace(chosen, epochs=epochs)
    plan = pairs.PairedRuns(chosen, out, cache, folds=folds, max_images=scans)
    with counting("pairs of networks") as report:
        sets = pairs.choose_sets(cases, groups, plan)
        done = pairs.run_pairs(sets, plan, at_most=runs, on_end=report)
    if not done:
        console.print("Some networks are not trained yet. Repeat the command to go on, or judge by")
        console.print(f"what there is: --experiments {out / pairs.EXPERIMENTS_FILE}")
        return None
    return out / pairs.EXPERIMENTS_FILE
