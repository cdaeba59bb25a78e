"""What Prometheus may know: requests by route, scans by step, transactions, the queue."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tumorlens.records import Prediction
from tumorlens.services.http.work_pool import WorkPool

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30)


class Metrics:
    """The service's own figures, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "tumorlens_request_seconds", "Time of a request, from its headers to its answer.",
            ["route", "method", "status"], buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._answers = Counter(
            "tumorlens_predictions", "Answers by decision; none: unusable.",
            ["decision", "modality"], registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "tumorlens_step_seconds", "Time of one scan by step.", ["step"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._groups = Histogram(
            "tumorlens_commit_rows", "Answers written in one transaction.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), registry=self.registry,
        )  # fmt: skip
        self._commits = Histogram(
            "tumorlens_commit_seconds", "Time of one transaction, with waiting for the disk.",
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._taken = Gauge(
            "tumorlens_requests_in_work", "Requests being worked on or waiting.",
            registry=self.registry,
        )  # fmt: skip

    def watch(self, pool: WorkPool) -> None:
        """Read the queue of a pool whenever somebody asks."""
        self._taken.set_function(lambda: pool.taken)

    def requested(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Note one request; `route` is as written in the program, so that their number is small."""
        self._requests.labels(route, method, str(status)).observe(seconds)

    def committed(self, count: int, seconds: float) -> None:
        """Note one transaction."""
        self._groups.observe(count)
        self._commits.observe(seconds)

    def answered(self, answer: Prediction, timings: dict[str, float]) -> None:
        """Note one scan."""
        self._answers.labels(answer.decision or "none", answer.modality or "none").inc()
        for step, milliseconds in timings.items():
            self._seconds.labels(step).observe(milliseconds / 1000)
