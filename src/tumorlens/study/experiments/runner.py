"""The runner of many networks: jobs that are done once, here or elsewhere, and never twice.

A kind of experiment makes a plan, which is jobs in their order. A job is plain data with a folder
of its own, so a process or a machine that sees that folder can do it. An executor is a function
that does one job. What a kill broke off is done again, and goes on where training goes on.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tumorlens.errors import TrainingError
from tumorlens.progress import Progress, SilentCallback, TrainingCallback, silent

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Listeners:
    """What hears of a job while it is done in this process; others work in silence."""

    callback: TrainingCallback = field(default_factory=SilentCallback)
    preparing: Progress = silent  # scans
    extracting: Progress = silent  # features of a frozen network


SILENT = Listeners()


@dataclass(frozen=True, eq=False)
class Job:
    """A piece of work: picklable, named by its folder, done where its result stands."""

    folder: Path
    result: str  # the file that it writes last
    work: Callable[..., None]  # a function of a module: (folder, listeners, **settings)
    settings: Mapping[str, Any]

    @property
    def is_done(self) -> bool:
        """Whether the result is there."""
        return (self.folder / self.result).exists()

    def run(self, listeners: Listeners = SILENT) -> None:
        """Do the work in this process."""
        self.work(self.folder, listeners, **self.settings)


Executor = Callable[[Job, Listeners], None]


def run_jobs(
    jobs: Iterable[Job],
    executor: Executor,
    *,
    listeners: Listeners = SILENT,
    on_start: Callable[[Job], None] = lambda _job: None,
) -> Iterator[Job]:
    """Do jobs one after the other unless they are done, and yield each with its result there.

    A plan may be an iterator that looks at what came of the jobs before.
    """
    for job in jobs:
        if not job.is_done:
            on_start(job)
            executor(job, listeners)
        yield job


def in_this_process(job: Job, listeners: Listeners) -> None:
    """Do a job where libraries are loaded already."""
    job.run(listeners)


def in_own_process(job: Job, listeners: Listeners) -> None:
    """Do a job in a fresh process, because only there a peak of memory is its own.

    Raises TrainingError where the process is killed.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            pool.submit(job.run).result()
        except BrokenProcessPool as e:
            fact = "was ended from outside, most often for want of memory"
            fix = "Free memory or take a smaller batch, and repeat the command."
            raise TrainingError(job.folder, fact, fix) from e


def peak_memory() -> int | None:
    """Return the most memory this process has held, in bytes; None where it cannot be known."""
    # Linux counts the parent into `ru_maxrss` of a fresh process, but not into this line.
    if STATUS.exists():
        for line in STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # bytes on macOS
