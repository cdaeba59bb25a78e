"""Progress on standard error: bars on a terminal, JSON for a program that watches, else lines."""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from tumorlens.executors import Underway

console = Console(stderr=True, highlight=False, soft_wrap=True)
VARIABLE = "TUMORLENS_PROGRESS"  # "json": one object a line
QUIET_SECONDS = 10.0  # between two lines where nobody watches
JSON_SECONDS = 0.5  # between two objects of one step; its last is always written


def print_notice() -> None:
    """Print what nothing here may be taken for."""
    from tumorlens.predictions.document import NOTICE

    console.print(NOTICE, style="dim")


def _is_json() -> bool:
    return os.environ.get(VARIABLE, "").lower() == "json"


def _write_json(step: str, done: int, total: int, **more: object) -> None:
    """Write how far a step is as one object on a line."""
    print(json.dumps({"step": step, "done": done, "total": total, **more}), file=sys.stderr)
    sys.stderr.flush()


def _columns() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal or _is_json(),
    )


@contextmanager
def counting(step: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many of how many are done; yields `report(done, total)`."""
    started = time.monotonic()
    is_json = _is_json()
    last = -math.inf if is_json else started

    with _columns() as bars:
        task = bars.add_task(step, total=None, note="")

        def report(done: int, total: int) -> None:
            nonlocal last
            bars.update(task, completed=done, total=total)
            now = time.monotonic()
            if is_json and (done >= total or now - last > JSON_SECONDS):
                last = now
                _write_json(step, done, total)
            elif not is_json and not console.is_terminal and now - last > QUIET_SECONDS:
                last = now
                console.print(f"{step}: {done}/{total} after {now - started:.0f} s")

        yield report


class WorkerBars:
    """Watches workers: a bar for all, with the rate and the time left, and one for each."""

    def __init__(self, step: str, total: int) -> None:
        self._step, self._total, self._done = step, total, 0
        self._bars = _columns()
        self._all = self._bars.add_task(step, total=total, note="")
        self._workers: dict[int, TaskID] = {}
        self._shards: dict[int, Any] = {}  # that each worker does
        self._started = self._last = time.monotonic()
        self._seconds = JSON_SECONDS if _is_json() else QUIET_SECONDS

    def __enter__(self) -> "WorkerBars":
        self._bars.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._bars.stop()

    def add(self, done: int) -> None:
        """Count what one worker has finished."""
        self._done += done

    def watch(self, underway: "Sequence[Underway[Any]]") -> None:
        """See what is under way."""
        done = self._done + sum(one.done for one in underway)
        rate = done / max(time.monotonic() - self._started, 1e-3)
        self._bars.update(self._all, completed=done, note=f"{rate:.0f}/s")
        for one in underway:
            self._show(one)
        for worker in self._workers.keys() - {one.worker for one in underway}:
            self._bars.update(self._workers[worker], visible=False)  # it has no more to do
        self._print(done, rate, workers=len(underway))

    def _show(self, one: "Underway[Any]") -> None:
        """Move the bar of a worker; a new shard begins a new one, with its own time."""
        if one.worker not in self._workers:
            added = self._bars.add_task(f"worker {one.worker + 1}", total=None, note="")
            self._workers[one.worker] = added
        bar = self._workers[one.worker]
        if self._shards.get(one.worker) != one.task:
            self._shards[one.worker] = one.task
            self._bars.reset(bar)
        self._bars.update(bar, completed=one.done, total=one.total or None, visible=True,
                          note=f"shard {one.task + 1}")  # fmt: skip

    def _print(self, done: int, rate: float, *, workers: int) -> None:
        now = time.monotonic()
        if now - self._last < self._seconds or (console.is_terminal and not _is_json()):
            return
        self._last = now
        left = (self._total - done) / rate if rate else math.inf
        if _is_json():
            _write_json(self._step, done, self._total, rate=rate, seconds_left=_finite(left),
                        workers=workers)  # fmt: skip
        else:
            console.print(
                f"{self._step}: {done:,}/{self._total:,} by {workers} workers, {rate:.0f}/s, "
                f"{timedelta(seconds=round(left)) if rate else '?'} left"
            )


class TrainingBars:
    """Watches a training run: epochs with the time left, batches, the figures so far."""

    def __init__(self, epochs: int) -> None:
        self._bars = _columns()
        self._total = epochs
        self._epochs = self._bars.add_task("epochs", total=epochs, note="")
        self._batches = self._bars.add_task("batches", total=None, note="")
        self._is_json = _is_json()
        self._last = -math.inf

    def __enter__(self) -> "TrainingBars":
        self._bars.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._bars.stop()

    def on_batch_end(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Move the bars by one batch."""
        from tumorlens.records import figure_text

        self._bars.update(self._epochs, completed=epoch - 1 + done / total)
        self._bars.update(
            self._batches, completed=done, total=total, note=f"loss {figure_text(loss)}"
        )
        if self._is_json and (done >= total or time.monotonic() - self._last > JSON_SECONDS):
            self._last = time.monotonic()
            _write_json(f"epoch {epoch}", done, total, loss=_finite(loss))

    def on_epoch_end(self, row: Mapping[str, float], is_best: bool) -> None:
        """Write the figures of one epoch."""
        from tumorlens.records import figure_text

        self._bars.update(self._epochs, completed=row["epoch"])
        if self._is_json:
            figures = {name: _finite(value) for name, value in row.items()}
            _write_json("epochs", int(row["epoch"]), self._total, best=is_best, figures=figures)
            return
        figures = _validated(row) if "val_loss" in row else f"spread {figure_text(row['spread'])}"
        console.print(
            f"epoch {row['epoch']:3.0f}  loss {figure_text(row['loss'], digits=4)}  {figures}  "
            f"{row['images_per_s']:.0f} img/s{'  best' if is_best else ''}"
        )


def _finite(value: float) -> float | None:
    """JSON has no word for what is not a number."""
    return float(value) if math.isfinite(value) else None


def _validated(row: Mapping[str, float]) -> str:
    from tumorlens.records import figure_text

    loss, ct, mri = (
        figure_text(row[name], digits=4) for name in ("val_loss", "val_auc_ct", "val_auc_mri")
    )
    return f"val {loss}  AUC CT {ct} MRI {mri}  type {figure_text(row['val_type_accuracy'])}"
