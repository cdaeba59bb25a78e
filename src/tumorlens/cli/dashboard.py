"""`tumorlens dashboard`: pages for radiologists, in a browser."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from tumorlens.cli.options import Bundle, Host, Port, RetentionDays, check_address
from tumorlens.cli.progress import console, print_notice
from tumorlens.errors import MissingExtraError, SettingsError, StudyError
from tumorlens.settings import ENVIRONMENT_PREFIX

DEFAULT_STUDY = Path("demo")  # what `tumorlens demo` leaves behind


Studies = Annotated[
    list[Path] | None,
    typer.Option(help="Folder with what the bench wrote; can be given again. Default: demo."),
]
Data = Annotated[
    list[Path] | None,
    typer.Option(help="Labeled folder on which pages may start the bench; can be given again."),
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="History and reviews: a file, or postgresql://USER:PASSWORD@HOST/NAME; default: "
        "TUMORLENS_STORE, else a file in the user's data folder.",
    ),
]
KeepNames = Annotated[
    bool | None,
    typer.Option(
        "--keep-names/--no-keep-names",
        help="Keep names of files in the history; default: yes, where only this machine is "
        "served. They may name patients.",
    ),
]
Spool = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Spool of a DICOM node, whose series may be taken into worklists by all who reach "
        "this address.",
    ),
]
Opens = Annotated[bool, typer.Option("--open/--no-open", help="Open a browser, from a terminal.")]


def dashboard(
    study: Studies = None,
    data: Data = None,
    bundle: Bundle = "",
    store: StoreUrl = None,
    keep_names: KeepNames = None,
    retention_days: RetentionDays = None,
    spool: Spool = None,
    host: Host = "localhost",
    port: Port = 8501,
    open_browser: Opens = True,
) -> None:
    """Drop scans in and read them; look at explorations, audits and evaluations.

    Listens on this machine alone unless --host names another address: there is no login.
    Example: `tumorlens dashboard` or `tumorlens dashboard --study demo --data scans/`
    """
    if find_spec("streamlit") is None:
        fix = 'Install it: pip install "tumorlens[dashboard]".'
        raise MissingExtraError("streamlit", "is not installed", fix)
    from tumorlens.services.dashboard import LOOPBACK, streamlit_command

    if host not in LOOPBACK:
        _refuse_bench(host, data)
    if keep_names is None and "TUMORLENS_KEEP_NAMES" not in os.environ:
        keep_names = host in LOOPBACK
    _set(
        studies=_joined(study or _default_study(), "study"),
        bench_data=_joined(data, "data"),
        # A shipped bundle goes by its name, which is no path.
        bundle=str(Path(bundle).resolve()) if Path(bundle).exists() and bundle else bundle,
        store=store or "",
        spool=str(spool.resolve()) if spool else "",
        keep_names="" if keep_names is None else "yes" if keep_names else "no",
        retention_days="" if retention_days is None else str(retention_days),
    )
    check_address(host, port)
    _print_notices(is_reached=host not in LOOPBACK)
    opens = open_browser and host in LOOPBACK and sys.stdout.isatty()
    _become(streamlit_command(host, port, opens=opens))


def _default_study() -> list[Path]:
    return [DEFAULT_STUDY] if DEFAULT_STUDY.is_dir() else []


def _print_notices(*, is_reached: bool) -> None:
    if is_reached:
        console.print("There is no login: whoever reaches this address can use the dashboard.")
    print_notice()


def _refuse_bench(host: str, data: list[Path] | None) -> None:
    """Raise SettingsError where others than this machine could start the bench."""
    if data or os.environ.get("TUMORLENS_BENCH_DATA"):
        fix = "Listen on localhost, or leave out --data and TUMORLENS_BENCH_DATA."
        raise SettingsError(host, "is reached by others, who could start the bench", fix)


def _joined(folders: list[Path] | None, option: str) -> str:
    """Write folders as a setting holds them; raises StudyError for one that is not there."""
    for folder in folders or ():
        if not folder.is_dir():
            raise StudyError(folder, "is not a folder", f"Name a folder with --{option}.")
    return os.pathsep.join(str(folder.resolve()) for folder in folders or ())


def _set(**given: str) -> None:
    """Hand settings to the server, which reads them from its environment."""
    os.environ |= {
        ENVIRONMENT_PREFIX + name.upper(): value for name, value in given.items() if value
    }


def _become(command: list[str]) -> None:
    """Let this process be the server, so that signals to the one reach the other."""
    if os.name == "nt":
        import subprocess

        sys.exit(subprocess.call(command))
    sys.stderr.flush()
    os.execv(command[0], command)
