"""`tumorlens dicom`: which series a folder holds, and files without names."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorlens.cli.node import node
from tumorlens.cli.options import FAILED_STATUS, Overwrite
from tumorlens.cli.pacs import pull, send
from tumorlens.cli.progress import console, counting
from tumorlens.errors import CasesError
from tumorlens.outputs import Outputs
from tumorlens.settings import load_settings

if TYPE_CHECKING:
    from rich.table import Table

    from tumorlens.images.deidentify import Outcome
    from tumorlens.images.listing import Listing

dicom_app = typer.Typer(no_args_is_help=True, help="Series of DICOM and NIfTI files.")


Key = Annotated[
    Path,
    typer.Option(help="Secret that ids and dates are made from; made on first use. Keep it."),
]
Report = Annotated[
    Path | None, typer.Option(help="CSV: what became of each file; default OUT-report.csv.")
]
BlankOutsideHead = Annotated[
    bool, typer.Option("--blank-outside-head", help="Make all pixels around the head air.")
]
WithSecondary = Annotated[
    bool,
    typer.Option("--with-secondary", help="Also images made from others; text may be in them."),
]


@dicom_app.command("list")
def list_folder(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders, or files.")],
    out: Annotated[Path | None, typer.Option(help="Write the list as CSV, too.")] = None,
) -> None:
    """List every series: plane, slices, spacing, and whether it is used or why not.

    Only headers are read. Example: `tumorlens dicom list study/ --out series.csv`
    """
    from tumorlens.images.listing import list_series, write_series
    from tumorlens.images.readers import find_scans

    files = find_scans(paths)
    with counting("reading headers") as report:
        found = list_series(files, limits=load_settings().read_limits, progress=report)
    if not found.series and not found.unreadable:
        named = ", ".join(map(str, paths))
        raise CasesError(named, "holds no series", "Name a folder with DICOM or NIfTI files.")
    console.print(_table(found, paths[0]))
    used = sum(series.is_used for series in found.series)
    console.print(f"{len(found.series)} series, {used} used; {len(found.images)} other files")
    if out:
        write_series(found, out)
        typer.echo(out)


@dicom_app.command("deidentify")
def deidentify_folder(
    given: Annotated[Path, typer.Argument(metavar="IN", help="A folder, or one file.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    key: Key,
    report: Report = None,
    blank_outside_head: BlankOutsideHead = False,
    with_secondary: WithSecondary = False,
    overwrite: Overwrite = False,
) -> None:
    """Write CT and MR images without what names the patient; all else is left out and listed.

    The same key gives the same ids and dates again. The report names the files that were given:
    keep it with the key, apart from OUT.
    Example: `tumorlens dicom deidentify study/ clean/ --key study.key`
    """
    from tumorlens.images import deidentify
    from tumorlens.inputs.prepare import find_head

    report = report or out.with_name(f"{out.name}-report.csv")
    changes = report.with_name(f"{report.stem}-attributes.csv")
    files = deidentify.every_file([given])
    if not files:
        raise CasesError(given, "holds no files", "Name a folder with DICOM files.")
    deidentify.check_paths(given, out, private=(key, report, changes))
    outputs = Outputs(given, key, overwrite=overwrite)
    outputs.claim_table(report, deidentify.COLUMNS, deidentify.COLUMNS)
    outputs.claim_table(changes, deidentify.CHANGE_COLUMNS, deidentify.CHANGE_COLUMNS)
    secret = deidentify.read_key(key)
    outputs.claim_folder(out)
    with counting("taking names out") as progress:
        found = deidentify.deidentify(
            files, out, key=secret, find_head=find_head if blank_outside_head else None,
            with_secondary=with_secondary, limits=load_settings().read_limits, progress=progress,
        )  # fmt: skip
    deidentify.write_report(found, report, changes)
    _print_outcomes(found.outcomes)
    for path in (out, report, changes):
        typer.echo(path)
    if any(item.is_damaged for item in found.outcomes):
        raise typer.Exit(FAILED_STATUS)


def _print_outcomes(outcomes: "Sequence[Outcome]") -> None:
    from tumorlens.losses import counted, listed, reason_of

    left = [reason_of(item.reason) for item in outcomes if item.out is None]
    console.print(f"{counted(len(outcomes), 'file')}: {len(outcomes) - len(left):,} written")
    if left:
        console.print(f"{len(left):,} left out: {listed(Counter(left))}")


dicom_app.command("node")(node)
dicom_app.command("send")(send)
dicom_app.command("pull")(pull)


def _table(found: "Listing", above: Path) -> "Table":
    """Lay the list out, with paths as they stand below the folder that was named."""
    from rich.markup import escape
    from rich.table import Table

    from tumorlens.images.series import series_row

    def below(path: object) -> str:
        return os.path.relpath(str(path), above) if above.is_dir() else str(path)

    table = Table(box=None)
    for name in ("series", "sequence", "slices", "used", "why not, notes"):
        table.add_column(name, overflow="fold")  # whole names: they tell series apart
    for series in found.series:
        row = series_row(series)
        distance = f" of {row['spacing_mm']} mm" if row["spacing_mm"] != "" else ""
        slices = f"{row['slices']} {row['modality']} {row['plane']}{distance}"
        remarks = "; ".join(filter(None, (series.reason, *series.notes)))
        cells = (below(row["path"]), row["sequence"], slices, row["used"], remarks)
        table.add_row(*(escape(str(cell)) for cell in cells))
    for item in found.unreadable:
        table.add_row(escape(below(item.path)), "", "", "no", escape(item.reason))
    return table
