"""The log (a JSON object a line on standard error) and the metrics of Prometheus.

Nothing of an upload is in either: no name, no pixel, no address.
"""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tumorlens.records import Prediction

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def log(event: str, **facts: object) -> None:
    """Write one line."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"at": at, "event": event, **facts}, default=str)
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class _Lines(logging.Handler):
    """Writes what a library logs in the same form; of an exception, only its type."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        kind = record.exc_info[0] if record.exc_info else None
        named = {} if kind is None else {"error": kind.__name__}
        log("server", level=record.levelname.lower(), text=record.getMessage().strip(), **named)


def log_library(name: str) -> None:
    """Bring the warnings of a library into this log."""
    logger = logging.getLogger(name)
    logger.handlers = [_Lines()]
    logger.setLevel(logging.WARNING)
    logger.propagate = False


class Metrics:
    """Requests by route, scans by step, transactions and the queue, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        text = "Time of a request, from its headers to its answer."
        self._requests = self._histogram(
            "request_seconds", text, SECONDS, "route", "method", "status"
        )
        text = "Answers by decision; none: unusable."
        labels = ("decision", "modality")
        self._predictions = Counter("tumorlens_predictions", text, labels, registry=self.registry)
        self._steps = self._histogram("step_seconds", "Time of one scan by step.", SECONDS, "step")
        self._rows = self._histogram("commit_rows", "Answers written in one transaction.", ROWS)
        text = "Time of one transaction, with waiting for the disk."
        self._commits = self._histogram("commit_seconds", text, SECONDS)
        text = "Requests being worked on or waiting."
        self._in_work = Gauge("tumorlens_requests_in_work", text, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        name = f"tumorlens_{name}"
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def watch_queue(self, in_work: Callable[[], int]) -> None:
        """Ask for the requests in work whenever the metrics are read."""
        self._in_work.set_function(in_work)

    def count_request(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request; `route` is as written in the program, so that there are few."""
        self._requests.labels(route, method, str(status)).observe(seconds)

    def count_commit(self, rows: int, seconds: float) -> None:
        """Count one transaction."""
        self._rows.observe(rows)
        self._commits.observe(seconds)

    def count_prediction(self, prediction: Prediction, timings_ms: Mapping[str, float]) -> None:
        """Count one scan, with its time by step."""
        self._predictions.labels(prediction.decision or "none", prediction.modality or "none").inc()
        for step, milliseconds in timings_ms.items():
            self._steps.labels(step).observe(milliseconds / 1000)
