"""Where the networks of a study are trained: here, one after the other, or several at once."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tumorlens.cli.options import job_executor
from tumorlens.cli.progress import TrainingBars, counting
from tumorlens.study.experiments.runner import Job, Listeners


def add_executor_options(parser: argparse.ArgumentParser) -> None:
    """Add `--on` and `--cores`, as `tumorlens train --folds` has them."""
    where = (
        "train several networks at once, by processes of this machine or on a Ray cluster whose "
        "nodes see the same folders; default: one by one"
    )
    parser.add_argument("--on", default="", metavar="local|ray|ray://HOST:PORT", help=where)
    parser.add_argument("--cores", type=int, help="of each network with --on; default: a machine")


@contextmanager
def open_executor(chosen: argparse.Namespace, *, epochs_of: Callable[[Job], int]) -> Iterator[Any]:
    """Yield the workers that `--on` asks for, or this process with bars of a job's epochs."""
    if chosen.on:
        with job_executor(chosen.on, chosen.cores) as workers:
            yield workers
        return

    def with_bars(job: Job, _listeners: Listeners) -> None:
        with TrainingBars(epochs_of(job)) as bars, counting("features") as extracting:
            job.run(Listeners(bars, extracting=extracting))

    yield with_bars
