"""What a node counts, for Prometheus; no name, no id and no address is among it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from tumorlens.errors import ServiceError
from tumorlens.records import Prediction
from tumorlens.services.telemetry import SECONDS, log

ANSWER_SECONDS = (1, 2, 5, 10, 20, 60, 180, 600)
WAITING = ("series", "work", "dead")  # stages of the spool
Log = Callable[..., None]


class NodeMetrics:
    """Instances by outcome, events, what waits, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        text = "Instances that arrived, by what became of them."
        self._instances = Histogram(
            "tumorlens_node_instance_seconds", text, ["outcome"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self._events = Counter(
            "tumorlens_node_events", "Events of the log, by name.", ["event"],
            registry=self.registry,
        )  # fmt: skip
        self._answers = Histogram(
            "tumorlens_node_answer_seconds", "Time of the answer to one series.",
            buckets=ANSWER_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._predictions = Counter(
            "tumorlens_predictions", "Answers by decision; none: unusable.",
            ["decision", "modality"], registry=self.registry,
        )  # fmt: skip
        self._waiting = Gauge(
            "tumorlens_node_series_waiting", "Series on disk, by stage: growing, in work, dead.",
            ["stage"], registry=self.registry,
        )  # fmt: skip
        self._used = Gauge(
            "tumorlens_node_spool_bytes", "Bytes that the spool holds.", registry=self.registry
        )

    def watch_spool(self, root: Path, used: Callable[[], int]) -> None:
        """Count what waits in a spool whenever the metrics are read."""
        for stage in WAITING:
            folder = root / stage
            self._waiting.labels(stage).set_function(
                lambda folder=folder: sum(not p.name.startswith(".") for p in folder.iterdir())
            )
        self._used.set_function(used)

    def count_instance(self, outcome: str, seconds: float) -> None:
        """Count one instance that was offered."""
        self._instances.labels(outcome).observe(seconds)

    def count_answer(self, predictions: Iterable[Prediction], seconds: float) -> None:
        """Count one series that was answered, and its slices."""
        self._answers.observe(seconds)
        for one in predictions:
            self._predictions.labels(one.decision or "none", one.modality or "none").inc()

    def counted(self, write: Log = log) -> Log:
        """Return a log that counts each event before it is written."""

        def counting(event: str, **facts: object) -> None:
            self._events.labels(event).inc()
            write(event, **facts)

        return counting


@dataclass(frozen=True)
class MetricsServer:
    """A running server of `/metrics`."""

    port: int
    close: Callable[[], None]


def serve_metrics(metrics: NodeMetrics, host: str, port: int) -> MetricsServer:
    """Answer `/metrics` from now on; raises ServiceError where the port is taken."""
    try:
        server, thread = start_http_server(port, addr=host, registry=metrics.registry)
    except OSError as e:
        fact = f"cannot be listened on ({e.strerror})"
        raise ServiceError(f"{host}:{port}", fact, "Name another with --metrics.") from e

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return MetricsServer(server.server_port, close)
