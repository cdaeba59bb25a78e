"""What lives as long as the service: predictor, store, threads, and the way up and down."""

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastapi import Request

from tumorlens.errors import TumorlensError
from tumorlens.predictions.predictor import Predictor, check_self_test, load_predictor
from tumorlens.services.decoder import Decoders
from tumorlens.services.http.authenticator import Authenticator, Caller
from tumorlens.services.http.problems import Refusal, log_failure
from tumorlens.services.http.work_pool import SHARE, WorkPool
from tumorlens.services.scan_reader import ScanReader
from tumorlens.services.store.audit_log import check_signed
from tumorlens.services.store.commit_queue import CommitQueue
from tumorlens.services.store.database import Store, is_writable, open_store
from tumorlens.services.store.history import NewPrediction
from tumorlens.services.store.jobs import JobScan, save_answers, waiting_scans
from tumorlens.services.store.upkeep import HourlyUpkeep
from tumorlens.services.telemetry import Metrics, log
from tumorlens.settings import ReadLimits, Settings

if TYPE_CHECKING:
    from tumorlens.services.answer_process import AnswerProcess

IDLE_SECONDS = 2.0  # between looks for batches: another service may have left work behind
POLITE_SECONDS = 0.1  # that a waiting scan lets requests pass, at most
CLOSE_SECONDS = 5.0
CHECK_SECONDS = 1.0
SERIES_BYTES, SERIES_SECONDS = 2 * 2**30, 300.0  # of a DICOM series that is answered at once
VOLUME_SHARE = 2  # pixels of all slices of a volume, by those of the largest image


class BatchRunner:
    """Works off the batches of the store, scan by scan, whenever requests leave the processor free.

    The list of what waits is in the store: what a kill leaves behind is found again.
    """

    def __init__(
        self, predictor: Predictor, store: Store, pool: WorkPool, *, settings: Settings
    ) -> None:
        self._predictor, self._store, self._pool = predictor, store, pool
        self._settings = settings
        self._is_stopping = False
        self._wake = threading.Event()
        self._upkeep = HourlyUpkeep(store, settings, log)
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    def close(self) -> None:
        """Finish the scan at hand; the rest waits for the next start."""
        self._is_stopping = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)

    def _work(self) -> None:
        while not self._is_stopping:
            is_idle = True
            try:
                self._upkeep.run_if_due()
                is_idle = not self._answer_some()
            except TumorlensError as error:
                log("batches wait", error=type(error).__name__, fact=error.fact)
            except Exception as error:  # noqa: BLE001 (the edge: this thread must live)
                log_failure(error)
            if is_idle:
                self._wake.wait(IDLE_SECONDS)
                self._wake.clear()

    def _answer_some(self) -> bool:
        answers = []
        for item in waiting_scans(self._store):
            if self._is_stopping:
                break
            self._let_requests_pass()
            answers.append(self._answer(item))
        if answers:
            save_answers(self._store, answers)
        return bool(answers)

    def _answer(self, item: JobScan) -> NewPrediction:
        started = time.perf_counter()
        prediction = self._predictor.predict_prepared([item.scan], heatmaps=True)[0]
        return NewPrediction(
            prediction=prediction,
            input_sha256=item.input_sha256,
            bundle_sha256=self._predictor.bundle.sha256,
            owner=item.owner,
            source="batch",
            timings={"predict": 1000 * (time.perf_counter() - started)},
            keep=self._settings.keep_images,
            job=item.job,
            position=item.position,
        )

    def _let_requests_pass(self) -> None:
        end = time.monotonic() + POLITE_SECONDS
        while self._pool.is_busy and time.monotonic() < end:
            time.sleep(0.005)


class StoreCheck:
    """Whether the store takes writes: by a write, once a second at most, whoever asks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._found, self._until = True, 0.0

    def is_writable(self) -> bool:
        """Return whether a write has succeeded within the last second."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._found = is_writable(self._store)
                self._until = time.monotonic() + CHECK_SECONDS
            return self._found


@dataclass
class Service:
    """A running service."""

    settings: Settings
    predictor: Predictor
    store: Store
    store_check: StoreCheck
    commits: CommitQueue
    pool: WorkPool
    decoders: Decoders
    reader: ScanReader  # of slices that are looked at; it starts with the first
    authenticator: Authenticator
    batches: BatchRunner
    metrics: Metrics
    series: "AnswerProcess | None"  # answers DICOM series, where a spool is set
    self_test: str  # how the answer to the bundle's own test scan compares
    is_open: bool = True


def start_service(settings: Settings, metrics: Metrics, *, needs_keys: bool) -> Service:
    """Load, check and open everything; raises TumorlensError where something is broken."""
    started = time.perf_counter()
    share = SHARE if needs_keys else 1.0
    pool = WorkPool(workers=settings.worker_count, queue=settings.queue, share=share)
    decoders = Decoders(
        count=pool.workers, limits=_read_limits(settings), seconds=settings.decode_seconds
    )
    predictor = load_predictor(settings=settings)
    self_test = check_self_test(predictor)
    store = open_store(settings.store, audit_key=settings.audit_key)
    check_signed(store)
    metrics.watch_queue(lambda: pool.taken)
    service = Service(
        settings=settings,
        predictor=predictor,
        store=store,
        store_check=StoreCheck(store),
        commits=CommitQueue(store, in_work=lambda: pool.taken, on_commit=metrics.count_commit),
        pool=pool,
        decoders=decoders,
        reader=ScanReader(settings.read_limits),
        authenticator=Authenticator(store, settings.requests_per_minute, needs_keys=needs_keys),
        batches=BatchRunner(predictor, store, pool, settings=settings),
        metrics=metrics,
        series=_series_process(settings),
        self_test=self_test,
    )
    seconds = round(time.perf_counter() - started, 2)
    log(
        "started", bundle=predictor.bundle.version, store=store.name, keys=needs_keys,
        workers=settings.worker_count, self_test=self_test, seconds=seconds,
    )  # fmt: skip
    return service


def _series_process(settings: Settings) -> "AnswerProcess | None":
    if not settings.spool:
        return None
    from tumorlens.services.answer_process import AnswerProcess  # it needs the extra [dicom]

    return AnswerProcess(settings, memory=SERIES_BYTES, seconds=SERIES_SECONDS)


def _read_limits(settings: Settings) -> ReadLimits:
    """Return limits of files from outside: a volume takes no more memory than a large image."""
    limits = settings.read_limits
    pixels = VOLUME_SHARE * limits.max_pixels
    return replace(limits, max_volume_pixels=pixels, max_volume_bytes=limits.max_bytes)


def stop_service(service: Service) -> None:
    """Call off what nobody waits for any more, write what was answered, and close."""
    service.is_open = False
    service.decoders.close()
    service.reader.close()
    if service.series is not None:
        service.series.close()
    service.pool.close()
    service.batches.close()
    service.commits.close()
    service.store.close()
    log("stopped")


def service_of(request: Request) -> Service:
    """Return the service of a request's application."""
    return request.app.state.service


def caller_of(request: Request, *scopes: str) -> Caller:
    """Return who asks; raises Refusal if none of the scopes is open to them."""
    caller: Caller = request.scope["state"]["caller"]
    if not any(map(caller.may, scopes)):
        raise Refusal("not-allowed", f"It needs the scope {' or '.join(scopes)}.")
    return caller
