"""What a run reports to an experiment tracker: MLflow, TensorBoard, or Weights & Biases.

Nothing is reported unless it is asked for, and then figures, the recipe and the bundle alone: no
scan, no path, no table of scans. A tracker that fails while a run is under way ends nothing: the
folder of the run holds the same figures.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from tumorlens import __version__
from tumorlens.errors import TrackingError
from tumorlens.files import write_file
from tumorlens.models.bundle import Bundle
from tumorlens.progress import TrainingCallback
from tumorlens.records import Estimate
from tumorlens.study.tracking.trackers import TRACKERS, Tracker

RUN_FILE = "tracking.json"  # which run of a tracker goes on after a kill
Values = Mapping[str, Any]
_NOT_IN_NAMES = re.compile(r"[^\w\-. /]")
# None of them calls home, and none holds a run up for minutes.
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "WANDB_ERROR_REPORTING": "false",
}


class TrackedRun:
    """A run as a tracker hears of it, from `start` on; without a tracker nobody does."""

    def __init__(
        self,
        tracker: str,
        *,
        name: str,
        out: Path,
        resume: bool = False,
        warn: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """Load the tracker's library; raises ModuleNotFoundError where it is not installed."""
        self._kind, self._name, self._out = tracker, name, out
        self._resume, self._warn = resume, warn
        self._tracker: Tracker | None = None
        if tracker:
            for variable, value in _DEFAULTS.items():
                os.environ.setdefault(variable, value)
            import_module(TRACKERS[tracker][0])

    def start(self, parameters: Values) -> None:
        """Open the run, or the one that a kill broke off. Raises TrackingError."""
        if not self._kind or self._tracker:
            return
        kept = _kept_runs(self._out) if self._resume else {}
        kind, run_id = TRACKERS[self._kind][1], kept.get(self._kind, "")
        try:
            self._tracker = kind(self._name, out=self._out, run_id=run_id)
        except kind.failures() as e:
            fix = "Check where it writes to, or go on without --log."
            raise TrackingError(self._kind, f"cannot open a run ({_first_line(e)})", fix) from e
        if self._tracker.id:
            known = {**kept, self._kind: self._tracker.id}
            write_file(self._out / RUN_FILE, json.dumps(known, indent=1) + "\n")
        self.log_parameters({"tumorlens": __version__, **parameters})

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """End the run, as one that failed where something was raised."""
        self._report(lambda tracker: tracker.close(is_complete=kind is None))

    def log_parameters(self, values: Values) -> None:
        """Log what was decided; of nested values each by its own name."""
        self._report(lambda tracker: tracker.log_parameters(dict(_flat(values))))

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Log a row of history.csv."""
        self._report(lambda tracker: tracker.log_metrics(*_of_epoch(row)))

    def log_metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Log plain figures."""
        self._report(lambda tracker: tracker.log_metrics(values, step))

    def log_figures(self, record: object) -> None:
        """Log every estimate of a record, with its interval and its n."""
        self.log_metrics(figures_of(record))

    def log_bundle(self, bundle: Bundle) -> None:
        """Log a bundle: its version, what validation showed, and its files."""
        self.log_parameters({"bundle": bundle.version})
        self.log_figures({"validation": bundle.performance})
        self._report(lambda tracker: tracker.log_bundle(bundle))

    def log_child(
        self,
        name: str,
        *,
        parameters: Values,
        history: Iterable[Mapping[str, float]] = (),
        figures: object = None,
    ) -> None:
        """Log a run inside this one that has ended: a trial, a fold."""

        def report(tracker: Tracker) -> None:
            inner = tracker.child(name)
            inner.log_parameters(dict(_flat(parameters)))
            for row in history:
                inner.log_metrics(*_of_epoch(row))
            inner.log_metrics(figures_of(figures), 0)
            inner.close(is_complete=True)

        self._report(report)

    def listening(self, callback: TrainingCallback) -> TrainingCallback:
        """Return a callback that also logs each epoch."""
        return _LoggingCallback(callback, self) if self._kind else callback

    def _report(self, report: Callable[[Tracker], None]) -> None:
        """Report to the tracker, until it fails for the first time."""
        if not self._tracker:
            return
        try:
            report(self._tracker)
        except self._tracker.failures() as e:
            self._tracker = None
            lost = f"{self._kind} hears no more of this run ({_first_line(e)})"
            self._warn(f"{lost}; {self._out} holds all of it")


class _LoggingCallback:
    """Hands on, and logs each epoch."""

    def __init__(self, callback: TrainingCallback, run: TrackedRun) -> None:
        self._callback, self._run = callback, run

    def on_batch_end(self, epoch: int, done: int, total: int, loss: float) -> None:
        """Hand on."""
        self._callback.on_batch_end(epoch, done, total, loss)

    def on_epoch_end(self, row: Mapping[str, float], is_best: bool) -> None:
        """Hand on, and log."""
        self._callback.on_epoch_end(row, is_best)
        self._run.log_epoch(row)


def figures_of(record: object, name: str = "") -> dict[str, float]:
    """Return every estimate inside a record or mapping, as `NAME`, `NAME_low`, `_high` and `_n`.

    Names are joined by slashes; what could not be measured is left out.

    >>> figures_of({"test": {"auc": Estimate(0.9, 0.8, 0.95, 40)}})
    {'test/auc': 0.9, 'test/auc_low': 0.8, 'test/auc_high': 0.95, 'test/auc_n': 40}
    """
    if isinstance(record, Estimate):
        ends = {"": record.value, "_low": record.low, "_high": record.high, "_n": record.n}
        known = {name + end: value for end, value in ends.items() if value is not None}
        return known if record.value is not None and math.isfinite(record.value) else {}
    inside = record if isinstance(record, Mapping) else {}
    if is_dataclass(record):
        inside = {part.name: getattr(record, part.name) for part in fields(record)}
    return {
        key: value
        for part, held in inside.items()
        for key, value in figures_of(held, _joined(name, part)).items()
    }


def _joined(name: str, part: object) -> str:
    return f"{name}/{_NOT_IN_NAMES.sub('_', str(part))}".lstrip("/")


def _flat(values: Values, name: str = "") -> Iterator[tuple[str, str]]:
    for part, held in values.items():
        joined = f"{name}.{part}".lstrip(".")
        if isinstance(held, Mapping):
            yield from _flat(held, joined)
        else:
            yield joined, str(held)[:500]  # as many characters as every version of MLflow takes


def _of_epoch(row: Mapping[str, float]) -> tuple[dict[str, float], int]:
    """Return what an epoch showed, as far as it could be measured, and its number."""
    values = {name: value for name, value in row.items() if math.isfinite(value)}
    return values, int(values.pop("epoch", 0))


def _kept_runs(out: Path) -> dict[str, str]:
    try:
        return dict(json.loads((out / RUN_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
