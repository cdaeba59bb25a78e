"""Work is shared fairly: owners take turns, one large image at a time, batches behind requests."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tumorlens.services.http import work_pool
from tumorlens.services.http.problems import Refusal
from tumorlens.services.http.work_pool import WorkPool


@contextmanager
def one_thread(pool: WorkPool) -> Iterator[threading.Event]:
    """Hold all threads but one for good, and that one until the event is set."""
    begun, released, ended = threading.Semaphore(0), threading.Event(), threading.Event()

    def hold(until: threading.Event) -> None:
        begun.release()
        until.wait()

    for until in (released, *[ended] * (pool.workers - 1)):
        pool._put(work_pool._Work(lambda until=until: hold(until), False), "holder", False)
    for _ in range(pool.workers):
        begun.acquire()
    yield released
    released.set()
    ended.set()


def order_of(works: list[tuple[str, str, dict[str, bool]]]) -> list[str]:
    """Put work into a pool whose threads are busy; returns names in the order they were run."""
    pool, order = WorkPool(workers=2, queue=10), []

    def note(name: str) -> Callable[[], None]:
        return lambda: order.append(name)

    async def run() -> None:
        with one_thread(pool) as released:
            waiting = [
                asyncio.ensure_future(pool.run(note(name), owner=owner, **more))
                for owner, name, more in works
            ]
            await asyncio.sleep(0)
            released.set()
            await asyncio.gather(*waiting)

    asyncio.run(run())
    pool.close()
    return order


def test_an_owner_of_many_files_lets_the_others_pass():
    many = [("ann", f"a{n}", {}) for n in range(4)]
    assert order_of([*many, ("bob", "b0", {}), ("cem", "c0", {})]) == [
        "a0", "b0", "c0", "a1", "a2", "a3",
    ]  # fmt: skip


def test_a_batch_waits_behind_requests(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(work_pool, "POLITE_SECONDS", 60)
    batch = [("ann", f"batch{n}", {"background": True}) for n in range(2)]
    assert order_of([*batch, ("bob", "request", {})]) == ["request", "batch0", "batch1"]


def test_a_batch_goes_on_under_endless_requests(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(work_pool, "POLITE_SECONDS", 0)
    batch = ("ann", "batch", {"background": True})
    assert order_of([batch, *[("bob", f"request{n}", {}) for n in range(3)]])[0] == "batch"


def test_one_large_image_is_decoded_at_a_time_and_small_ones_beside_it():
    pool = WorkPool(workers=4, queue=10)
    large, small_ran, at_once, most = threading.Lock(), threading.Event(), [0], [0]

    def decode_large() -> None:
        with large:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        small_ran.wait(10)
        with large:
            at_once[0] -= 1

    async def run() -> None:
        works = [(decode_large, True)] * 4
        waiting = asyncio.ensure_future(pool.run_all(works, owner="ann"))
        await asyncio.sleep(0)
        await pool.run(small_ran.set, owner="ann")
        await waiting

    asyncio.run(run())
    pool.close()
    assert small_ran.is_set()
    assert most == [1]


def test_one_owner_cannot_take_every_slot():
    pool = WorkPool(workers=2, queue=10)
    with ExitStack() as taken:
        while pool.taken < 0.75 * pool.slots:
            taken.enter_context(pool.slot("ann"))
        with pytest.raises(Refusal, match="waiting"):
            taken.enter_context(pool.slot("ann"))
        with pool.slot("bob"):
            assert pool.taken < pool.slots
    assert pool.taken == 0
    pool.close()


def test_what_fails_fails_where_it_is_waited_for():
    pool = WorkPool(workers=2, queue=10)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(pool.run(lambda: 1 // 0, owner="ann"))
    assert asyncio.run(pool.run(lambda: 7, owner="ann")) == 7
    pool.close()


def test_who_goes_away_calls_off_what_has_not_begun():
    pool, ran = WorkPool(workers=2, queue=10), []

    async def run() -> None:
        with one_thread(pool) as released:
            works = [(lambda: ran.append(1), False)] * 50
            waiting = asyncio.ensure_future(pool.run_all(works, owner="ann"))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            released.set()

    asyncio.run(run())
    pool.close()
    assert ran == []


def test_closing_calls_off_what_waits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(work_pool, "CLOSE_SECONDS", 0.1)
    pool = WorkPool(workers=2, queue=10)

    async def run() -> None:
        with one_thread(pool):
            waiting = asyncio.ensure_future(pool.run(lambda: None, owner="ann"))
            await asyncio.sleep(0)
            await asyncio.to_thread(pool.close)
            await waiting

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run())
    with pytest.raises(Refusal, match="stopped"):
        asyncio.run(pool.run(lambda: None, owner="ann"))
