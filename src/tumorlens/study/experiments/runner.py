"""The runner of many networks: jobs that are done once, here or elsewhere, and never twice.

A kind of experiment makes a plan, which is jobs in their order. A job is plain data with a folder
of its own, so a process or a machine that sees that folder can do it. An executor is a function
that does one job, or the workers of this machine or of a cluster, which do several at once. What
a kill broke off is done again, and goes on where training goes on.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tumorlens import executors
from tumorlens.errors import TrainingError, TumorlensError
from tumorlens.progress import Progress, SilentCallback, TrainingCallback, silent

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


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
OnError = Callable[[Job, TumorlensError], None]
Watch = Callable[[Sequence[executors.Underway[Job]]], None]  # epochs are what is counted


def run_jobs(
    jobs: Iterable[Job],
    executor: Executor,
    *,
    listeners: Listeners = SILENT,
    on_start: Callable[[Job], None] = lambda _job: None,
    on_error: OnError | None = None,
) -> Iterator[Job]:
    """Do jobs unless they are done, and yield each with its result there.

    A plan may be an iterator that looks at what came of the jobs before. By `Workers` several are
    done at once, and come in the order in which they end. The first job that fails ends it all;
    with `on_error` that hears of each, and the others go on.
    """
    if isinstance(executor, Workers):
        yield from executor.run_jobs(jobs, on_start, on_error)
        return
    for job in jobs:
        try:
            if not job.is_done:
                on_start(job)
                executor(job, listeners)
        except TumorlensError as error:
            if on_error is None:
                raise
            on_error(job, error)
        else:
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


@dataclass(frozen=True)
class Workers:
    """Processes of this machine, or of a Ray cluster whose nodes see the same folders."""

    opened: executors.Executor
    cores: int  # of each
    watch: Watch = executors.unwatched

    def __call__(self, job: Job, listeners: Listeners) -> None:
        """Do one job on a worker, in silence."""
        for outcome in self.opened.map(_Run(self.cores), [job]):
            _check(outcome, None)

    def run_jobs(
        self, jobs: Iterable[Job], on_start: Callable[[Job], None], on_error: OnError | None
    ) -> Iterator[Job]:
        """Do jobs unless they are done, and yield each that is."""
        done: list[Job] = []

        def to_do() -> Iterator[Job]:
            for job in jobs:
                if job.is_done:
                    done.append(job)
                else:
                    on_start(job)
                    yield job

        for outcome in self.opened.map(_Run(self.cores), to_do(), watch=self.watch):
            is_good = _check(outcome, on_error)
            yield from done
            done.clear()
            if is_good:
                yield outcome.task
        yield from done


@contextmanager
def open_workers(
    on: str, *, cores: int | None = None, watch: Watch = executors.unwatched
) -> Iterator[Workers]:
    """Yield workers with `cores` each, `on` "local", "ray" or "ray://HOST:PORT".

    Without `cores` a job has a whole machine: as many as this one has.
    """
    cores = cores or os.cpu_count() or 1
    with executors.open_executor(on, cores=cores) as opened:
        yield Workers(opened, cores, watch)


@dataclass(frozen=True)
class _Run:
    """What a worker does with a job: with so many cores, and telling its epochs."""

    cores: int

    def __call__(self, job: Job, progress: Progress) -> None:
        # TensorFlow and the predictor read these when they start.
        for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "TUMORLENS_WORKERS"):
            os.environ[name] = str(self.cores)
        if not job.is_done:  # by a worker that was killed in its last moment
            job.run(Listeners(_EpochCounter(progress)))


class _EpochCounter(SilentCallback):
    """Tells how many epochs have ended."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_epoch_end(self, row: Mapping[str, float], is_best: bool) -> None:
        """Tell the number of the epoch."""
        self._progress(int(row["epoch"]), 0)


def _check(outcome: executors.Outcome[Job, None], on_error: OnError | None) -> bool:
    """Return whether a job is done; raises its error where nobody wants to hear of it."""
    if outcome.error is None:
        return True
    if on_error is None or not isinstance(outcome.error, TumorlensError):
        raise outcome.error
    on_error(outcome.task, outcome.error)
    return False


def reset_peak_memory() -> None:
    """Let `peak_memory` count from now on, where this process has done other work before."""
    with suppress(OSError):
        RESET.write_text("5", encoding="ascii")


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
