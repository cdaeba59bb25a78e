"""`tumorlens data`: public sets, labeled folders, phantoms."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorlens.cli.options import Overwrite, read_labeled
from tumorlens.cli.progress import console, counting
from tumorlens.outputs import Outputs

if TYPE_CHECKING:
    from tumorlens.records import Case
    from tumorlens.study.data.datasets.fetch import Fetched
    from tumorlens.study.data.registry import DatasetRow


class Form(StrEnum):
    """What phantoms are written as."""

    png = "png"
    dicom = "dicom"
    nifti = "nifti"


data_app = typer.Typer(no_args_is_help=True, help="Public sets, labeled folders, phantoms.")


@data_app.command("list")
def list_datasets() -> None:
    """List the public data sets that are known, with license and cautions.

    Example: `tumorlens data list`
    """
    from tumorlens.study.data.registry import DATASETS

    for row in DATASETS.values():
        console.print(f"[bold]{row.name}[/bold]  {row.title}")
        for name in ("url", "license", "citation", "layout", "published_split", "caution"):
            console.print(f"    {name.replace('_', ' ')}: {getattr(row, name)}")


@data_app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="See `tumorlens data list`.")],
    to: Annotated[Path | None, typer.Option(help="A new folder; default ./NAME.")] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", help="A folder with the archives, an archive, or their address."),
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="Refuse an archive with another one.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before downloading.")] = False,
) -> None:
    """Download a public data set, verify it, and write its cases.csv.

    Example: `tumorlens data fetch figshare --to sets/figshare`
    """
    from datetime import date

    from tumorlens.settings import load_settings
    from tumorlens.study.data.datasets.fetch import NOTE, fetch, find_row

    row = find_row(name)
    folder = to or Path(row.name)
    if not (folder / NOTE).is_file():
        _introduce(row)
        if not yes and _is_terminal():
            typer.confirm(f"Fetch it into {folder}?", default=True, abort=True, err=True)
    fetched = fetch(
        row,
        folder,
        cache=load_settings().cache_folder,
        mirror=source,
        sha256=sha256,
        steps=counting,
        today=date.today(),
    )
    _report(fetched)
    typer.echo(fetched.folder)


def _is_terminal() -> bool:
    return sys.stdin.isatty() and console.is_terminal


def _introduce(row: "DatasetRow") -> None:
    sizes = [archive.size for archive in row.archives]
    known = f"{sum(s or 0 for s in sizes) / 2**20:,.0f} MiB" if all(sizes) else "not known"
    console.print(f"[bold]{row.name}[/bold]  {row.title}")
    for what in ("url", "license", "citation", "caution"):
        console.print(f"    {what}: {getattr(row, what)}")
    console.print(f"    download: {known}, {len(sizes)} file{'s' if len(sizes) > 1 else ''}")


def _report(fetched: "Fetched") -> None:
    if not fetched.is_new:
        console.print("already here, nothing was downloaded")
    for label, count in fetched.arranged.cases.items():
        console.print(f"{label:15} {count:6}")
    for reason, count in fetched.arranged.left_out.items():
        console.print(f"left out: {count} {reason}")
    for label in fetched.arranged.missing:
        console.print(f"missing: no {label}, which this set is known to have")
    for archive, sha256 in fetched.first_seen.items():
        fact = f"no checksum is published; its sha256, kept in fetch.json, is {sha256}"
        console.print(f"{archive}: {fact}", markup=False)


@data_app.command("index")
def index(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A labeled folder.")],
    out: Annotated[Path | None, typer.Option(help="The table; default DIR/cases.csv.")] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Write over the table that is read, or any other."),
    ] = False,
    patients: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Patients found out elsewhere: path,patient[,patient_finding]. Scans whose label "
            "the finding contradicts (normal, tumor, or another disease) are left out.",
        ),
    ] = None,
) -> None:
    """Write cases.csv for class folders, split/class folders, or another cases.csv.

    Columns of a table that is read are kept, also those that tumorlens does not know.
    Example: `tumorlens data index scans/ --out scans.csv`
    """
    from collections import Counter

    from tumorlens.images.frames import file_of
    from tumorlens.study.data.case_table import COLUMNS, kept_columns, write_cases

    cases = read_labeled([folder])
    if patients is not None:
        cases = _with_patients(cases, patients)
    source = folder if folder.is_file() else folder / "cases.csv"
    is_table, target = source.is_file(), out or folder / "cases.csv"
    read = source if is_table and not overwrite else None
    Outputs(read, *{file_of(case.path) for case in cases}, overwrite=overwrite).claim_table(
        target, COLUMNS, COLUMNS
    )
    write_cases(cases, target, kept=kept_columns(source) if is_table else ((), {}))
    for (split, label), count in sorted(Counter((c.split or "-", c.label) for c in cases).items()):
        console.print(f"{split:6} {label:15} {count:6}")
    typer.echo(target)


def _with_patients(cases: list["Case"], table: Path) -> list["Case"]:
    from collections import Counter

    from tumorlens.study.data.index import add_patients

    known = add_patients(cases, table)
    console.print(f"{sum(case.patient is not None for case in known.cases)} scans have a patient")
    for label, count in sorted(Counter(case.label for case in known.contradicted).items()):
        console.print(f"left out: {count} {label}, whose patient has another finding")
    return known.cases


@data_app.command("phantoms")
def phantoms(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    per_class: Annotated[int, typer.Option(min=1, help="Phantoms of each of six classes.")] = 40,
    seed: Annotated[int, typer.Option(help="Other seeds share no image.")] = 0,
    form: Annotated[
        Form, typer.Option("--as", help="Single slices, or whole heads as series or volumes.")
    ] = Form.png,
    overwrite: Overwrite = False,
) -> None:
    """Draw synthetic heads with masks, in folders of their classes.

    Example: `tumorlens data phantoms phantoms/ --per-class 40 --seed 7`
    """
    from tumorlens.study.phantom import write_phantoms
    from tumorlens.study.phantom.drawing import HEADER

    outputs = Outputs(overwrite=overwrite)
    outputs.claim_folder(out)
    if form != Form.png:
        from tumorlens.study.phantom.volumes import write_volumes

        with counting("drawing heads") as report:
            write_volumes(out, form=form.value, per_class=per_class, seed=seed, progress=report)
        typer.echo(out)
        return
    outputs.claim_table(out / "cases.csv", HEADER, HEADER)
    with counting("drawing phantoms") as report:
        write_phantoms(out, per_class=per_class, seed=seed, progress=report)
    typer.echo(out)
