"""The threads that work for requests, shared fairly among those who ask.

One file is one piece of work. Owners take turns; an owner who sends a thousand files waits behind
one who sends a single file, and cannot take all the places in the queue. Large work (images, forms)
is done one at a time, so that another thread is always there for small work and memory is bounded.
"""

import asyncio
import math
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tumorlens.services.http.problems import Refusal

T = TypeVar("T")
MIN_THREADS = 2  # one may be busy with a large image
SHARE = 0.75  # of the places in the queue, that one owner may take
POLITE_SECONDS = 0.1  # that background work lets requests pass, at most
TYPICAL_SECONDS = 0.02  # of one request on one worker, for Retry-After
CLOSE_SECONDS = 5.0


@dataclass(frozen=True)
class _Work:
    """One piece of work, and who waits for it."""

    run: Callable[[], Any]
    is_large: bool
    future: Future[Any] = field(default_factory=Future)


class _Lane:
    """Waiting work by owner; owners take turns."""

    def __init__(self) -> None:
        self._by_owner: OrderedDict[str, deque[_Work]] = OrderedDict()

    def put(self, owner: str, work: _Work) -> None:
        self._by_owner.setdefault(owner, deque()).append(work)

    def take(self, *, large: bool) -> _Work | None:
        """Return the next work of the next owner; without `large`, the next that is not large."""
        for owner, waiting in self._by_owner.items():
            at = next((i for i, work in enumerate(waiting) if large or not work.is_large), None)
            if at is None:
                continue
            work = waiting[at]
            del waiting[at]
            self._by_owner.move_to_end(owner)
            if not waiting:
                del self._by_owner[owner]
            return work
        return None

    def clear(self) -> list[_Work]:
        found = [work for waiting in self._by_owner.values() for work in waiting]
        self._by_owner.clear()
        return found


class WorkPool:
    """Runs work in a few threads; each request holds a slot from its start to its end."""

    def __init__(self, *, workers: int, queue: int, share: float = SHARE) -> None:
        self.workers = max(MIN_THREADS, workers)
        self.slots = self.workers + queue
        self._slots_of_one = share * self.slots
        self._taken: Counter[str] = Counter()
        self._requests, self._background = _Lane(), _Lane()
        self._is_large_running = self._is_closed = False
        self._waiting_since = time.monotonic()  # of background work
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name=f"work-{number}", daemon=True)
            for number in range(self.workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def taken(self) -> int:
        """Requests that are being worked on or wait."""
        return self._taken.total()

    @property
    def is_busy(self) -> bool:
        """Whether every worker has something to do."""
        return self.taken >= self.workers

    @contextmanager
    def slot(self, owner: str) -> Iterator[None]:
        """Hold a slot; raises Refusal where all are taken, or those that one owner may have."""
        with self._changed:
            taken = self.taken
            if taken >= self.slots or self._taken[owner] >= self._slots_of_one:
                wait = max(1, math.ceil(taken * TYPICAL_SECONDS / self.workers))
                raise Refusal("queue-full", f"{taken} requests are waiting.", retry_after=wait)
            self._taken[owner] += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= Counter({owner: 1})

    async def run(
        self, work: Callable[[], T], *, owner: str, large: bool = False, background: bool = False
    ) -> T:
        """Run something in a thread, when its turn comes; the caller holds a slot."""
        return await asyncio.wrap_future(self._put(_Work(work, large), owner, background))

    async def run_all(
        self, works: Sequence[tuple[Callable[[], T], bool]], *, owner: str, background: bool = False
    ) -> list[T]:
        """Run several things, each with whether it is large; all results, in order.

        The first that fails, or who waits going away, calls off what has not begun.
        """
        futures = [self._put(_Work(work, large), owner, background) for work, large in works]
        try:
            return list(await asyncio.gather(*map(asyncio.wrap_future, futures)))
        finally:
            for future in futures:
                future.cancel()

    def _put(self, work: _Work, owner: str, background: bool) -> Future[Any]:
        with self._changed:
            if self._is_closed:
                raise Refusal("not-ready", "It is being stopped.", retry_after=5)
            (self._background if background else self._requests).put(owner, work)
            self._changed.notify()
        return work.future

    def _work(self) -> None:
        while (work := self._take()) is not None:
            if work.future.set_running_or_notify_cancel():
                try:
                    result = work.run()
                except BaseException as error:  # noqa: BLE001 (who waits for it has to know)
                    work.future.set_exception(error)
                else:
                    work.future.set_result(result)
            if work.is_large:
                with self._changed:
                    self._is_large_running = False
                    self._changed.notify_all()

    def _take(self) -> _Work | None:
        """Wait for work; None ends the thread."""
        with self._changed:
            while not self._is_closed:
                work = self._next()
                if work is not None:
                    self._is_large_running |= work.is_large
                    return work
                self._changed.wait()
        return None

    def _next(self) -> _Work | None:
        """Return a request's work, and background work where there is none or it waits long."""
        lanes = [self._requests, self._background]
        if time.monotonic() - self._waiting_since > POLITE_SECONDS:
            lanes.reverse()
        for lane in lanes:
            work = lane.take(large=not self._is_large_running)
            if work is not None:
                if lane is self._background:
                    self._waiting_since = time.monotonic()
                return work
        return None

    def close(self) -> None:
        """Call off what waits, and wait a moment for what runs."""
        with self._changed:
            self._is_closed = True
            waiting = self._requests.clear() + self._background.clear()
            self._changed.notify_all()
        for work in waiting:
            work.future.cancel()
        end = time.monotonic() + CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
