"""What lives as long as the service: predictor, store, threads, and the way up and down."""

import time
from dataclasses import dataclass

from fastapi import Request

from tumorlens.predictions.predictor import Predictor, load_predictor
from tumorlens.predictions.self_test import check_golden
from tumorlens.services.http.authenticator import Caller, Gate
from tumorlens.services.http.batches import BatchRunner
from tumorlens.services.http.log import log
from tumorlens.services.http.metrics import Metrics
from tumorlens.services.http.problems import Refusal
from tumorlens.services.http.work_pool import WorkPool
from tumorlens.services.store.commit_queue import CommitQueue
from tumorlens.services.store.database import Store, open_store
from tumorlens.settings import Settings


@dataclass
class Service:
    """A running service."""

    settings: Settings
    predictor: Predictor
    store: Store
    commits: CommitQueue
    pool: WorkPool
    gate: Gate
    runner: BatchRunner
    metrics: Metrics
    self_test: str  # what the golden scan said
    is_open: bool = True


def start_service(settings: Settings, metrics: Metrics, *, needs_keys: bool) -> Service:
    """Load, check and open everything; raises TumorlensError where something is broken."""
    started = time.perf_counter()
    predictor = load_predictor(settings=settings)
    self_test = check_golden(predictor)
    store = open_store(settings.store)
    pool = WorkPool(workers=settings.worker_count, queue=settings.queue)
    gate = Gate(store, needs_keys=needs_keys, per_minute=settings.requests_per_minute)
    runner = BatchRunner(predictor, store, pool, settings=settings)
    commits = CommitQueue(store, in_work=lambda: pool.taken, on_commit=metrics.committed)
    metrics.watch(pool)
    log(
        "started",
        bundle=predictor.bundle.version,
        store=store.name,
        keys=needs_keys,
        workers=settings.worker_count,
        self_test=self_test,
        seconds=round(time.perf_counter() - started, 2),
    )
    return Service(settings, predictor, store, commits, pool, gate, runner, metrics, self_test)


def stop_service(service: Service) -> None:
    """Finish what was taken on, write it, and close."""
    service.is_open = False
    service.runner.close()
    service.pool.close()
    service.commits.close()
    service.store.close()
    log("stopped")


def service_of(request: Request) -> Service:
    """Give the service of a request's application."""
    return request.app.state.service


def caller_of(request: Request, scope: str) -> Caller:
    """Say who asks; raises Refusal if the scope is not open to them."""
    caller: Caller = request.scope["state"]["caller"]
    if not caller.may(scope):
        raise Refusal("not-allowed", f"It needs the scope {scope}.")
    return caller
