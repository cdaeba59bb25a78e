"""The commands that look at a data set: explore, features, tabular, hypotheses."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tumorlens.cli.options import (
    FAILED_STATUS,
    Cache,
    Cores,
    Epochs,
    Folders,
    On,
    Overwrite,
    TableOut,
    chosen_recipe,
    found_groups,
    job_executor,
    print_losses,
    print_losses_in,
    read_labeled,
    recipe_file,
)
from tumorlens.cli.progress import console, counting
from tumorlens.losses import counted
from tumorlens.outputs import Outputs
from tumorlens.settings import load_settings

StudyOut = Annotated[Path, typer.Option(help="Folder for html, json, csv and images.")]
Parts = Annotated[
    Path | None,
    typer.Option(
        "--split",
        help="Parts to count classes in: a split file, or a CSV with path and split. A bundle "
        "is tested on its test part only if it was trained with that split file.",
    ),
]
AuditFolder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Groups of `tumorlens audit`, instead of a new search."),
]
Experiments = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Results of trainings, as `tumorlens hypotheses` keeps them."
    ),
]
Side = Annotated[int | None, typer.Option(min=32, max=1024, help="Pixels of the prepared square.")]
BundleOption = Annotated[str, typer.Option(help="The network of H2; default: shipped.")]
HeadOnly = Annotated[
    bool, typer.Option("--head-only", help="Leave the background around the head out.")
]
Table = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="A table of `tumorlens features`, or the published `Brain Tumor.csv`."
    ),
]
TabularOut = Annotated[Path, typer.Option(help="Folder for html and json.")]
GroupsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="groups.csv of `tumorlens audit`; else every row stands alone."
    ),
]
HypothesesOut = Annotated[
    Path, typer.Option(help="Folder for the table, the networks and the pages.")
]
AuditOfAll = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Groups of `tumorlens audit` of all folders, else they are sought."
    ),
]
Judged = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Judge by these results, and train nothing."),
]
Runs = Annotated[
    int | None,
    typer.Option(min=1, help="Train at most so many pairs of networks now; repeat to go on."),
]
SmallRecipe = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="Of the networks, instead of a small, short one."),
]
Folds = Annotated[int, typer.Option(min=3, help="Of each set, by whole groups.")]
MaxScans = Annotated[int, typer.Option(min=20, help="Images taken of one set at most.")]


def explore(
    folders: Folders,
    out: StudyOut,
    split_file: Parts = None,
    audit: AuditFolder = None,
    experiments: Experiments = None,
    side: Side = None,
    bundle: BundleOption = "",
    cache: Cache = None,
    overwrite: Overwrite = False,
) -> None:
    """Plot what the classes look like, measure what separates them, and judge six hypotheses.

    Mean, variability, difference with its significance, random scans, sizes, gray levels, 13
    features. Example: `tumorlens explore scans/ --out study --split split.csv`
    """
    from dataclasses import replace

    from tumorlens.inputs.prepare import InputSpec
    from tumorlens.study.data import splits
    from tumorlens.study.explore.held_out_performance import read_experiments
    from tumorlens.study.explore.report import FEATURES_TABLE, PAGE, study_set

    cases = read_labeled(folders)
    results = read_experiments(experiments) if experiments else ()
    if split_file:
        parts = splits.parts_in(split_file, cases)
        cases = [replace(case, split=p or None) for case, p in zip(cases, parts, strict=True)]
    kept = load_settings(cache=cache).cache_folder
    spec = InputSpec() if side is None else replace(InputSpec(), side=side)
    groups = found_groups(cases, audit) if audit else None
    read = (*folders, split_file, audit, experiments, bundle)
    Outputs(*read, overwrite=overwrite).claim_folder(out)
    groups = groups or found_groups(cases, cache=kept, spec=spec)
    result = study_set(
        cases, spec, out=out, cache=kept, groups=groups, experiments=results, steps=counting,
        held_out=_held_out(cases, split_file, bundle), folders=[str(f) for f in folders],
    )  # fmt: skip
    _print_study(result, out / FEATURES_TABLE)
    typer.echo(out / PAGE)


def _held_out(cases: list[Any], split_file: Path | None, bundle: str) -> Any:
    from tumorlens.predictions.predictor import load_predictor
    from tumorlens.study.explore.held_out_performance import (
        HeldOutPerformance,
        measure_held_out,
    )

    if split_file is None:
        return HeldOutPerformance(reason="no split was given whose test part the bundle never saw")
    predictor = load_predictor(bundle, load_settings())
    with counting("predicting held-out patients") as report:
        return measure_held_out(cases, split_file, predictor, progress=report)


def _print_study(result: Any, table: Path, *, title: str = "") -> None:
    """Print each verdict of an exploration with its figures, and what its table says was lost."""
    if title:
        console.print(f"[bold]{title}[/bold]")
    console.print(
        f"{result.n} scans, {result.unreadable} unreadable, {result.groups} independent groups"
    )
    for row in result.hypotheses:
        console.print(f"{row.id}  {row.verdict:13}  {row.statement}")
        for text in (*row.findings, row.reason):
            if text:
                console.print(f"{'':19}{text}")
    print_losses_in(table)


def features(
    folders: Folders,
    out: TableOut = Path("features.csv"),
    head_only: HeadOnly = False,
    side: Side = None,
    cache: Cache = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure 13 first-order and texture features of every scan, as networks are given it.

    Every file gets a row, also one that cannot be read; exit status 3 if there was one.
    Example: `tumorlens features scans/ --out features.csv --head-only`
    """
    from dataclasses import replace

    from tumorlens.inputs.prepare import InputSpec
    from tumorlens.study.features.table import COLUMNS, FIRST_COLUMNS, measure_files, write_features

    cases = read_labeled(folders)
    Outputs(*folders, overwrite=overwrite).claim_table(out, COLUMNS, FIRST_COLUMNS)
    spec = InputSpec() if side is None else replace(InputSpec(), side=side)
    with counting("measuring") as report:
        table = measure_files(
            cases, spec, cache=load_settings(cache=cache).cache_folder,
            head_only=head_only, progress=report,
        )  # fmt: skip
    write_features(table, out)
    typer.echo(out)
    where = "inside the head" if head_only else "of the whole square"
    measured = counted(int(table.usable.sum()), "scan")
    console.print(f"{measured} measured at {spec.side} px, {where}")
    print_losses(table.errors, table.labels, where="the column error")
    if any(table.errors):
        raise typer.Exit(FAILED_STATUS)


