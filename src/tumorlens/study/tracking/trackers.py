"""Experiment trackers behind one protocol: MLflow, TensorBoard, and Weights & Biases."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tumorlens.models.bundle import Bundle
from tumorlens.predictions.mlflow_model import log_model

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
        artifact = self._wandb.Artifact(re.sub(r"[^\w\-.]", "_", bundle.name), type="model",
                                        metadata={"sha256": bundle.sha256})  # fmt: skip
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
