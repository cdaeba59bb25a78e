"""The commands for a million files: plan, run, status, merge, verify."""

import os
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from tumorlens.cli.options import FAILED_STATUS, Bundle, Overwrite, Workers, print_passed_over
from tumorlens.cli.progress import WorkerBars, console, counting, print_notice
from tumorlens.cli.use import AllSeries, Volume
from tumorlens.settings import load_settings
from tumorlens.worker_process import use_one_thread

if TYPE_CHECKING:
    from tumorlens.batch.plan import Plan
    from tumorlens.batch.results import Status
    from tumorlens.batch.storage import Folder

SLURM_ARRAY = "slurm-array"
MAX_PROBLEMS = 20  # printed by `verify`
Job = Annotated[str, typer.Argument(metavar="JOB", help="Folder or URL of the job.")]
Given = Annotated[
    str,
    typer.Argument(
        metavar="INDEX|DIR|URL",
        help="A .csv or .parquet with a column path (and id, slices, series), a folder, a file, or "
        "s3://BUCKET/FOLDER.",
    ),
]
JobOut = Annotated[str, typer.Option("--out", metavar="JOB", help="Folder or URL for the job.")]
ShardSize = Annotated[int, typer.Option(min=1, help="Scans that a worker does at a time.")]
Heatmaps = Annotated[bool, typer.Option("--heatmaps", help="A column with the evidence.")]
Embeddings = Annotated[bool, typer.Option("--embeddings", help="A column with the embedding.")]
On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="local|ray|ray://HOST:PORT|slurm-array",
        help="local: processes here. ray: the cluster in RAY_ADDRESS, or one on this machine. "
        "slurm-array: this task's share of a Slurm array, on its cores.",
    ),
]
Share = Annotated[
    str, typer.Option("--shard", metavar="I/N", help="The I-th of N shares of the shards, from 1.")
]
FailedAgain = Annotated[
    bool, typer.Option("--failed-again", help="Also shards that hold scans with an error.")
]
TableOut = Annotated[str, typer.Option("--out", metavar="FILE", help="FILE.parquet or FILE.csv.")]
Partial = Annotated[bool, typer.Option("--partial", help="Merge what is there already.")]

batch_app = typer.Typer(no_args_is_help=True, help="A million files: plan, run anywhere, merge.")


@batch_app.command("plan")
def plan(
    given: Given,
    out: JobOut,
    bundle: Bundle = "",
    shard_size: ShardSize = 10_000,
    heatmaps: Heatmaps = False,
    embeddings: Embeddings = False,
    all_series: AllSeries = False,
    volume: Volume = None,
) -> None:
    """Plan a job once: which scans there are, in which shards. It never changes.

    Example: `tumorlens batch plan scans/ --out job --shard-size 1000`
    """
    from tumorlens.batch.index import read_index
    from tumorlens.batch.plan import LEFT_OUT, Options, make_plan
    from tumorlens.batch.storage import Folder
    from tumorlens.models.bundle import load_bundle

    settings = load_settings(volume=volume)
    loaded = load_bundle(bundle or settings.bundle)
    options = Options(heatmaps, embeddings, all_series, shard_size, settings.read_limits)
    index = read_index(given)
    job = Folder(out)
    with counting("planning") as progress:
        made, is_new = make_plan(index, job, loaded, options, progress=progress)
    print_passed_over(index.passed_over)
    if index.missing:
        tried = f"{index.missing} of {index.tried} files tried are not there"
        console.print(f"{tried}: each such scan will be a row with an error")
    if made.left_out:
        console.print(f"{made.left_out:,} files are copies of slices: see {job.path(LEFT_OUT)}")
    was = "" if is_new else " (it was planned before, and is the same)"
    console.print(f"{made.scans:,} scans in {len(made.shards):,} shards with {made.bundle}{was}")
    typer.echo(out)


