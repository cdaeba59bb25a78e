"""Progress on standard error: bars on a terminal, a line now and then elsewhere."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console(stderr=True, highlight=False, soft_wrap=True)
# Between two lines where nobody watches a terminal; a program that watches may want more.
QUIET_SECONDS = float(os.environ.get("TUMORLENS_PROGRESS_SECONDS") or 10)


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
        disable=not console.is_terminal,
    )


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many of how many are done; yields `report(done, total)`."""
    started = told = time.monotonic()

    with _columns() as bars:
        task = bars.add_task(what, total=None, note="")

        def report(done: int, total: int) -> None:
            nonlocal told
            bars.update(task, completed=done, total=total)
            if not console.is_terminal and time.monotonic() - told > QUIET_SECONDS:
                told = time.monotonic()
                console.print(f"{what}: {done}/{total} after {told - started:.0f} s")

        yield report


class TrainingBars:
    """Watches a training run: epochs with the time left, batches, the figures so far."""

    def __init__(self, epochs: int) -> None:
        self._bars = _columns()
        self._epochs = self._bars.add_task("epochs", total=epochs, note="")
        self._batches = self._bars.add_task("batches", total=None, note="")

    def __enter__(self) -> "TrainingBars":
        self._bars.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._bars.stop()

    def on_batch_end(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Move the bars by one batch."""
        self._bars.update(self._epochs, completed=epoch - 1 + done / total)
        self._bars.update(self._batches, completed=done, total=total, note=f"loss {loss:.3f}")

    def on_epoch_end(self, row: Mapping[str, float], is_best: bool) -> None:
        """Print the line of one epoch."""
        self._bars.update(self._epochs, completed=row["epoch"])
        told = _validated(row) if "val_loss" in row else f"spread {row['spread']:.3f}"
        console.print(
            f"epoch {row['epoch']:3.0f}  loss {row['loss']:.4f}  {told}  "
            f"{row['images_per_s']:.0f} img/s{'  best' if is_best else ''}"
        )


def _validated(row: Mapping[str, float]) -> str:
    return (
        f"val {row['val_loss']:.4f}  AUC CT {row['val_auc_ct']:.4f} MRI {row['val_auc_mri']:.4f}  "
        f"type {row['val_type_accuracy']:.3f}"
    )
