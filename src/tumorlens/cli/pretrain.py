"""The command that lets a network learn from scans without labels."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tumorlens.cli.progress import TrainingBars, console, counting
from tumorlens.cli.runs import AllowLeaks, Cache, Epochs, Folders, Seed, SplitFile
from tumorlens.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("pretrain")(pretrain)


def pretrain(
    folders: Folders,
    out: Annotated[Path, typer.Option(help="The run folder, for `train --init RUN`.")],
    recipe: Annotated[
        str, typer.Option(metavar="NAME", help="See `tumorlens recipes list`.")
    ] = "vicreg",
    split_file: SplitFile = None,
    epochs: Epochs = None,
    seed: Seed = None,
    cache: Cache = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where RUN left off.")] = False,
    allow_leaks: AllowLeaks = False,
) -> None:
    """Pretrain the network on scans without looking at their labels; `train --init` goes on.

    Only the train part of the split is seen. Without --split one is made first, as `train` makes
    it, and what stands in folders named unlabeled is learned from too. Example:
    `tumorlens pretrain scans/ --split split.csv --out runs/pretrained`
    """
    from tumorlens.study.data import splits
    from tumorlens.study.data.index import read_cases
    from tumorlens.study.recipes import find_pretraining

    chosen = find_pretraining(recipe)
    changes = {"epochs": epochs, "seed": seed}
    set_instead = {key: value for key, value in changes.items() if value is not None}
    chosen = replace(chosen, recipe=replace(chosen.recipe, **set_instead))
    cases = read_cases(folders, unlabeled=True)
    made = _split_for(cases, split_file, out)
    parted = splits.apply_split(cases, made, allow_leaks=allow_leaks)
    console.print(f"{recipe}: {chosen.recipe.summary} ({chosen.source})")
    from tumorlens.study.training.backend import load_backend

    load_backend()
    from tumorlens.study.training.transfer.pretraining import PretrainJob
    from tumorlens.study.training.transfer.pretraining import pretrain as run_pretraining

    job = PretrainJob(chosen, made, out, load_settings(cache=cache).cache_folder)
    with counting("preparing scans") as report, TrainingBars(chosen.recipe.epochs) as bars:
        run_pretraining(parted, job, callback=bars, progress=report, resume=resume)
    typer.echo(out)


def _split_for(cases: list[Any], split_file: Path | None, out: Path) -> Any:
    from tumorlens.study.audit.duplicates.groups import group_cases
    from tumorlens.study.data import splits

    kept = out / "split.csv"
    if split_file is not None and not kept.exists():
        splits.copy_split(split_file, kept)
    if not kept.exists():
        with counting("looking for copies") as report:
            groups = group_cases(cases, progress=report)
        parts = splits.split_with_unlabeled(cases, groups)
        return splits.write_split(kept, cases, parts, groups=groups)
    return splits.read_split(split_file or kept)
