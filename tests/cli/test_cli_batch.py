"""`tumorlens batch`: plan, run, status, merge, verify."""

import sys
from pathlib import Path

import pytest
from support.batch_jobs import write_heads
from support.command import command_runner

from tumorlens.files import read_table


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, tiny_bundle):
    """What runs `tumorlens batch ...` in a folder with the folder `heads`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUMORLENS_BUNDLE", str(tiny_bundle.folder))
    write_heads(tmp_path / "heads", 3)
    (tmp_path / "heads" / "empty.png").write_bytes(b"")
    return lambda *words: command_runner(monkeypatch, capsys)("batch", *words)


def test_a_job_goes_from_plan_to_table(run):
    planned = run("plan", "heads", "--out", "job", "--shard-size", "2")
    assert (planned.status, planned.out) == (0, "job\n")
    assert "4 scans in 2 shards with tiny@" in planned.err
    assert run("verify", "job").status == 3
    done = run("run", "job", "--workers", "1")
    assert done.status == 0
    assert "1 scan could not be answered: 1 is empty" in done.err
    assert "0 of 2 shards to do" in run("run", "job").err
    assert "4 of 4 scans (100.0%)" in run("status", "job").out
    assert run("verify", "job").out == "whole: 4 scans, each with one row; 2 parts\n"
    assert run("merge", "job", "--out", "all.csv").out == "all.csv\n"
    assert [bool(row["error"]) for row in read_table(Path("all.csv"))] == [
        True, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "fact"),
    [
        (("run", "nowhere"), "plan.json: is not there"),
        (("run", "job", "--shard", "three"), "'three' is no share"),
        (("run", "job", "--shard", "5/4"), "5/4 is no part"),
        (("run", "job", "--on", "slurm-array"), "is not that of a Slurm array"),
        (("run", "job", "--on", "zebra"), "zebra: is no executor"),
        (("merge", "job", "--out", "all.csv"), "lacks 2 of 2 parts"),
        (("merge", "job", "--out", "all.txt"), "Name a .csv or .parquet file"),
        (("plan", "nowhere", "--out", "other"), "nowhere: is not there"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(run, words, fact):
    run("plan", "heads", "--out", "job", "--shard-size", "2")
    ended = run(*words)
    assert ended.status == 2
    assert fact in ended.err
    assert "Traceback" not in ended.err


def test_without_the_extra_the_error_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ended = run("plan", "heads", "--out", "job")
    assert ended.status == 2
    assert 'pip install "tumorlens[scale]"' in ended.err