def tabular(
    table: Table, out: TabularOut, groups: GroupsFile = None, overwrite: Overwrite = False
) -> None:
    """Study a table of features: distributions, effect sizes, correlation, three models.

    Models answer for groups that they did not learn from. Example:
    `tumorlens tabular features.csv --groups audit/groups.csv --out table`
    """
    from datetime import UTC, datetime

    from tumorlens.study.explore.report import TABULAR_PAGE, write_tabular
    from tumorlens.study.explore.tabular import study_features

    Outputs(table, groups, overwrite=overwrite).claim_folder(out)
    result = study_features(table, groups=groups, now=datetime.now(UTC), steps=counting)
    write_tabular(result, out)
    for modality, study in result.features.items():
        console.print(f"{modality}: {study.n} scans in {study.n_groups} groups")
        for name, row in (study.models or {}).items():
            console.print(f"     {name:20} AUC {row.auc}")
    if groups is None:
        console.print("No groups were given: every row counts as independent, which flatters.")
    typer.echo(out / TABULAR_PAGE)


def hypotheses(
    folders: Folders,
    out: HypothesesOut,
    audit: AuditOfAll = None,
    experiments: Judged = None,
    runs: Runs = None,
    on: On = "",
    cores: Cores = None,
    recipe: SmallRecipe = None,
    epochs: Epochs = None,
    folds: Folds = 5,
    scans: MaxScans = 2000,
    cache: Cache = None,
    overwrite: Overwrite = False,
) -> None:
    """Judge six hypotheses on each folder and across them, and write one table of verdicts.

    Trains small networks on each folder, with and without augmentation, and tests them on their
    own unseen groups and on the other folders; repeat the command to go on after a stop.
    Example: `tumorlens hypotheses first/ second/ --out study`
    """
    from tumorlens.inputs.prepare import InputSpec

    cases, kept = read_labeled(folders), load_settings(cache=cache).cache_folder
    outputs = Outputs(*folders, audit, experiments, recipe_file(recipe or ""), overwrite=overwrite)
    outputs.claim_folder(out, *{out / case.dataset for case in cases})
    groups = found_groups(cases, audit, cache=kept, spec=InputSpec())
    results = experiments or _trained(
        cases, groups, out / "networks", cache=kept, recipe=recipe, epochs=epochs, folds=folds,
        scans=scans, runs=runs, workers=job_executor(on, cores, own_process=True),
    )  # fmt: skip
    if results is not None:
        _judge(cases, groups, results, out=out, cache=kept)


def _judge(cases: list[Any], groups: Any, results: Path, *, out: Path, cache: Path) -> None:
    """Judge the hypotheses by what the networks showed, and write the report."""
    from tumorlens.study.explore.hypothesis_report import TEXT, write_hypothesis_report
    from tumorlens.study.explore.report import FEATURES_TABLE, study_sets

    studies = study_sets(
        cases, groups, out=out, cache=cache, results=results, steps=counting, on_set=console.print
    )
    for name, study in studies.items():
        _print_study(study, out / name / FEATURES_TABLE, title=name)
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
    workers: Any,
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
    sets = pairs.choose_sets(cases, groups, plan)
    with counting("pairs of networks") as report, workers as executor:
        done = pairs.run_pairs(sets, plan, at_most=runs, executor=executor, on_end=report)
    if not done:
        console.print("Some networks are not trained yet. Repeat the command to go on, or judge by")
        console.print(f"what there is: --experiments {out / pairs.EXPERIMENTS_FILE}")
        return None
    return out / pairs.EXPERIMENTS_FILE
