"""Commands of the bench as processes of their own: started once, watched, stopped."""

import os
import sys
import time
from pathlib import Path

import pytest

from tumorlens.errors import StudyError
from tumorlens.services.dashboard import process_runner as module
from tumorlens.services.dashboard.process_runner import (
    COMMANDS,
    Bench,
    Progress,
    is_installed,
    progress_in,
    said,
    stop,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups are those of POSIX")
PATIENCE = 30.0  # seconds


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Let a script of the shell stand for Python: it says its arguments, then does as told."""

    def stand_in(then: str) -> Path:
        script = tmp_path / "python"
        script.write_text(f'#!/bin/sh\necho "$@"\n{then}\n', encoding="utf-8")
        script.chmod(0o755)
        monkeypatch.setattr(module.sys, "executable", str(script))
        return tmp_path / "out"

    return stand_in


def ended(run):
    deadline = time.monotonic() + PATIENCE
    while run.is_running and time.monotonic() < deadline:
        time.sleep(0.02)
    return run


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_run_is_the_command_of_its_kind_into_its_folder(python, tmp_path, kind):
    out = python("exit 0")
    run = ended(Bench().start(kind, tmp_path, out))
    assert run.status == 0
    name, *flags = COMMANDS[kind]
    assert said(run).split() == ["-m", "tumorlens", name, str(tmp_path), "--out", str(out), *flags]


def test_the_commands_are_there(tmp_path):
    from typer.main import get_command

    from tumorlens.cli import app

    known = get_command(app).commands  # pyright: ignore
    for name, *flags in COMMANDS.values():
        options = {option for parameter in known[name].params for option in parameter.opts}
        assert {"--out", *flags} <= options


def test_one_folder_is_written_by_one_run_at_a_time(python, tmp_path):
    out, bench = python("sleep 60"), Bench()
    run = bench.start("audit", tmp_path, out)
    with pytest.raises(StudyError, match="still runs"):
        bench.start("audit", tmp_path, out)
    stop(run)
    assert not run.is_running


def test_stopping_ends_what_the_run_has_started_too(python, tmp_path):
    out = python("sleep 300 & echo $! > %s; wait" % (tmp_path / "child"))
    bench = Bench()
    run = bench.start("explore", tmp_path, out)
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "child").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    child = int((tmp_path / "child").read_text() or 0)
    bench.stop_all()
    assert run.status is not None
    assert run.status < 0
    assert not _lives(child)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_failed_run_keeps_its_status_and_its_words(python, tmp_path):
    out, bench = python("echo error: no images >&2; exit 2"), Bench()
    run = ended(bench.start("audit", tmp_path, out))
    assert run.status == 2
    assert said(run).endswith("error: no images")
    assert bench.find("audit", out) is run
    bench.forget(run)
    assert bench.find("audit", out) is None


def test_the_last_count_that_was_printed_is_how_far_a_run_is():
    text = "fingerprints: 64/240 after 3 s\ncomparing\nmeasuring files: 10/240 after 1 s\n"
    assert progress_in(text) == Progress("measuring files", 10, 240)
    assert progress_in("nothing yet") is None


def test_what_the_command_line_prints_is_what_is_read(capsys, monkeypatch):
    from tumorlens.cli import progress

    monkeypatch.setattr(progress, "QUIET_SECONDS", -1.0)
    with progress.counting("reading") as report:
        report(3, 9)
    assert progress_in(capsys.readouterr().err) == Progress("reading", 3, 9)


def test_a_missing_library_means_that_the_bench_is_not_installed(monkeypatch):
    assert is_installed()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "sklearn" else name)
    assert not is_installed()
