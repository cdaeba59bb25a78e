"""Options that several commands have, and the steps that they share: recipe, groups, split."""

import errno
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from socket import SOCK_STREAM
from typing import Annotated, Any

import typer

from tumorlens.cli.progress import QUIET_SECONDS, console, counting
from tumorlens.outputs import Outputs


class TrackerName(StrEnum):
    """Where a run is logged."""

    MLFLOW = "mlflow"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"


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
        help="Of a pretrained network, instead of the recipe's: `imagenet` takes an installed "
        "package of weights, else a download; or a .h5 file of Keras Applications without top.",
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
Bundle = Annotated[str, typer.Option(help="A bundle or run folder; default: shipped.")]
TableOut = Annotated[Path, typer.Option(help="The table to write.")]
Out = Annotated[Path, typer.Option(help="Folder for html, json and csv.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Default: one per core.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where RUN left off.")]
RetentionDays = Annotated[
    int | None, typer.Option(min=0, help="Remove answers after so many days; 0: never.")
]
Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535)]
Log = Annotated[
    TrackerName | None,
    typer.Option(
        "--log",
        help="Log recipe, figures and bundle to an experiment tracker, never a scan or its name; "
        "default: none. wandb stays offline unless WANDB_MODE says otherwise.",
    ),
]
On = Annotated[
    str,
    typer.Option(
        metavar="local|ray|ray://HOST:PORT",
        help="Train several networks at once, by processes of this machine or on a Ray cluster "
        "whose nodes see the same folders; default: one after the other.",
    ),
]
Cores = Annotated[
    int | None, typer.Option(min=1, help="Of each network with --on; default: a whole machine.")
]
FAILED_STATUS = 3  # some file could not be read; every other one was answered
Cache = Annotated[str | None, typer.Option(help="Folder of prepared images.")]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Write over files that tumorlens did not make; never over what is read.",
    ),
]


def check_address(host: str, port: int) -> None:
    """Raise SettingsError where nobody can listen on an address, such as one that is in use."""
    from tumorlens.errors import SettingsError

    where = f"{f'[{host}]' if ':' in host else host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as taken:
            # As servers do: what the last one left in TIME_WAIT is no hindrance.
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name != "nt")
            taken.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(where, "is in use", "Choose another with --port.") from error
        fact = f"cannot be listened on ({error.strerror or error})"
        raise SettingsError(where, fact, "Choose another with --host or --port.") from error


def tracked_run(log: TrackerName | None, *, name: str, out: Path, resume: bool) -> Any:
    """Return the run that `--log` asks for, or one that nobody hears of."""
    from tumorlens.study.tracking import TrackedRun

    return TrackedRun(log or "", name=name, out=out, resume=resume, warn=console.print)


@contextmanager
def job_executor(on: str, cores: int | None, *, own_process: bool = False) -> Iterator[Any]:
    """Yield what trains networks: the workers that `--on` asks for, or this process.

    With `own_process` a fresh one for each instead, where no workers are asked for.
    """
    from tumorlens.study.experiments.runner import in_own_process, in_this_process, open_workers

    if not on:
        yield in_own_process if own_process else in_this_process
        return
    last = time.monotonic()

    def watch(underway: Sequence[Any]) -> None:
        nonlocal last
        if underway and time.monotonic() - last > QUIET_SECONDS:
            last = time.monotonic()
            rows = [f"{row.task.folder.name}, {row.done} epochs" for row in underway]
            console.print(f"under way: {'; '.join(rows)}", markup=False)

    with open_workers(on, cores=cores, watch=watch) as workers:
        console.print(f"{len(workers.opened.workers)} at once, {workers.cores} cores each")
        yield workers


def chosen_recipe(
    name: str, *, epochs: int | None, seed: int | None, weights: str | None
) -> tuple[Any, str]:
    """Return the recipe with what was set instead, and the file of weights where one was given.

    Without weights nothing is worth keeping frozen: then all layers learn from the first epoch.
    """
    from dataclasses import replace

    from tumorlens.study.recipes import IMAGENET, NO_WEIGHTS, find_recipe

    file = "" if weights in (None, IMAGENET, NO_WEIGHTS) else str(weights)
    # The record of a run keeps the name of a file of weights and its hash, not its folder.
    named = Path(file).name if file else weights
    changes = {"epochs": epochs, "seed": seed, "weights": named}
    set_instead = {key: value for key, value in changes.items() if value is not None}
    recipe = replace(find_recipe(name), **set_instead)
    if weights == NO_WEIGHTS and recipe.epochs:
        recipe = replace(recipe, head_epochs=0, tuned_blocks=-1)
    return recipe, file


def read_labeled(folders: list[Path], *, unlabeled: bool = False) -> list[Any]:
    """Return the cases of folders, after a line on what in them is no case."""
    from tumorlens.study.data.index import describe_left_out, read_set

    found = read_set(folders, unlabeled=unlabeled)
    print_passed_over(found.passed_over)
    if left := describe_left_out(found.left_out):
        console.print(f"of volumes {left}", markup=False)
    if found.outside:
        text = f"named outside of the table's folder: {len(found.outside)}, first"
        console.print(f"{text} {found.outside[0]}", markup=False)
    return list(found.cases)


