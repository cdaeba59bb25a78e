"""Work off the event loop: a few threads, a bounded queue, and a clear no beyond it."""

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from tumorlens.services.http.problems import Refusal

T = TypeVar("T")
TYPICAL_SECONDS = 0.02  # of one request on one worker, to say when to come again


class WorkPool:
    """Runs the work of requests; each one holds a place from its start to its end."""

    def __init__(self, *, workers: int, queue: int) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="work")
        self._workers, self._places = workers, workers + queue
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """Requests that are being worked on or wait."""
        return self._taken

    @property
    def is_busy(self) -> bool:
        """Tell whether every worker has something to do."""
        return self._taken >= self._workers

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take a place; raises Refusal where all are taken."""
        with self._lock:
            if self._taken >= self._places:
                wait = math.ceil(self._taken * TYPICAL_SECONDS / self._workers)
                raise Refusal(
                    "queue-full", f"{self._taken} requests are waiting.", retry_after=max(1, wait)
                )
            self._taken += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """Run something in a thread; the caller holds a place."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Finish what was taken on."""
        self._threads.shutdown(wait=True)
