"""Where many tasks are done: processes of this machine, or the workers of a Ray cluster.

A worker is a process with its cores that does one task after the other, and keeps what its modules
hold. A task whose worker is killed is done again: what it writes has to stand that.
"""

import logging
import multiprocessing
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from tumorlens.errors import ExecutorError, MissingExtraError, SettingsError
from tumorlens.progress import Progress

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T, Progress], R]  # picklable: a function of a module, or a record that is called
LOCAL, RAY = "local", "ray"
MAX_TRIES = 3  # of a task whose worker is killed, before it is given up
WATCH_SECONDS = 0.5
OBJECT_STORE_BYTES = 2**27  # of a cluster of our own: tasks and their results are small


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """What came of one task: its result, or its error."""

    task: T
    result: R | None = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Underway(Generic[T]):
    """What one worker does now, and how far it is."""

    worker: int  # from 0
    task: T
    done: int
    total: int  # 0: not known yet


Watch = Callable[[Sequence[Underway[Any]]], None]


def unwatched(_underway: Sequence[Underway[Any]]) -> None:
    """Look at nothing."""


class Worker(Protocol):
    """One process that does one task at a time."""

    def start(self, *, again: bool = False) -> Future[Any]:
        """Make the process unless it is there; `again`: in place of one that was killed.

        The future ends when it is ready.
        """
        ...

    def submit(self, work: Work[Any, Any], task: Any) -> Future[Any]:
        """Begin a task."""
        ...

    def progress(self) -> tuple[int, int]:
        """Return how much of its task is done, of how much."""
        ...

    def stop(self) -> None:
        """End the process."""
        ...


@dataclass(frozen=True)
class Executor:
    """Workers that are there until the block of `open_executor` ends."""

    workers: Sequence[Worker]
    deaths: tuple[type[BaseException], ...]  # what a future raises whose worker was killed

    def map(
        self, work: Work[T, R], tasks: Iterable[T], *, watch: Watch = unwatched
    ) -> Iterator[Outcome[T, R]]:
        """Do tasks, and yield what came of each as it ends; errors are outcomes.

        A task is taken from the iterable only where a worker is free and what came before was
        yielded. `watch` sees what is under way about twice a second.
        """
        return _Schedule(self, work, iter(tasks), watch).run()


class _Schedule(Generic[T, R]):
    """Which worker does what, while tasks are done."""

    def __init__(
        self, executor: Executor, work: Work[T, R], tasks: Iterator[T], watch: Watch
    ) -> None:
        self._executor, self._work, self._tasks, self._watch = executor, work, tasks, watch
        self._again: list[tuple[T, int]] = []  # whose worker was killed, with the next try
        self._running: dict[Future[Any], tuple[int, T, int]] = {}  # worker, task, try
        self._starting: dict[Future[Any], int] = {}
        self._idle: list[int] = []
        self._failed_starts = [0] * len(executor.workers)  # in a row

    def run(self) -> Iterator[Outcome[T, R]]:
        for number in range(len(self._executor.workers)):
            self._start(number)
        while self._assign():
            ended, _ = wait((*self._running, *self._starting), WATCH_SECONDS, FIRST_COMPLETED)
            for future in ended:
                if future in self._starting:
                    self._settle_start(future)
                    continue
                outcome = self._settle(future)
                if outcome is not None:
                    yield outcome
            self._watch([
                Underway(number, task, *self._executor.workers[number].progress())
                for number, task, _ in self._running.values()
            ])  # fmt: skip

    def _assign(self) -> bool:
        """Hand each idle worker a task; return whether anything is still to come."""
        while self._idle:
            waiting = self._again.pop(0) if self._again else _first(self._tasks)
            if waiting is None:
                break
            task, tried = waiting
            number = self._idle.pop(0)
            future = self._executor.workers[number].submit(self._work, task)
            self._running[future] = (number, task, tried)
        return bool(self._running or not self._idle)

    def _start(self, number: int, *, again: bool = False) -> None:
        self._starting[self._executor.workers[number].start(again=again)] = number

    def _settle_start(self, future: Future[Any]) -> None:
        number, error = self._starting.pop(future), future.exception()
        if error is None:
            self._failed_starts[number] = 0
            self._idle.append(number)
            return
        self._failed_starts[number] += 1
        if self._failed_starts[number] == MAX_TRIES:
            raise ExecutorError(f"worker {number}", f"cannot start ({error})", _FIX) from error
        self._start(number, again=True)

    def _settle(self, future: Future[Any]) -> Outcome[T, R] | None:
        """Return what came of a task, None of one that is done again."""
        error = future.exception()
        number, task, tried = self._running.pop(future)
        if not isinstance(error, self._executor.deaths):
            self._idle.append(number)
            return Outcome(task, None if error else future.result(), _cause_of(error))
        self._start(number, again=True)
        if tried < MAX_TRIES:
            self._again.append((task, tried + 1))
            return None
        fact = f"was killed {MAX_TRIES} times at the same task, most often for want of memory"
        return Outcome(task, error=ExecutorError(f"worker {number}", fact, _FIX))


