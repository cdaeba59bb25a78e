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
from typing import Any, Protocol, Self

from tumorlens import __version__
from tumorlens.errors import TrackingError
from tumorlens.files import write_file
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.mlflow_model import log_model
from tumorlens.progress import TrainingCallback
from tumorlens.records import Estimate

PROJECT = "tumorlens"


class Tracker(Protocol):
    """One run in a tracker."""

    id: str  # by which it is found again; "" where its folder is enough

    @staticmethod
    def failures() -> tuple[type[Exception], ...]:
        """Return what its library raises."""
        ...

    def log_parameters(self, values: Mapping[str, str]) -> None:
        """Keep what was decided before."""

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Keep what was measured."""

    def log_bundle(self, bundle: Bundle) -> None:
        """Keep the bundle that came of it."""

    def child(self, name: str) -> "Tracker":
        """Open a run inside this one, as of a trial or a fold."""
        ...

    def close(self, *, is_complete: bool) -> None:
        """End the run."""


class MlflowRun:
    """A run in MLflow, where MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say."""

    def __init__(self, name: str, *, out: Path, run_id: str = "", parent: str = "") -> None:
        import mlflow
        from mlflow.exceptions import MlflowException

        self._mlflow, self._out = mlflow, out
        if not os.environ.get("MLFLOW_EXPERIMENT_NAME", os.environ.get("MLFLOW_EXPERIMENT_ID")):
            mlflow.set_experiment(PROJECT)
        tags = {"mlflow.parentRunId": parent} if parent else None
        try:
            run = mlflow.start_run(run_id or None, run_name=name, nested=bool(parent), tags=tags)
        except MlflowException:
            if not run_id:
                raise
            run = mlflow.start_run(run_name=name)  # it was of another server, or is deleted
        self.id, self._known = run.info.run_id, run.data.params

    @staticmethod
    def failures() -> tuple[type[Exception], ...]:
        """Return what MLflow raises."""
        from mlflow.exceptions import MlflowException

        return MlflowException, OSError

    def log_parameters(self, values: Mapping[str, str]) -> None:
        """Keep what was decided before; what a run that goes on has already stays."""
        new = {name: value for name, value in values.items() if name not in self._known}
        self._mlflow.log_params(new)

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Keep what was measured."""
        self._mlflow.log_metrics(dict(values), step=step)

    def log_bundle(self, bundle: Bundle) -> None:
        """Keep the bundle as a model that answers as `tumorlens predict` does."""
        log_model(bundle)

    def child(self, name: str) -> "MlflowRun":
        """Open a nested run."""
        return MlflowRun(name, out=self._out, parent=self.id)

    def close(self, *, is_complete: bool) -> None:
        """End the run."""
        self._mlflow.end_run("FINISHED" if is_complete else "FAILED")


class TensorBoardRun:
    """Events for TensorBoard, in the folder `tensorboard` of the run."""

    id = ""

    def __init__(self, name: str, *, out: Path, run_id: str = "", folder: str = "") -> None:
        from tensorboardX import SummaryWriter

        self._out, self._folder = out, folder
        self._writer = SummaryWriter(str(out / "tensorboard" / folder))

    @staticmethod
    def failures() -> tuple[type[Exception], ...]:
        """Return what writing raises."""
        return (OSError,)

    def log_parameters(self, values: Mapping[str, str]) -> None:
        """Keep what was decided before, as a table of the tab "text"."""
        rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
        self._writer.add_text("parameters", f"| parameter | value |\n|---|---|\n{rows}")

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Keep what was measured."""
        for name, value in values.items():
            self._writer.add_scalar(name.replace(" ", "_"), value, step)
        self._writer.flush()

    def log_bundle(self, bundle: Bundle) -> None:
        """Keep which bundle it is: event files hold no other files."""
        self._writer.add_text("bundle", f"{bundle.version}, sha256 {bundle.sha256}")

    def child(self, name: str) -> "TensorBoardRun":
        """Write into a folder inside, which TensorBoard shows as a run."""
        return TensorBoardRun(name, out=self._out, folder=name)

    def close(self, *, is_complete: bool) -> None:
        """Write what is left."""
        self._writer.close()


class WandbRun:
    """A run in Weights & Biases: offline, in the folder `wandb` of the run, unless WANDB_MODE."""

    def __init__(self, name: str, *, out: Path, run_id: str = "", group: str = "") -> None:
        import wandb

        self._wandb, self._out = wandb, out
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=name, dir=str(out),
            id=run_id or None, resume="allow" if run_id else None, group=group or None,
            mode=os.environ.get("WANDB_MODE", "offline"), reinit="create_new",  # pyright: ignore
            # What is typed on the command line, and the console, may name patients.
            settings=wandb.Settings(
                console="off", silent=True, disable_git=True, disable_code=True,
                x_disable_meta=True, x_disable_stats=True,
            ),
        )  # fmt: skip
        self.id = self._run.id

    @staticmethod
    def failures() -> tuple[type[Exception], ...]:
        """Return what Weights & Biases raises."""
        import wandb

        return wandb.Error, OSError

    def log_parameters(self, values: Mapping[str, str]) -> None:
        """Keep what was decided before."""
        self._run.config.update(dict(values), allow_val_change=True)

    def log_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Keep what was measured, with the epoch beside it."""
        self._run.log({**values, "epoch": step})

    def log_bundle(self, bundle: Bundle) -> None:
        """Keep the bundle as an artifact of type "model"."""
        artifact = self._wandb.Artifact(
            re.sub(r"[^\w\-.]", "_", bundle.name), type="model", metadata={"sha256": bundle.sha256}
        )
        artifact.add_dir(str(bundle.folder))
        self._run.log_artifact(artifact)

    def child(self, name: str) -> "WandbRun":
        """Open a run of the same group."""
        return WandbRun(name, out=self._out, group=self.id)

    def close(self, *, is_complete: bool) -> None:
        """End the run."""
        self._run.finish(exit_code=0 if is_complete else 1)


# Name -> its library, and what opens a run.
TRACKERS: Mapping[str, tuple[str, type[MlflowRun | TensorBoardRun | WandbRun]]] = {
    "mlflow": ("mlflow", MlflowRun),
    "tensorboard": ("tensorboardX", TensorBoardRun),
    "wandb": ("wandb", WandbRun),
}


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
    ) -> None:
        """Log a run inside this one that has ended: a trial, a fold."""

        def report(tracker: Tracker) -> None:
            inner = tracker.child(name)
            inner.log_parameters(dict(_flat(parameters)))
            for row in history:
                inner.log_metrics(*_of_epoch(row))
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
