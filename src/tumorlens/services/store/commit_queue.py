"""Group commits: what several threads write at one moment goes to the disk in one transaction.

A future is resolved only when its transaction is on the disk, so an answer that was acknowledged is
there after a kill; and because many answers share one wait for the disk, that costs little. An
answer that comes alone is written at once; while others are in work it waits a moment for them.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from tumorlens.errors import StoreError, StoreFullError
from tumorlens.services.store.database import Store, is_transient
from tumorlens.services.store.history import NewPrediction, save_predictions

MAX_GROUP = 256
GATHER_SECONDS = 0.008  # that an answer waits for others: about what one more scan takes
PAUSE_SECONDS = (0.05, 1.0)  # between tries, doubled up to the second
_Waiting = tuple[NewPrediction, Future[str]]


class CommitQueue:
    """Writes predictions for many threads; in one thread of its own."""

    def __init__(
        self,
        store: Store,
        *,
        patience_seconds: float = 20.0,
        in_work: Callable[[], int] = lambda: 0,
        on_commit: Callable[[int, float], None] = lambda count, seconds: None,
    ) -> None:
        self._store, self._patience = store, patience_seconds
        self._in_work, self._on_commit = in_work, on_commit
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="commits", daemon=True)
        self._thread.start()

    def submit(self, new: NewPrediction) -> Future[str]:
        """Queue a write; the future has the id once it is on the disk, or a StoreError."""
        future: Future[str] = Future()
        future.set_running_or_notify_cancel()  # a request that is broken off takes nothing back
        self._waiting.put((new, future))
        return future

    def close(self, seconds: float = 5.0) -> None:
        """Write what was submitted, then stop; a store that does not answer is given up then."""
        self._waiting.put(None)
        self._thread.join(seconds)

    def _work(self) -> None:
        is_open = True
        while is_open:
            group = self._gather()
            is_open = group[-1] is not None
            self._settle([item for item in group if item is not None])

    def _gather(self) -> list[_Waiting | None]:
        """Take what waits, and what comes within a moment while more is in work; None ends it."""
        group = [self._waiting.get()]
        end = time.monotonic() + GATHER_SECONDS
        while group[-1] is not None and len(group) < MAX_GROUP:
            seconds = end - time.monotonic() if len(group) < self._in_work() else 0.0
            try:
                group.append(self._waiting.get(timeout=max(0.0, seconds)))
            except queue.Empty:
                break
        return group

    def _settle(self, group: Sequence[_Waiting]) -> None:
        if not group:
            return
        started = time.monotonic()
        try:
            self._write([new for new, _ in group])
        except Exception as error:  # noqa: BLE001 (whatever it is, those who wait have to know)
            is_of_all = isinstance(error, StoreFullError) or is_transient(error.__cause__)
            if len(group) > 1 and not is_of_all:
                for item in group:  # one bad row must not take the others with it
                    self._settle([item])
                return
            for _, future in group:
                future.set_exception(error)
            return
        for new, future in group:
            future.set_result(new.id)
        self._on_commit(len(group), time.monotonic() - started)

    def _write(self, new: Sequence[NewPrediction]) -> None:
        """Write, and try again while the server restarts or another process holds the lock."""
        pause, end = PAUSE_SECONDS[0], time.monotonic() + self._patience
        while True:
            try:
                save_predictions(self._store, new)
                return
            except StoreError as error:
                if not is_transient(error.__cause__) or time.monotonic() > end:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS[1])
