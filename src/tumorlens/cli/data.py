"""`tumorlens data`: public sets, labelled folders, phantoms."""

from pathlib import Path
from typing import Annotated

import typer

from tumorlens.cli.progress import console, counting

data_app = typer.Typer(no_args_is_help=True, help="Public sets, labeled folders, phantoms.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(data_app, name="data")


@data_app.command("list")
def list_datasets() -> None:
    """List the public data sets that are known, with license and cautions.

    Example: `tumorlens data list`
    """
    from tumorlens.study.datasets.registry import DATASETS

    for row in DATASETS.values():
        console.print(f"[bold]{row.name}[/bold]  {row.title}")
        for name in ("url", "license", "citation", "layout", "published_split", "caution"):
            console.print(f"    {name.replace('_', ' ')}: {getattr(row, name)}")


@data_app.command("index")
def index(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A labeled folder.")],
    out: Annotated[Path | None, typer.Option(help="The table; default DIR/cases.csv.")] = None,
) -> None:
    """Write cases.csv for class folders, split/class folders, or another cases.csv.

    Example: `tumorlens data index scans/ --out scans/cases.csv`
    """
    from collections import Counter

    from tumorlens.errors import CasesError
    from tumorlens.study.datasets.index import read_cases, write_cases

    cases = read_cases(folder)
    target = out or folder / "cases.csv"
    try:
        write_cases(cases, target)
    except OSError as error:
        fix = "Name a place you may write to with --out."
        raise CasesError(target, f"cannot be written ({error.strerror})", fix) from error
    for (split, label), count in sorted(Counter((c.split or "-", c.label) for c in cases).items()):
        console.print(f"{split:6} {label:15} {count:6}")
    typer.echo(target)


@data_app.command("phantoms")
def phantoms(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    per_class: Annotated[int, typer.Option(min=1, help="Phantoms of each of six classes.")] = 40,
    seed: Annotated[int, typer.Option(help="Other seeds share no picture.")] = 0,
) -> None:
    """Draw synthetic head slices with masks, as a labeled folder.

    Example: `tumorlens data phantoms phantoms/ --per-class 40 --seed 7`
    """
    from tumorlens.study.phantom import write_phantoms

    with counting("drawing phantoms") as report:
        write_phantoms(out, per_class=per_class, seed=seed, progress=report)
    typer.echo(out)
