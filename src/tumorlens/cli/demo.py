"""`tumorlens demo`: the whole path once, on phantoms or on a labeled folder."""

from pathlib import Path
from typing import Annotated

import typer

from tumorlens.cli.progress import TrainingBars, console, counting
from tumorlens.settings import load_settings


def demo(
    data: Annotated[
        Path | None, typer.Argument(metavar="DATA", help="A labeled folder; default: phantoms.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for everything made.")] = Path("demo"),
    per_class: Annotated[int, typer.Option(min=20, help="Phantoms of each class.")] = 200,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
) -> None:
    """Everything end to end: split, audit, train a small network, evaluate, explore, predict.

    Takes a few minutes on two cores. Example: `tumorlens demo` or `tumorlens demo scans/`
    """
    from tumorlens.study.training.backend import load_backend

    load_backend()
    from tumorlens.study.demonstration import demonstrate

    with TrainingBars(1) as bars, counting("working") as report:
        page = demonstrate(
            data,
            out=out,
            cache=load_settings().cache_folder,
            per_class=per_class,
            epochs=epochs,
            callback=bars,
            progress=report,
            on_stage=lambda text: console.print(f"[bold]{text}[/bold]"),
        )
    console.print(f"More to click on: tumorlens dashboard --study {out}")
    console.print("Open this page in a browser:")
    typer.echo(page.resolve().as_uri())
