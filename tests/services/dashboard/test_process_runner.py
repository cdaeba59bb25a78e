"""Commands of the bench as processes of their own: started once, watched, stopped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import wait_until

from tumorlens.errors import StudyError
from tumorlens.services.dashboard import process_runner as module
from tumorlens.services.dashboard.process_runner import (
    COMMANDS,
    Output,
    ProcessRunner,
    Run,
    StepProgress,
    is_installed,
    parse_output,
    read_output,
    stop,
)
from tumorlens.study.phantom import write_phantoms

pytestmark = pytest.mark.skipif(os.name == "nt", reason="process groups are those of POSIX")


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Let a script of the shell stand for Python: it prints its arguments, then does THEN."""

    def stand_in(then: str) -> Path:
        script = tmp_path / "python"
        script.write_text(f'#!/bin/sh\necho "$@"\n{then}\n', encoding="utf-8")
        script.chmod(0o755)
        monkeypatch.setattr(module.sys, "executable", str(script))
        return tmp_path / "out"

    return stand_in


def ended(run: Run) -> Run:
    wait_until(lambda: run.status is not None)
    return run


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_run_is_the_command_of_its_kind_into_its_folder(python, tmp_path, kind):
    out = python("exit 0")
    run = ended(ProcessRunner().start(kind, tmp_path, out))
    assert run.status == 0
    name, *flags = COMMANDS[kind]
    assert read_output(run).text.split() == [
        "-m",
        "tumorlens",
        name,
        str(tmp_path),
        "--out",
        str(out),
        *flags,
    ]


def test_the_commands_are_there(tmp_path):
    from typer.main import get_command

    from tumorlens.cli import app

    known = get_command(app).commands  # pyright: ignore
    for name, *flags in COMMANDS.values():
        options = {option for parameter in known[name].params for option in parameter.opts}
        assert {"--out", *flags} <= options


def test_one_folder_is_written_by_one_run_at_a_time(python, tmp_path):
    out, runner = python("sleep 60"), ProcessRunner()
    run = runner.start("audit", tmp_path, out)
    with pytest.raises(StudyError, match="still runs"):
        runner.start("audit", tmp_path, out)
    stop(run)
    assert run.status is not None


@pytest.mark.parametrize("child", ["sleep 300", "sh -c 'trap \"\" TERM; sleep 300'"])
def test_stopping_ends_what_the_run_has_started_too(python, tmp_path, child):
    number = tmp_path / "child"
    out = python(f"{child} & echo $! > {number}.partial; mv {number}.partial {number}; wait")
    runner = ProcessRunner()
    run = runner.start("explore", tmp_path, out)
    wait_until(number.is_file)
    runner.stop_all()
    assert run.status is not None
    assert run.status < 0
    wait_until(lambda: not _lives(int(number.read_text())))


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_failed_run_keeps_its_status_and_its_output(python, tmp_path):
    out, runner = python("echo error: no images >&2; exit 2"), ProcessRunner()
    run = ended(runner.start("audit", tmp_path, out))
    assert run.status == 2
    assert read_output(run).text.endswith("error: no images")
    assert runner.find("audit", out) is run
    runner.forget(run)
    assert runner.find("audit", out) is None


def test_the_last_line_of_progress_is_how_far_a_run_is_and_the_rest_is_for_people():
    text = """reading
{"step": "comparing", "done": 64, "total": 240}
{"step": "measuring", "done": 10, "total": 240, "loss": 0.5}
warning: {odd}
{"step": "meas"""
    assert parse_output(text) == Output(
        "reading\nwarning: {odd}", StepProgress("measuring", 10, 240)
    )
    assert parse_output("nothing yet").progress is None


def test_a_run_is_asked_for_progress_that_a_program_can_read(python, tmp_path):
    run = ended(ProcessRunner().start("audit", tmp_path, python("echo $TUMORLENS_PROGRESS")))
    assert read_output(run).text.endswith("json")


def test_the_progress_of_a_real_command_is_read(tmp_path, tiny_bundle):
    write_phantoms(tmp_path / "phantoms", per_class=1, seed=5)
    command = ["predict", str(tmp_path / "phantoms"), "--bundle", str(tiny_bundle.folder)]
    ended = subprocess.run(
        [sys.executable, "-m", "tumorlens", *command],
        env=os.environ | {"TUMORLENS_PROGRESS": "json"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    output = parse_output(ended.stderr)
    assert ended.returncode == 0, output.text
    assert output.progress is not None
    assert output.progress.done == output.progress.total > 0


def test_a_missing_library_means_that_the_bench_is_not_installed(monkeypatch):
    assert is_installed()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "sklearn" else name)
    assert not is_installed()
