"""How long work tells what is done: one protocol for bars, log lines and programs that watch."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Progress = Callable[[int, int], None]  # how many are done, of how many
Steps = Callable[[str], AbstractContextManager[Progress]]  # what is done now


def silent(_done: int, _total: int) -> None:
    """Report nothing."""


def silent_steps(_what: str) -> AbstractContextManager[Progress]:
    """Report nothing of any step."""
    return nullcontext(silent)


class TrainingCallback(Protocol):
    """What hears of a training run while it runs."""

    def on_batch_end(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Hear of one batch of an epoch; `loss` is the running mean."""

    def on_epoch_end(self, row: Mapping[str, float], is_best: bool) -> None:
        """Hear of one epoch: its row of history.csv, and whether it is the best so far."""


class SilentCallback:
    """Hears and says nothing."""

    def on_batch_end(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Say nothing."""

    def on_epoch_end(self, row: Mapping[str, float], is_best: bool) -> None:
        """Say nothing."""
