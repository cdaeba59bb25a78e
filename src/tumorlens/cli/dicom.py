"""`tumorlens dicom`: which series a folder holds, files without names, and the way to a PACS."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorlens.cli.node import node
from tumorlens.cli.options import FAILED_STATUS, Overwrite
from tumorlens.cli.progress import console, counting
from tumorlens.errors import CasesError, SettingsError
from tumorlens.outputs import Outputs
from tumorlens.settings import load_settings

if TYPE_CHECKING:
    from rich.table import Table

    from tumorlens.images.deidentify import Outcome
    from tumorlens.images.listing import Listing
    from tumorlens.services.node.pull import Pulled
    from tumorlens.services.node.send import Destination

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
_UID = re.compile(r"[0-9.]{1,64}")
Calling = Annotated[str, typer.Option(help="The title to call with.")]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds to wait for an answer.")]
UseTls = Annotated[bool, typer.Option("--tls", help="Talk TLS to AE@HOST:PORT.")]
Authority = Annotated[
    Path | None, typer.Option("--tls-ca", help="Authority of the PACS (PEM); else the system's.")
]
Certificate = Annotated[Path | None, typer.Option("--tls-cert", help="Our certificate (PEM).")]
CertificateKey = Annotated[Path | None, typer.Option("--tls-key", help="Its key (PEM).")]


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


@dicom_app.command("send")
def send(
    paths: Annotated[
        list[Path], typer.Argument(metavar="OBJECTS", help="DICOM files, or folders of them.")
    ],
    to: Annotated[
        str, typer.Option(metavar="AE@HOST:PORT|URL", help="A PACS, or its DICOMweb service.")
    ],
    calling: Calling = "TUMORLENS",
    timeout: Timeout = 30.0,
    tls: UseTls = False,
    tls_ca: Authority = None,
    tls_cert: Certificate = None,
    tls_key: CertificateKey = None,
) -> None:
    """Send DICOM objects by C-STORE or STOW-RS; exit status 3 if some were not stored.

    Example: `tumorlens dicom send objects/ --to ORTHANC@127.0.0.1:4242`
    """
    from tumorlens.losses import counted
    from tumorlens.services.node.send import send_objects

    destination = _destination(to, calling, timeout, tls, (tls_ca, tls_cert, tls_key))
    files = [file for path in paths for file in _dicom_files(path)]
    if not files:
        named = ", ".join(map(str, paths))
        raise CasesError(named, "holds no DICOM files", "Name what --dicom-out wrote.")
    with counting("sending") as report:
        sent = send_objects(files, destination, progress=report)
    stored = sum(item.is_stored for item in sent)
    console.print(f"{counted(stored, 'object')} stored by {destination}", markup=False)
    lost = [
        f"{file}: {item.reason}"
        for file, item in zip(files, sent, strict=True)
        if not item.is_stored
    ]
    _end_with_losses("not stored", lost)


@dicom_app.command("pull")
def pull(
    study: Annotated[str, typer.Option(metavar="UID", help="Study Instance UID.")],
    source: Annotated[
        str,
        typer.Option("--from", metavar="AE@HOST:PORT|URL", help="A PACS, or its DICOMweb service."),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder for the slices.")] = None,
    move_to: Annotated[
        str, typer.Option(metavar="AE", help="Instead: a node that the PACS knows by this title.")
    ] = "",
    series: Annotated[
        list[str] | None, typer.Option(metavar="UID", help="Only this series; repeatable.")
    ] = None,
    calling: Calling = "TUMORLENS",
    timeout: Timeout = 30.0,
    tls: UseTls = False,
    tls_ca: Authority = None,
    tls_cert: Certificate = None,
    tls_key: CertificateKey = None,
) -> None:
    """Fetch the CT and MR slices of a study, by C-GET or WADO-RS, or have them sent to a node.

    What is in the folder already is not asked for again: run it again after an interruption. Exit
    status 3 if some slices were not received. Example:
    `tumorlens dicom pull --study 1.2.840.1 --from ORTHANC@127.0.0.1:4242 --out study/`
    """
    from tumorlens.services.node.pull import move_study, pull_study

    _check_uids(study, *(series or ()))
    if (out is None) == (not move_to):
        raise SettingsError("pull", "needs one place to go", "Name --out or --move-to.")
    pacs = _destination(source, calling, timeout, tls, (tls_ca, tls_cert, tls_key))
    with counting("receiving") as report:
        if out is None:
            found = move_study(study, pacs, move_to, series=series or (), progress=report)
        else:
            found = pull_study(study, pacs, out, series=series or (), progress=report)
    _print_counts(found)


def _check_uids(*uids: str) -> None:
    if wrong := [uid for uid in uids if not _UID.fullmatch(uid)]:
        raise SettingsError(wrong[0], "is no UID", "UIDs hold digits and points.")


def _print_counts(found: "Pulled") -> None:
    there = f", {found.there:,} were there" if found.there else ""
    others = f"; {found.others:,} objects of other kinds left" if found.others else ""
    counts = f"{found.asked:,} asked: {found.received:,} received, {len(found.refused):,} refused"
    console.print(f"{counts}{there}{others}", markup=False)
    _end_with_losses("not received", (f"{uid}: {why}" for uid, why in found.refused.items()))


def _destination(
    text: str,
    calling: str,
    timeout: float,
    use_tls: bool,
    files: tuple[Path | None, Path | None, Path | None],
) -> "Destination":
    """Read where to go and how; files of TLS ask for it."""
    from dataclasses import replace

    from tumorlens.services.node.send import parse_destination
    from tumorlens.services.node.tls import TlsFiles

    found = replace(parse_destination(text), calling_title=calling, timeout_s=timeout)
    if not use_tls and not any(files):
        return found
    tls = TlsFiles(*files)
    tls.context()  # files that do not fit are an error before the work
    return replace(found, tls=tls)


def _end_with_losses(what: str, lines: Iterable[str]) -> None:
    """Print what was lost, and end with its status; do nothing without losses."""
    from tumorlens.losses import MAX_REASONS, counted

    lost = list(lines)
    for line in lost[:MAX_REASONS]:
        console.print(f"{what}: {line}", markup=False)
    if lost:
        console.print(f"{counted(len(lost), 'object')} {what}; run it again later")
        raise typer.Exit(FAILED_STATUS)


def _dicom_files(path: Path) -> list[Path]:
    """Return a file, or the files of a folder that begin as DICOM files do."""
    if not path.is_dir():
        return [path]
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    return [file for file in files if _starts_as_dicom(file)]


def _starts_as_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
