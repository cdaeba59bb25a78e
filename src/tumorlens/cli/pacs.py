"""`tumorlens dicom send` and `pull`: objects go to a PACS, studies come from one."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorlens.cli.options import FAILED_STATUS
from tumorlens.cli.progress import console, counting
from tumorlens.errors import CasesError, SettingsError

if TYPE_CHECKING:
    from tumorlens.services.node.pull import Pulled
    from tumorlens.services.node.send import Destination

_UID = re.compile(r"[0-9.]{1,64}")
Calling = Annotated[str, typer.Option(help="The title to call with.")]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds to wait for an answer.")]
UseTls = Annotated[bool, typer.Option("--tls", help="Talk TLS to AE@HOST:PORT.")]
Authority = Annotated[
    Path | None, typer.Option("--tls-ca", help="Authority of the PACS (PEM); else the system's.")
]
Certificate = Annotated[Path | None, typer.Option("--tls-cert", help="Our certificate (PEM).")]
CertificateKey = Annotated[Path | None, typer.Option("--tls-key", help="Its key (PEM).")]


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

    destination = _destination(to, tls, (tls_ca, tls_cert, tls_key))
    files = [file for path in paths for file in _dicom_files(path)]
    if not files:
        named = ", ".join(map(str, paths))
        raise CasesError(named, "holds no DICOM files", "Name what --dicom-out wrote.")
    with counting("sending") as report:
        sent = send_objects(
            files, destination, calling_title=calling, timeout_s=timeout, progress=report
        )
    stored = sum(item.is_stored for item in sent)
    console.print(f"{counted(stored, 'object')} stored by {destination}", markup=False)
    lost = [
        f"{file}: {item.reason}"
        for file, item in zip(files, sent, strict=True)
        if not item.is_stored
    ]
    _end_with_losses("not stored", lost)


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
    pacs = _destination(source, tls, (tls_ca, tls_cert, tls_key))
    with counting("receiving") as report:
        options = {"series": series or (), "calling_title": calling, "timeout_s": timeout}
        if out is None:
            found = move_study(study, pacs, move_to, progress=report, **options)
        else:
            found = pull_study(study, pacs, out, progress=report, **options)
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
    text: str, use_tls: bool, files: tuple[Path | None, Path | None, Path | None]
) -> "Destination":
    """Read where to go; files of TLS ask for it."""
    from dataclasses import replace

    from tumorlens.services.node.send import parse_destination
    from tumorlens.services.node.tls import TlsFiles

    found = parse_destination(text)
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
