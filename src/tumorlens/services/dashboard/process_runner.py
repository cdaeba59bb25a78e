"""Commands of the bench as processes of their own: started, watched, stopped.

The dashboard never runs the bench in its own process: what it starts goes on while pages change
and browsers close, and ends with the server.
"""

import atexit
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tumorlens.errors import StudyError

LIBRARIES = ("sklearn", "scipy", "numba", "matplotlib", "plotly")  # that the three commands need
COMMANDS: Mapping[str, Sequence[str]] = {
    "explore": ("explore",),
    "audit": ("audit", "--allow"),
    "evaluation": ("evaluate",),
}
INSTALL = 'pip install "tumorlens[train]"'
LOG = "dashboard.log"  # in the folder that the command writes
TAIL = 4_000  # bytes of a log that are read
_DONE_OF = re.compile(r"^(?P<what>.+): (?P<done>\d+)/(?P<total>\d+) after ", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """One command that was started."""

    kind: str  # a row of COMMANDS
    data: Path
    out: Path
    started: float  # seconds since 1970
    process: subprocess.Popen[bytes]

    @property
    def is_running(self) -> bool:
        """Tell whether it still works."""
        return self.process.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status; None while it works, negative where it was stopped."""
        return self.process.poll()


@dataclass(frozen=True)
class Progress:
    """How far a command says it is."""

    what: str
    done: int
    total: int


class Bench:
    """What this server has started; one run of a kind and folder at a time."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, Path], Run] = {}
        self._lock = threading.Lock()
        atexit.register(self.stop_all)

    def start(self, kind: str, data: Path, out: Path) -> Run:
        """Start a command on a labeled folder; raises StudyError where it runs already."""
        with self._lock:
            running = self._runs.get((kind, out))
            if running and running.is_running:
                fix = "Wait for it, or stop it."
                raise StudyError(out, "is being written by a command that still runs", fix)
            out.mkdir(parents=True, exist_ok=True)
            name, *flags = COMMANDS[kind]
            command = [sys.executable, "-m", "tumorlens", name, str(data), "--out", str(out)]
            with (out / LOG).open("wb") as log:
                process = subprocess.Popen(
                    [*command, *flags], stdout=log, stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL, start_new_session=True,
                    env=os.environ | {"TUMORLENS_PROGRESS_SECONDS": "1", "COLUMNS": "100"},
                )  # fmt: skip
            run = Run(kind, data, out, time.time(), process)
            self._runs[kind, out] = run
            return run

    def find(self, kind: str, out: Path) -> Run | None:
        """Give the last run of a kind into a folder."""
        return self._runs.get((kind, out))

    def forget(self, run: Run) -> None:
        """Say no more of a run that has ended."""
        self._runs.pop((run.kind, run.out), None)

    def stop_all(self) -> None:
        """Stop whatever runs."""
        for run in list(self._runs.values()):
            stop(run)


def stop(run: Run, *, patience: float = 5.0) -> None:
    """End a run and what it started; commands leave whole files or none."""
    if not run.is_running:
        return
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(run.process.pid, sign)
        except ProcessLookupError:
            return
        try:
            run.process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        return


def said(run: Run) -> str:
    """Give the end of what a run has printed."""
    try:
        with (run.out / LOG).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def progress_in(text: str) -> Progress | None:
    r"""Find the last count in what a command printed.

    >>> progress_in("reading\nfingerprints: 64/240 after 3 s\n")
    Progress(what='fingerprints', done=64, total=240)
    """
    found = list(_DONE_OF.finditer(text))
    if not found:
        return None
    last = found[-1]
    return Progress(last["what"], int(last["done"]), int(last["total"]))


def is_installed() -> bool:
    """Tell whether the bench can run here."""
    return all(find_spec(name) for name in LIBRARIES)
