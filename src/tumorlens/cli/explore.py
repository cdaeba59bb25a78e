"""The commands that look at a data set before anything is trained on it: features."""

from pathlib import Path
from typing import Annotated

import typer

from tumorlens.cli.progress import console, counting
from tumorlens.settings import load_settings

FAILED_STATUS = 3  # some file could not be read; every other one was measured


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("features")(features)


def features(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR",
            help="Class folders, split/class folders, or folders with cases.csv.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The table to write.")] = Path("features.csv"),
    head_only: Annotated[
        bool, typer.Option("--head-only", help="Leave the background around the head out.")
    ] = False,
    side: Annotated[
        int | None, typer.Option(min=32, max=1024, help="Pixels of the prepared square.")
    ] = None,
    cache: Annotated[str | None, typer.Option(help="Folder of prepared images.")] = None,
) -> None:
    """Measure 13 first-order and texture features of every scan, as networks are given it.

    Every file gets a row, also one that cannot be read; exit status 3 if there was one.
    Example: `tumorlens features scans/ --out features.csv --head-only`
    """
    from dataclasses import replace

    from tumorlens.inputs.prepare import InputSpec
    from tumorlens.study.datasets.index import read_cases
    from tumorlens.study.features.table import measure_files, write_features

    cases = read_cases(folders)
    spec = InputSpec() if side is None else replace(InputSpec(), side=side)
    with counting("measuring") as report:
        table = measure_files(
            cases, spec, cache=load_settings(cache=cache).cache_folder,
            head_only=head_only, progress=report,
        )  # fmt: skip
    write_features(table, out)
    typer.echo(out)
    _tell(int(table.usable.sum()), len(cases), f"at {spec.side} px", head_only)


def _tell(measured: int, total: int, size: str, head_only: bool) -> None:
    where = "inside the head" if head_only else "of the whole square"
    console.print(f"{measured} scans measured {size}, {where}")
    if measured < total:
        console.print(f"{total - measured} could not be read: see the column error.")
        raise typer.Exit(FAILED_STATUS)
