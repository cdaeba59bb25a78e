"""`tumorlens audit`: what is wrong with a data set before anything is trained on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorlens.cli.options import Folders, Out, Overwrite, print_losses, read_labeled
from tumorlens.cli.progress import console, counting
from tumorlens.outputs import Outputs
from tumorlens.settings import load_settings
from tumorlens.worker_process import use_one_thread

if TYPE_CHECKING:
    from tumorlens.study.audit.result import AuditResult

JUDGED = (
    "The split to judge: a split file, or a CSV with path and split. "
    "Default: the one the folders publish."
)
SplitFile = Annotated[Path | None, typer.Option("--split", help=JUDGED)]
Allow = Annotated[bool, typer.Option("--allow", help="Exit with 0 even if the split leaks.")]
BundleName = Annotated[str, typer.Option(help="Prepares the scans; default: shipped.")]
Cache = Annotated[str | None, typer.Option(help="Folder of fingerprints.")]


def audit(
    folders: Folders,
    out: Out,
    split_file: SplitFile = None,
    allow: Allow = False,
    bundle: BundleName = "",
    cache: Cache = None,
    overwrite: Overwrite = False,
) -> None:
    """Find copies, patients across parts, label conflicts, shortcuts and burned-in text.

    Finds copies that were flipped, turned, brightened, cropped, resized or compressed, within and
    between folders. Exits with 1 if the split leaks. Example: `tumorlens audit scans/ --out audit`
    """
    use_one_thread()
    from datetime import UTC, datetime

    from tumorlens.models.bundle import load_bundle
    from tumorlens.study.audit.page import PAGE, verdict, write_audit
    from tumorlens.study.audit.run import audit_cases
    from tumorlens.study.data import splits

    cases = read_labeled(folders, unlabeled=True)
    settings = load_settings(cache=cache)
    parts = splits.parts_in(split_file, cases) if split_file else None
    Outputs(*folders, split_file, bundle, overwrite=overwrite).claim_folder(out)
    found = audit_cases(
        cases, load_bundle(bundle or settings.bundle), cache=settings.cache_folder, parts=parts,
        split=str(split_file or ""), steps=counting,
    )  # fmt: skip
    with counting("drawing the page"):
        result = write_audit(found, out, folders=[str(f) for f in folders], now=datetime.now(UTC))
    _print(result)
    print_losses(found.survey.errors, [c.label for c in cases], where="files.csv")
    console.print(verdict(result), markup=False)
    typer.echo(out / PAGE)
    if found.leaking and not allow:
        raise typer.Exit(1)


def _print(result: "AuditResult") -> None:
    console.print(
        f"{result.n} files, {result.images} distinct images, "
        f"{result.groups} independent groups; {result.quality.unreadable} unreadable"
    )
    for name, row in result.datasets.items():
        console.print(
            f"  {name:15} {row.n:6} files {row.images:6} images {row.groups:6} groups",
            markup=False,
        )
    for note in result.notes:
        console.print(note, markup=False)
    images = result.conflicts.images
    console.print(
        f"images under contradictory labels {images['contradictory']}, "
        f"refining {images['refining']}; "
        f"files with burned-in text {result.privacy.with_text}"
    )
    if result.n_label_doubts:
        console.print(
            f"labels that the other scans do not support {result.n_label_doubts}, "
            "a list to look at: label_check.csv"
        )
    traced = result.split.leaks.test_tumors if result.split.leaks else {}
    if traced.get("traceable"):
        console.print(
            f"test tumors with a known patient {traced['traceable']}, "
            f"of them with that patient in train {traced['in_train']}"
        )
