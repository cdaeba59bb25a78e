"""Works off waiting scans, one after the other, whenever no request needs the processor more."""

import threading
import time

from tumorlens.errors import TumorlensError
from tumorlens.predictions.predictor import Predictor
from tumorlens.services.http.log import log
from tumorlens.services.http.problems import log_failure
from tumorlens.services.http.work_pool import WorkPool
from tumorlens.services.store.audit_log import days_ago
from tumorlens.services.store.database import Store
from tumorlens.services.store.history import NewPrediction, expire_predictions
from tumorlens.services.store.jobs import JobScan, save_answers, waiting_scans
from tumorlens.settings import Settings

IDLE_SECONDS = 2.0  # between looks: another service may have left work behind
POLITE_SECONDS = 0.1  # that a waiting scan lets requests pass, at most
RETENTION_SECONDS = 3600.0


class BatchRunner:
    """One thread with a list that is in the store: what a kill leaves behind is found again."""

    def __init__(
        self, predictor: Predictor, store: Store, pool: WorkPool, *, settings: Settings
    ) -> None:
        self._predictor, self._store, self._pool = predictor, store, pool
        self._settings = settings
        self._is_stopping = False
        self._bell = threading.Event()
        self._cleaned = -RETENTION_SECONDS
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for work now."""
        self._bell.set()

    def close(self) -> None:
        """Finish the scan at hand; the rest waits for the next start."""
        self._is_stopping = True
        self._bell.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._is_stopping:
            try:
                self._expire()
                is_idle = not self._answer_some()
            except TumorlensError as error:
                log("batches wait", error=type(error).__name__, fact=error.fact)
                is_idle = True
            except Exception as error:  # noqa: BLE001 (the edge: this thread must live)
                log_failure(error)
                is_idle = True
            if is_idle:
                self._bell.wait(IDLE_SECONDS)
                self._bell.clear()

    def _answer_some(self) -> bool:
        waiting = waiting_scans(self._store)
        answers = []
        for item in waiting:
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

    def _expire(self) -> None:
        """Remove what is older than retention allows, once an hour."""
        days = self._settings.retention_days
        if not days or time.monotonic() - self._cleaned < RETENTION_SECONDS:
            return
        self._cleaned = time.monotonic()
        count = expire_predictions(self._store, before=days_ago(days))
        if count:
            log("expired", predictions=count)