@batch_app.command("run")
def run(
    job: Job,
    on: On = "local",
    shard: Share = "",
    workers: Workers = None,
    failed_again: FailedAgain = False,
) -> None:
    """Do what is missing of a job; after a kill, run it again.

    Scans that cannot be read are rows with an error, and no reason for an exit status.
    Example: `tumorlens batch run job --workers 2`
    """
    use_one_thread()
    from tumorlens.batch.run import missing_shards, remove_leftovers, run_shards
    from tumorlens.executors import LOCAL, available_cores, open_executor

    folder, planned = _opened(job)
    todo = missing_shards(folder, planned, part=_share(on, shard), failed_again=failed_again)
    console.print(f"{len(todo):,} of {len(planned.shards):,} shards to do")
    if not todo:
        return
    total = sum(planned.shards[number].scans for number in todo)
    where = LOCAL if on == SLURM_ARRAY else on
    found = min(workers or available_cores(), len(todo)) if where == LOCAL else workers
    failures: Counter[str] = Counter()
    with WorkerBars("scans", total) as bars, open_executor(where, workers=found) as executor:
        for record in run_shards(folder, todo, executor, watch=bars.watch):
            bars.add(record.scans)
            failures.update(record.failures)
    remove_leftovers(folder, planned)
    _print_failures(failures)
    print_notice()
    typer.echo(job)


@batch_app.command("status")
def status(job: Job) -> None:
    """Print how far a job is: counts, rates, failures by reason.

    Example: `tumorlens batch status job`
    """
    from tumorlens.batch.results import job_status

    for line in _status_lines(job_status(*_opened(job))):
        typer.echo(line)


@batch_app.command("merge")
def merge(job: Job, out: TableOut, partial: Partial = False, overwrite: Overwrite = False) -> None:
    """Write the rows of all shards as one table, in the order of the plan.

    Series of DICOM and NIfTI files are answered in series.csv beside the table.
    Example: `tumorlens batch merge job --out predictions.parquet`
    """
    from tumorlens.batch.results import merge_parts

    folder, planned = _opened(job)
    with counting("merging") as progress:
        merged = merge_parts(
            folder, planned, out, partial=partial, overwrite=overwrite, progress=progress
        )
    console.print(f"{merged.rows:,} of {planned.scans:,} rows, {merged.series:,} series")
    typer.echo(out)
    if merged.series_table:
        typer.echo(merged.series_table)


@batch_app.command("verify")
def verify(job: Job) -> None:
    """Prove that every planned scan has exactly one row, and every part its hash.

    Exit status 3 if not. Example: `tumorlens batch verify job`
    """
    from tumorlens.batch.results import verify_job

    folder, planned = _opened(job)
    with counting("verifying") as progress:
        problems = verify_job(folder, planned, progress=progress)
    for problem in problems[:MAX_PROBLEMS]:
        typer.echo(f"{problem.part}: {problem.fact}")
    if problems:
        shards = len(planned.shards)
        typer.echo(f"not whole: {len(problems):,} of {shards:,} parts are missing or wrong")
        raise typer.Exit(FAILED_STATUS)
    typer.echo(f"whole: {planned.scans:,} scans, each with one row; {len(planned.shards):,} parts")


def _opened(job: str) -> "tuple[Folder, Plan]":
    from tumorlens.batch.plan import load_plan
    from tumorlens.batch.storage import Folder

    return Folder(job), load_plan(Folder(job))


def _share(on: str, text: str) -> tuple[int, int]:
    """Return which part of how many is to be done here."""
    from tumorlens.batch.run import slurm_part
    from tumorlens.errors import SettingsError

    if not text:
        return slurm_part(os.environ) if on == SLURM_ARRAY else (1, 1)
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise SettingsError("--shard", f"{text!r} is no share", "Give it as 1/4.")
    return int(number), int(of)


def _print_failures(failures: Counter[str]) -> None:
    from tumorlens.losses import counted, listed

    if failures:
        text = f"{counted(failures.total(), 'scan')} could not be answered: {listed(failures)}"
        console.print(text, markup=False)


def _status_lines(found: "Status") -> list[str]:
    from tumorlens.losses import listed

    share = found.scans_done / found.scans
    lines = [
        f"{found.shards_done:,} of {found.shards:,} shards done, "
        f"{found.scans_done:,} of {found.scans:,} scans ({share:.1%})"
    ]
    if found.decisions:
        lines.append(f"answers: {listed(found.decisions)}")
    if found.failures:
        lines.append(f"failures: {listed(found.failures)}")
    if found.core_rate:
        of_late = f", {found.rate:.0f}/s together of late" if found.rate else ""
        lines.append(f"{found.core_rate:.0f} scans/s of one worker{of_late}")
    if found.seconds_left:
        lines.append(f"{found.seconds_left / 60:.0f} minutes left at that rate")
    if found.unfinished:
        lines.append(f"{found.unfinished} files under way, or left by workers that were killed")
    return lines
