"""The commands about a bundle: which one it is, whether it is the one meant, to and from others."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from tumorlens.cli.options import Overwrite
from tumorlens.cli.progress import console
from tumorlens.outputs import Outputs

BROKEN_STATUS = 1  # the bundle is another than the list says
Name = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="A bundle or run folder; default: shipped.")
]
ListFile = Annotated[
    Path | None, typer.Option("--list", metavar="FILE", help="Lines of hash and name.")
]
Signature = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Of the list, by `ssh-keygen -Y sign`.")
]
Signers = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Whose signature counts: allowed_signers of OpenSSH."),
]


class Layout(StrEnum):
    """How a bundle is published."""

    HUGGINGFACE = "huggingface"
    MLFLOW = "mlflow"


PLACES = "hf://OWNER/NAME, a folder, or file://FOLDER."
Published = Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle or run folder.")]
Target = Annotated[str, typer.Argument(metavar="TARGET", help=PLACES)]
Source = Annotated[str, typer.Argument(metavar="SOURCE", help=PLACES)]
As = Annotated[Layout, typer.Option("--as", help="The layout; mlflow: a model in a folder.")]
Card = Annotated[
    Path | None, typer.Option(help="README.md from this card, such as RESULTS/card.md.")
]
License = Annotated[
    str, typer.Option(metavar="ID", help="License of the bundle, such as apache-2.0.")
]
Public = Annotated[
    bool, typer.Option("--public", help="Make a new repository public; default: private.")
]
FetchOut = Annotated[Path, typer.Option(help="Folder of the bundle, for --bundle.")]
Revision = Annotated[
    str, typer.Option(help="Commit, tag or branch of the hub; a commit pins the files.")
]
Sha256 = Annotated[str, typer.Option(metavar="HASH", help="The hash it must have.")]
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
    list_: ListFile = None,
    expect: Annotated[
        str | None, typer.Option(metavar="HASH", help="The hash it must have.")
    ] = None,
    signature: Signature = None,
    signers: Signers = None,
) -> None:
    """Check a bundle: fields, answer to the self-test, and its hash against an outside list.

    Exit status 1 if it is not the one that the list or `--expect` names, or if none of the signers
    signed the list. Whoever can write the folder can make files that fit together: only a list
    from elsewhere shows that they are others. Example:
    `tumorlens bundle verify --list bundles.sha256`
    """
    from tumorlens.predictions.predictor import check_self_test, load_predictor
    from tumorlens.settings import load_settings

    predictor = load_predictor(bundle, load_settings())
    found = predictor.bundle
    console.print(f"[green]ok[/green]     {escape(check_self_test(predictor))}")
    problems = _problems(found, list_, signature, signers)
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


def _problems(
    bundle: Any, list_: Path | None, signature: Path | None, signers: Path | None
) -> list[str]:
    """Return what is wrong with a bundle by a list, and with the list by its signature."""
    from tumorlens.models.distribution import find_in_list, find_signer

    if signature and not (list_ and signers):
        raise typer.BadParameter("needs --list and --signers", param_hint="--signature")
    problems = []
    if list_ and (problem := find_in_list(bundle, list_)):
        problems.append(problem)
    if list_ and signature and signers:
        if name := find_signer(list_, signature, signers=signers):
            console.print(f"[green]ok[/green]     the list was signed by {escape(name)}")
        else:
            problems.append(f"none of {signers} signed {list_}")
    return problems


@bundle_app.command("publish")
def publish(
    bundle: Published,
    target: Target,
    as_: As = Layout.HUGGINGFACE,
    card: Card = None,
    license: License = "",
    public: Public = False,
    overwrite: Overwrite = False,
) -> None:
    """Publish a bundle in the layout of the Hugging Face hub, there or into a folder.

    Prints the command that fetches these very files again. Example:
    `tumorlens bundle publish runs/first published --card results/card.md --license cc-by-4.0`
    """
    from tumorlens.files import read_file
    from tumorlens.models import distribution
    from tumorlens.models.bundle import load_bundle
    from tumorlens.predictions.mlflow_model import save_model

    if as_ is Layout.MLFLOW and target.startswith(distribution.HUB):
        raise typer.BadParameter("an MLflow model goes into a folder", param_hint="TARGET")
    found = load_bundle(bundle)
    text = read_file(card).decode() if card else ""
    if not target.startswith(distribution.HUB):
        Outputs(found.folder, card, overwrite=overwrite).claim_folder(
            distribution.folder_of(target)
        )
    if as_ is Layout.MLFLOW:
        save_model(found, distribution.folder_of(target))
        typer.echo(distribution.folder_of(target))
        return
    commit = distribution.publish(found, target, card=text, license=license, private=not public)
    pin = f"--revision {commit} " if commit else ""
    console.print("whoever wants these very files:")
    typer.echo(f"tumorlens bundle fetch {target} {pin}--sha256 {found.sha256} --out {found.name}")


@bundle_app.command("fetch")
def fetch(
    source: Source,
    out: FetchOut,
    revision: Revision = "",
    sha256: Sha256 = "",
    list_: ListFile = None,
    signature: Signature = None,
    signers: Signers = None,
    overwrite: Overwrite = False,
) -> None:
    """Fetch a published bundle; nothing is written unless all of it is whole and as named.

    Example: `tumorlens bundle fetch published --out bundles/first`
    """
    from tumorlens.errors import BundleError
    from tumorlens.models import distribution
    from tumorlens.predictions.predictor import check_self_test, load_predictor

    def check(found: Any) -> None:
        for problem in _problems(found, list_, signature, signers):
            raise BundleError(source, problem, "Nothing was written.")

    local = None if source.startswith(distribution.HUB) else distribution.folder_of(source)
    Outputs(local, list_, signature, signers, overwrite=overwrite).claim_folder(out)
    found = distribution.fetch(source, out, revision=revision, sha256=sha256, check=check)
    predictor = load_predictor(out)
    console.print(f"[green]ok[/green]     {escape(check_self_test(predictor))}")
    if not (found.is_pinned or list_):
        pin = f"--revision {found.commit}" if found.commit else f"--sha256 {found.bundle.sha256}"
        console.print(f"[yellow]note[/yellow]   pin it: {pin}")
    console.print(f"{found.bundle.sha256}  {escape(found.bundle.name)}")
    typer.echo(out)
