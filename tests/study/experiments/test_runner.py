"""Jobs are done once, here or in a process of their own."""

import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.jobs import RESULT, be_killed, fail, meet, peak_job

from tumorlens.errors import TrainingError
from tumorlens.study.experiments.runner import (
    SILENT,
    STATUS,
    Job,
    Listeners,
    in_own_process,
    in_this_process,
    open_workers,
    run_jobs,
)


def note(folder: Path, listeners: Listeners, *, text: str) -> None:
    """Write a text, or fail where it is the name of a signal."""
    if text == "SIGINT":
        raise KeyboardInterrupt
    folder.mkdir(exist_ok=True)
    (folder / RESULT).write_text(text)


def jobs_of(root: Path, *texts: str) -> list[Job]:
    return [Job(root / str(i), RESULT, note, {"text": text}) for i, text in enumerate(texts)]


def test_what_is_done_is_not_done_again_and_what_was_killed_is(tmp_path):
    started = []
    with pytest.raises(KeyboardInterrupt):
        list(run_jobs(jobs_of(tmp_path, "one", "SIGINT", "three"), in_this_process))
    jobs = jobs_of(tmp_path, "changed", "two", "three")
    found = list(run_jobs(jobs, in_this_process, on_start=started.append))
    assert found == jobs
    assert started == jobs[1:]
    assert [(job.folder / RESULT).read_text() for job in jobs] == ["one", "two", "three"]


def test_a_plan_may_look_at_what_came_of_the_jobs_before(tmp_path):
    def plan():
        first, second = jobs_of(tmp_path, "one", "two")
        yield first
        yield Job(second.folder, RESULT, note, {"text": (first.folder / RESULT).read_text() * 2})

    assert len(list(run_jobs(plan(), in_this_process))) == 2
    assert (tmp_path / "1" / RESULT).read_text() == "oneone"


def test_where_failures_are_heard_of_the_others_go_on(tmp_path):
    good, heard = jobs_of(tmp_path, "one"), []
    jobs = [Job(tmp_path / "bad", RESULT, fail, {}), *good]
    found = list(run_jobs(jobs, in_this_process, on_error=lambda *row: heard.append(row)))
    assert found == good
    ((job, error),) = heard
    assert job is jobs[0]
    assert "diverged" in str(error)
    with pytest.raises(TrainingError, match="diverged"):
        list(run_jobs(jobs, in_this_process))


@pytest.mark.skipif(not STATUS.exists(), reason="tells the peak of one process on Linux alone")
def test_the_peak_of_memory_is_that_of_the_work_alone(tmp_path, monkeypatch):
    # A page of the dashboard that ran here before left itself there: the job would import it.
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    held = np.ones(300 * 2**20, np.uint8)  # of the parent, which must not count
    peaks = []
    for size in (1, 120 * 2**20):
        in_own_process(peak_job(tmp_path / str(size), size), SILENT)
        peaks.append(int((tmp_path / str(size) / RESULT).read_text()))
    small, large = peaks
    assert 100 * 2**20 < large - small < 200 * 2**20
    assert small < held.nbytes


def test_a_process_that_is_killed_is_an_error_a_user_can_read(tmp_path):
    with pytest.raises(TrainingError, match="ended from outside"):
        in_own_process(Job(tmp_path, RESULT, be_killed, {}), SILENT)


def test_workers_do_jobs_at_once_and_yield_also_what_was_done(tmp_path):
    jobs = [Job(tmp_path / name, RESULT, meet, {"names": "bc"}) for name in "abc"]
    jobs[0].folder.mkdir()
    (jobs[0].folder / RESULT).write_text("kept")
    with open_workers("local", cores=(os.cpu_count() or 2) // 2 or 1) as workers:
        if len(workers.opened.workers) < 2:
            pytest.skip("needs two cores")
        found = list(run_jobs(jobs, workers))
        failed, heard = Job(tmp_path / "d", RESULT, fail, {}), []
        assert list(run_jobs([failed], workers, on_error=lambda *row: heard.append(row))) == []
        assert [job.folder.name for job, _ in heard] == ["d"]
        with pytest.raises(TrainingError, match="diverged"):
            list(run_jobs([failed], workers))
    assert {job.folder.name for job in found} == set("abc")
    assert (tmp_path / "a" / RESULT).read_text() == "kept"
    assert (tmp_path / "b" / RESULT).read_text() == str(workers.cores)
