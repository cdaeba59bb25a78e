"""Jobs that a process of its own can import, and soon."""

import os
from pathlib import Path

from support.waiting import wait_until

from tumorlens.errors import TrainingError
from tumorlens.study.experiments.runner import Job, Listeners, peak_memory

RESULT = "result.txt"


def write_peak(folder: Path, listeners: Listeners, *, size: int) -> None:
    """Hold so many bytes for a moment, and write the peak of memory."""
    held = b"x" * size
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(str(peak_memory()))
    assert len(held) == size


def be_killed(folder: Path, listeners: Listeners) -> None:
    """End as a process does that the system kills."""
    os._exit(9)


def peak_job(folder: Path, size: int) -> Job:
    """Return a job of `write_peak`."""
    return Job(folder, RESULT, write_peak, {"size": size})


def meet(folder: Path, listeners: Listeners, *, names: str) -> None:
    """Wait until as many jobs as are named are under way at once; write how many cores are ours."""
    folder.mkdir(parents=True, exist_ok=True)
    wait_until(lambda: all((folder.parent / name).exists() for name in names))
    (folder / RESULT).write_text(os.environ["TUMORLENS_WORKERS"])


def fail(folder: Path, listeners: Listeners) -> None:
    """End as a training does that diverges."""
    raise TrainingError(folder, "diverged", "Train again.")
