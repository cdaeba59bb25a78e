"""`tumorlens dicom`: which series a folder holds."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorlens.cli.progress import console, counting
from tumorlens.settings import load_settings

if TYPE_CHECKING:
    from rich.table import Table

    from tumorlens.images.listing import Listing

dicom_app = typer.Typer(no_args_is_help=True, help="Series of DICOM and NIfTI files.")


@dicom_app.command("list")
def list_folder(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders, or files.")],
    out: Annotated[Path | None, typer.Option(help="Write the list as CSV, too.")] = None,
) -> None:
    """List every series: plane, slices, spacing, and whether it is used or why not.

    Only headers are read. Example: `tumorlens dicom list study/ --out series.csv`
    """
    from tumorlens.errors import CasesError
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


def _table(found: "Listing", above: Path) -> "Table":
    """Lay the list out, with paths as they stand below the folder that was named."""
    from rich.markup import escape
    from rich.table import Table

    from tumorlens.images.series import series_row

    def below(path: object) -> str:
        return os.path.relpath(str(path), above) if above.is_dir() else str(path)

    table = Table("series", "sequence", "slices", "used", "why not, notes", box=None)
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
