"""The command line, run in this process."""

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from tumorlens import cli


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Ended]


def command_runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs `tumorlens ...` and tells how it ended."""

    def run(*words: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["tumorlens", *map(str, words)])
        capsys.readouterr()
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        written = capsys.readouterr()
        return Ended(status, written.out, written.err)

    return run


def ended(words: Sequence[str], folder: Path | str, environment: Mapping[str, str]) -> Ended:
    """Run `tumorlens WORDS` in a folder, and tell how it ended; for fixtures of a module."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["tumorlens", *words])
        for name, value in environment.items():
            patch.setenv(name, value)
        with redirect_stdout(out), redirect_stderr(err):
            try:
                cli.main()
            except SystemExit as stop:
                status = int(stop.code or 0)
    return Ended(status, out.getvalue(), err.getvalue())