def print_passed_over(counts: Mapping[str, int]) -> None:
    """Print what was given and is no scan, if anything."""
    from tumorlens.losses import describe_passed_over

    if counts:
        console.print(f"passed over: {describe_passed_over(counts)}", markup=False)


def print_losses(errors: Iterable[str], labels: Iterable[str] = (), *, where: str = "") -> None:
    """Print how many of n scans could not be used, by class and reason; `where` lists them."""
    from tumorlens.losses import describe_losses

    text = describe_losses(list(errors), list(labels))
    if text:
        console.print(f"{text}{f'; see {where}' if where else ''}", markup=False)


def recipe_file(name: str) -> Path | None:
    """Return the file of a recipe that is given as one."""
    return Path(name) if name.lower().endswith(".json") else None


def found_groups(
    cases: list[Any], audit: Path | None = None, *, cache: Path | None = None, spec: Any = None
) -> Any:
    """Read the groups of an audit, or look for copies, preparing scans by `spec` on the way."""
    from tumorlens.study.audit.duplicates.copies import group_cases
    from tumorlens.study.audit.result import read_groups

    if audit:
        return read_groups(audit, cases)
    with counting("looking for copies") as report:
        groups = group_cases(cases, cache=cache, spec=spec, progress=report)
    for note in groups.notes:
        console.print(note, markup=False)
    return groups


def parted_cases(
    folders: list[Path],
    split_file: Path | None,
    out: Path,
    *,
    outputs: Outputs,
    allow_leaks: bool,
    init: Path | None = None,
    unlabeled: bool = False,
    recipe: Any = None,
    cache: Path | None = None,
) -> tuple[list[Any], Any]:
    """Return the cases of folders with their parts, and the split of a run in the folder `out`.

    With the `recipe` of a run and its `cache`, what it needs is checked first. Refuses a run
    `init` to start from that learned from what is held out here.
    """
    from tumorlens.study.data import splits

    cases = read_labeled(folders, unlabeled=unlabeled)
    outputs.claim_folder(out)
    if recipe and not unlabeled:
        check_before_grouping(cases, recipe, out, cache)
    made = _split_for(cases, split_file, out, unlabeled=unlabeled)
    parted = splits.apply_split(cases, made, allow_leaks=allow_leaks)
    print_left_out(cases, made)
    if init and not allow_leaks:
        check_init(init, made.groups, made.parts)
    return parted, made


def check_before_grouping(cases: list[Any], recipe: Any, out: Path, cache: Path | None) -> None:
    """Check what a run needs before copies are looked for, which takes long."""
    from tumorlens.settings import load_settings
    from tumorlens.study.training.preconditions import check_preconditions

    folder = cache or load_settings().cache_folder
    check_preconditions(cases, recipe, out=out, cache=folder)


def load_keras() -> None:
    """Load what trains, which takes many seconds, without what it prints."""
    from tumorlens.study.training.backend import load_backend

    load_backend()


def check_init(run: Path, groups: Mapping[str, str], parts: Mapping[str, str]) -> None:
    """Refuse a run to start from that learned from what is held out here."""
    from tumorlens.study.training.backend import load_backend

    load_backend()
    from tumorlens.study.training.transfer.initialize import check_warm_start

    check_warm_start(run, groups, parts)


def _split_for(cases: list[Any], split_file: Path | None, out: Path, *, unlabeled: bool) -> Any:
    """Read the given split, or the run's own, or make one; the run keeps it as split.csv."""
    from tumorlens.errors import SplitError
    from tumorlens.study.data import splits
    from tumorlens.study.training.run_folder import SPLIT_FILE, STATE_FILE

    kept = out / SPLIT_FILE
    if split_file is not None:
        made = splits.read_split(split_file)
        if not (out / STATE_FILE).exists():  # else it is that of the run
            splits.copy_split(split_file, kept)
        return made
    if not kept.exists():
        divide = splits.split_with_unlabeled if unlabeled else splits.split_cases
        groups = found_groups(cases)
        parts = splits.split_usable(cases, groups, divide=divide)
        return splits.write_split(kept, cases, parts, groups=groups)
    made = splits.read_split(kept)
    new = [case for case in cases if case.key not in made.parts and case.key not in made.left_out]
    if new and not unlabeled:
        fact = f"does not name {len(new)} of the scans given, first {new[0].path}"
        raise SplitError(kept, fact, "Train into another folder, or name a split.")
    return made


def print_left_out(cases: list[Any], split: Any) -> None:
    """Print which of the cases are in no part of a split: unreadable, or not named by it."""
    print_losses([split.left_out.get(c.key, "") for c in cases], [c.label for c in cases])
    lost = [c for c in cases if c.key not in split.parts and c.key not in split.left_out]
    if lost:
        console.print(
            f"{len(lost)} of {len(cases)} scans are not named by the split, first {lost[0].path}",
            markup=False,
        )


def print_losses_in(table: Path) -> None:
    """Print what a table of scans, with the columns label and error, says was lost."""
    from tumorlens.files import read_table

    rows = read_table(table)
    print_losses([r["error"] for r in rows], [r["label"] for r in rows], where=table.name)


def print_recipe(recipe: Any) -> None:
    """Print what is going to be trained."""
    head = f"{recipe.head_epochs} epochs of the head, then " if recipe.head_epochs else ""
    console.print(f"{recipe.name}: {recipe.summary}; {head}at most {recipe.epochs} epochs")
