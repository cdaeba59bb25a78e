"""The commands about a bundle: which one it is, and whether it is the one that was meant."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tumorlens.cli.progress import console

BROKEN_STATUS = 1  # the bundle is another than the list says
Name = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="A bundle or run folder; default: shipped.")
]
bundle_app = typer.Typer(
    no_args_is_help=True, help="Which bundle answers, and whether it is whole."
)


@bundle_app.command("show")
def show(bundle: Name = "") -> None:
    """Print hash and name of a bundle, as a line of a list for `bundle verify`.

    The hash is over all its files: `sha256sum bundle.json card.md model.onnx | sha256sum` in its
    folder. Example: `tumorlens bundle show runs/first >> bundles.sha256`
    """
    from tumorlens.models.bundle import load_bundle
    from tumorlens.settings import load_settings

    found = load_bundle(bundle or load_settings().bundle)
    console.print(f"{escape(found.version)} in {escape(str(found.folder))}")
    console.print(f"graph {found.graph_sha256}, threshold {found.threshold:.3f}")
    typer.echo(f"{found.sha256}  {found.name}")


@bundle_app.command("verify")
def verify(
    bundle: Name = "",
    list_: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="Lines of hash and name.")
    ] = None,
    expect: Annotated[
        str | None, typer.Option(metavar="HASH", help="The hash it must have.")
    ] = None,
) -> None:
    """Check a bundle: fields, answer to the self-test, and its hash against an outside list.

    Exit status 1 if it is not the one that the list or `--expect` names. Whoever can write the
    folder can make files that fit together: only a list from elsewhere shows that they are others.
    Example: `tumorlens bundle verify --list bundles.sha256`
    """
    from tumorlens.models.bundle import find_in_list
    from tumorlens.predictions.predictor import check_self_test, load_predictor
    from tumorlens.settings import load_settings

    predictor = load_predictor(bundle, load_settings())
    found = predictor.bundle
    console.print(f"[green]ok[/green]     {escape(check_self_test(predictor))}")
    problems = []
    if list_ and (problem := find_in_list(found, list_)):
        problems.append(problem)
    if expect and expect.strip().lower() != found.sha256:
        problems.append(f"{found.version} has another hash than expected")
    for problem in problems:
        console.print(f"[red]broken[/red] {escape(problem)}")
    if list_ or expect:
        console.print("" if problems else "[green]ok[/green]     it is the one that was named")
    else:
        console.print("[yellow]note[/yellow]   compared with no list from elsewhere: give --list")
    typer.echo(f"{found.sha256}  {found.name}")
    raise typer.Exit(BROKEN_STATUS if problems else 0)