_FIX = "Free memory or take fewer workers, and run it again: what is done stays."


def _first(tasks: Iterator[T]) -> tuple[T, int] | None:
    """Return the next task with the number of its try; None where there is no more."""
    return next(((task, 1) for task in tasks), None)


def _cause_of(error: BaseException | None) -> BaseException | None:
    """Return what a task itself raised, where its executor wraps it."""
    return getattr(error, "cause", None) or error


def available_cores() -> int:
    """Return how many cores this process may use, which a container or Slurm may bound."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def open_executor(
    on: str = LOCAL, *, workers: int | None = None, cores: int = 1
) -> Iterator[Executor]:
    """Yield workers on this machine ("local") or on Ray, each with its `cores`.

    "ray" is the cluster in RAY_ADDRESS, or a new one on this machine, on loopback; "ray://HOST:PORT"
    is a cluster seen through its client port. Without `workers` there are as many as cores allow.
    """
    if on == LOCAL:
        executor = _open_local(workers or max(1, available_cores() // cores))
    elif on == RAY or on.startswith(f"{RAY}://"):
        executor = _open_ray("" if on == RAY else on, workers, cores)
    else:
        raise SettingsError(on, "is no executor", "Name local, ray or ray://HOST:PORT.")
    with executor as found:
        yield found


@contextmanager
def _open_local(workers: int) -> Iterator[Executor]:
    found = [_LocalWorker() for _ in range(workers)]
    try:
        yield Executor(found, (BrokenProcessPool,))
    finally:
        for worker in found:
            worker.stop()


class _LocalWorker:
    """A fresh process, in a pool of its own: one that is killed takes no other with it."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._counts = self._context.RawArray("q", 2)  # without a lock, which a kill could keep
        self._pool: ProcessPoolExecutor | None = None

    def start(self, *, again: bool = False) -> Future[Any]:
        if again or self._pool is None:
            self.stop()
            self._pool = ProcessPoolExecutor(1, self._context, _begin, (self._counts,))
        return self._submit(os.getpid)

    def submit(self, work: Work[Any, Any], task: Any) -> Future[Any]:
        self._counts[:] = (0, 0)
        return self._submit(_do, work, task)

    def _submit(self, function: Callable[..., Any], *given: Any) -> Future[Any]:
        assert self._pool is not None
        try:
            return self._pool.submit(function, *given)
        except BrokenProcessPool as error:  # killed while it had nothing to do
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

    def progress(self) -> tuple[int, int]:
        done, total = self._counts
        return done, total

    def stop(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        for process in tuple((pool._processes or {}).values()):
            process.terminate()  # what it does is done again, or nobody waits for it
        pool.shutdown(cancel_futures=True)


_counts: Any = None  # of this process, where it is a worker


def _begin(counts: Any) -> None:
    """Make this process a worker, which ends when the process that started it is gone."""
    global _counts  # noqa: PLW0603
    _counts = counts
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it decides
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _do(work: Work[T, R], task: T) -> R:
    return work(task, _report)


def _report(done: int, total: int) -> None:
    _counts[:] = (done, total)


@contextmanager
def _open_ray(address: str, workers: int | None, cores: int) -> Iterator[Executor]:
    ray = _load_ray(address)
    try:
        found = workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // cores)
        actor = _actor_class(ray, cores)
        yield Executor([_RayWorker(ray, actor) for _ in range(found)], _deaths(ray))
    finally:
        ray.shutdown()


def _load_ray(address: str) -> Any:
    """Connect to a cluster, or start one on loopback, with a token unless RAY_AUTH_MODE differs."""
    address = address or os.environ.get("RAY_ADDRESS", "")
    defaults = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    if not address:
        # This one makes Ray take 127.0.0.1 for its own address, on every system.
        defaults["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        if not (os.environ.get("RAY_AUTH_TOKEN_PATH") or _TOKEN_FILE.expanduser().exists()):
            defaults["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if "ray" not in sys.modules:  # it reads its environment as it is imported
        for name, value in defaults.items():
            os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError as e:
        fix = 'Install it: pip install "tumorlens[scale]".'
        raise MissingExtraError("ray", "is not installed", fix) from e
    own = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    options = {} if address else own
    for tries_left in (0,) if address else (1, 0):  # a busy machine may be too slow for its limits
        try:
            ray.init(
                address or "local", log_to_driver=False, logging_level=logging.WARNING, **options
            )
            break
        except Exception as e:
            ray.shutdown()
            if not tries_left:
                raise _unreachable(address, e) from e
    return ray


def _unreachable(address: str, error: Exception) -> ExecutorError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    fact = f"cannot be reached ({reason})"
    if address:
        fix = "Check the address, and that RAY_AUTH_TOKEN is the token of the cluster."
        if address.startswith("ray://"):
            fix += " With tokens, start the head with GRPC_ENABLE_FORK_SUPPORT=0."
        return ExecutorError(address, fact, fix)
    return ExecutorError("Ray on this machine", fact, "Try it again when the machine is less busy.")


_TOKEN_FILE = Path("~/.ray/auth_token")


def _deaths(ray: Any) -> tuple[type[BaseException], ...]:
    errors = ray.exceptions
    return errors.RayActorError, errors.WorkerCrashedError, errors.OutOfMemoryError


def _actor_class(ray: Any, cores: int) -> Any:
    # Two calls at once: a task, and the question how far it is.
    return ray.remote(num_cpus=cores, max_concurrency=2, max_restarts=0)(_RayTasks)


class _RayTasks:
    """What lives in a worker of Ray."""

    def __init__(self) -> None:
        self._done = (0, 0)

    def ready(self) -> int:
        return os.getpid()

    def run(self, work: Work[T, R], task: T) -> R:
        self._report(0, 0)
        return work(task, self._report)

    def _report(self, done: int, total: int) -> None:
        self._done = (done, total)

    def progress(self) -> tuple[int, int]:
        return self._done


class _RayWorker:
    """An actor, which Ray places where its cores are free."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._class, self._actor = ray, actor, None
        self._asked: Future[Any] | None = None
        self._known = (0, 0)

    def start(self, *, again: bool = False) -> Future[Any]:
        if again or self._actor is None:
            self.stop()
            self._actor, self._asked = self._class.remote(), None
        return self._actor.ready.remote().future()

    def submit(self, work: Work[Any, Any], task: Any) -> Future[Any]:
        assert self._actor is not None
        self._known = (0, 0)
        return self._actor.run.remote(work, task).future()

    def progress(self) -> tuple[int, int]:
        """Return what was last heard, and ask again: nobody waits for an answer."""
        assert self._actor is not None
        asked = self._asked
        if asked is not None and asked.done():
            self._known = self._known if asked.exception() else asked.result()
        if asked is None or asked.done():
            self._asked = self._actor.progress.remote().future()
        return self._known

    def stop(self) -> None:
        if self._actor is not None:
            self._ray.kill(self._actor)
