"""Commands of the bench as processes of their own: started, watched, stopped.

The dashboard never runs the bench in its own process: what it starts goes on while pages change
and browsers close, and ends with the server.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tumorlens.errors import StudyError
from tumorlens.outputs import Outputs

LIBRARIES = ("sklearn", "scipy", "numba", "matplotlib", "plotly")  # that the three commands need
COMMANDS: Mapping[str, Sequence[str]] = {
    "explore": ("explore",),
    "audit": ("audit", "--allow"),
    "evaluation": ("evaluate",),
}
INSTALL = 'pip install "tumorlens[train]"'
LOG = "dashboard.log"  # in the folder that the command writes
SURROUNDINGS = {"TUMORLENS_PROGRESS": "json", "COLUMNS": "100"}
PATIENCE_S = 5.0  # for a command to end by itself
TAIL = 64 * 2**10  # bytes of a log that are read


@dataclass(frozen=True)
class Run:
    """One command that was started."""

    kind: str  # a row of COMMANDS
    out: Path
    process: subprocess.Popen[bytes]

    @property
    def status(self) -> int | None:
        """The exit status; None while it works, negative where it was stopped."""
        return self.process.poll()


@dataclass(frozen=True)
class StepProgress:
    """How far a command is."""

    step: str
    done: int
    total: int


@dataclass(frozen=True)
class Output:
    """What a command has written so far."""

    text: str  # for people
    progress: StepProgress | None  # the last one


class ProcessRunner:
    """What this server has started; one run of a kind and folder at a time."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, Path], Run] = {}
        self._lock = threading.Lock()
        atexit.register(self.stop_all)

    def start(
        self, kind: str, data: Path, out: Path, *, split: Path | None = None, language: str = "en"
    ) -> Run:
        """Start a command on a labeled folder, its pages in a language; `split` is a file.

        Raises StudyError where it runs already, OutputError where `out` is somebody's.
        """
        with self._lock:
            running = self._runs.get((kind, out))
            if running and running.status is None:
                fix = "Wait for it, or stop it."
                raise StudyError(out, "is being written by a command that still runs", fix)
            Outputs(data).claim_folder(out)
            name, *flags = COMMANDS[kind]
            command = [sys.executable, "-m", "tumorlens", name, str(data), "--out", str(out)]
            flags += ["--split", str(split)] if split else []
            with (out / LOG).open("wb") as log:
                process = subprocess.Popen(
                    [*command, *flags],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=os.environ | SURROUNDINGS | {"TUMORLENS_LANGUAGE": language},
                )
            run = Run(kind, out, process)
            self._runs[kind, out] = run
            return run

    def find(self, kind: str, out: Path) -> Run | None:
        """Return the last run of a kind into a folder."""
        return self._runs.get((kind, out))

    def find_in(self, kind: str, folder: Path) -> Run | None:
        """Return the last run of a kind into a folder of this one."""
        found = [run for run in self._runs.values() if (run.kind, run.out.parent) == (kind, folder)]
        return found[-1] if found else None

    def forget(self, run: Run) -> None:
        """Drop a run that has ended."""
        self._runs.pop((run.kind, run.out), None)

    def stop_all(self) -> None:
        """Stop whatever runs."""
        for run in list(self._runs.values()):
            stop(run)


def stop(run: Run) -> None:
    """End a run and all that it started; commands leave whole files or none."""
    if run.status is not None:
        return
    _signal(run, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        run.process.wait(PATIENCE_S)
    _signal(run, signal.SIGKILL)  # to what would not hear, also where the command itself did
    run.process.wait(PATIENCE_S)


def _signal(run: Run, sign: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # where nothing is left
        os.killpg(run.process.pid, sign)


def read_output(run: Run) -> Output:
    """Read the end of what a run has written."""
    try:
        with (run.out / LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            return parse_output(file.read().decode("utf-8", "replace"))
    except OSError:
        return Output("", None)


def parse_output(text: str) -> Output:
    r"""Take the lines of progress, which are JSON, out of what a command has written.

    >>> parse_output('reading\n{"step": "comparing", "done": 64, "total": 240}\n').progress
    StepProgress(step='comparing', done=64, total=240)
    """
    lines, progress = [], None
    for line in text.splitlines():
        if line.startswith('{"step": '):
            progress = _parse_progress(line) or progress  # a line may be half written
        else:
            lines.append(line)
    return Output("\n".join(lines).strip(), progress)


def _parse_progress(line: str) -> StepProgress | None:
    try:
        found = json.loads(line)
        return StepProgress(str(found["step"]), int(found["done"]), int(found["total"]))
    except (ValueError, KeyError, TypeError):
        return None


def is_installed() -> bool:
    """Tell whether the commands can run here."""
    return all(find_spec(name) for name in LIBRARIES)
