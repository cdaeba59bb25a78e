"""What runs report to trackers, and what they keep to themselves."""

import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest
from support.waiting import wait_until

from tumorlens.errors import TrackingError
from tumorlens.predictions.document import table_row
from tumorlens.predictions.predictor import SELF_TEST, Predictor
from tumorlens.progress import SilentCallback
from tumorlens.records import Estimate
from tumorlens.study import tracking
from tumorlens.study.tracking import TrackedRun, figures_of

ROW = {"epoch": 2.0, "loss": 0.5, "val_loss": 0.25, "val_auc_ct": float("nan")}
RECIPE = {"recipe": {"name": "quick", "options": {"stem": 8}}, "split": "d910"}


class Epochs(SilentCallback):
    """Counts epochs."""

    count = 0

    def on_epoch_end(self, row, is_best):
        self.count += 1


class FakeTracker:
    """Keeps what it hears, and can fail."""

    id = ""
    opened: ClassVar[list["FakeTracker"]] = []

    def __init__(self, name: str, *, out: Path, run_id: str = "") -> None:
        if name == "unreachable":
            raise ConnectionError("nobody listens\nand more")
        self.name, self.heard, self.children = name, [], []
        self.opened.append(self)

    @staticmethod
    def failures():
        return (OSError,)

    def log_parameters(self, values):
        self.heard.append(values)

    def log_metrics(self, values, step):
        if values.get("loss") == 0:
            raise TimeoutError("no answer")
        self.heard.append((values, step))

    def log_bundle(self, bundle):
        self.heard.append(bundle)

    def child(self, name):
        self.children.append(FakeTracker(name, out=Path()))
        return self.children[-1]

    def close(self, *, is_complete):
        self.heard.append(is_complete)


@pytest.fixture
def fake(monkeypatch) -> type[FakeTracker]:
    monkeypatch.setitem(tracking.TRACKERS, "fake", ("json", FakeTracker))
    monkeypatch.setattr(FakeTracker, "opened", [])
    return FakeTracker


def test_each_estimate_is_logged_with_interval_and_n_and_what_was_not_measured_is_not():
    found = figures_of(
        {
            "mri": {"auc": Estimate(0.9, 0.8, 0.95, 40)},
            "a(b)": Estimate(float("nan"), None, None, 3),
        }
    )
    assert found == {"mri/auc": 0.9, "mri/auc_low": 0.8, "mri/auc_high": 0.95, "mri/auc_n": 40}


def test_a_run_hears_of_nested_parameters_of_epochs_and_of_its_end(fake, tmp_path: Path):
    with TrackedRun("fake", name="first", out=tmp_path) as run:
        run.start(RECIPE)
        run.listening(Epochs()).on_epoch_end(ROW, True)
    parameters, epoch, is_complete = fake.opened[0].heard
    assert parameters["recipe.options.stem"] == "8"
    assert epoch == ({"loss": 0.5, "val_loss": 0.25}, 2)
    assert is_complete


def test_what_fails_is_logged_as_failed(fake, tmp_path: Path):
    run = TrackedRun("fake", name="first", out=tmp_path)
    with suppress(KeyboardInterrupt), run:
        run.start(RECIPE)
        raise KeyboardInterrupt
    assert fake.opened[0].heard[-1] is False


def test_a_tracker_that_fails_is_reported_once_and_ends_nothing(fake, tmp_path: Path):
    warnings, callback = [], Epochs()
    with TrackedRun("fake", name="first", out=tmp_path, warn=warnings.append) as run:
        run.start(RECIPE)
        for loss in (0.0, 0.0, 0.4):
            run.listening(callback).on_epoch_end({"epoch": 1, "loss": loss}, True)
    assert len(warnings) == 1
    assert "no answer" in warnings[0]
    assert callback.count == 3


def test_a_tracker_that_cannot_be_reached_is_an_error_before_the_work(fake, tmp_path: Path):
    with pytest.raises(TrackingError, match=r"nobody listens\)\. Check"):
        TrackedRun("fake", name="unreachable", out=tmp_path).start({})


def test_a_trial_is_a_run_inside_the_run(fake, tmp_path: Path):
    with TrackedRun("fake", name="search", out=tmp_path) as run:
        run.start({})
        run.log_child("trial 3", parameters={"rate": 0.1}, history=[ROW])
    parameters, epoch, is_complete = fake.opened[0].children[0].heard
    assert (parameters, epoch[1], is_complete) == ({"rate": "0.1"}, 2, True)


def test_mlflow_keeps_figures_and_a_model_that_answers_as_predict_does(
    tiny_bundle, tmp_path: Path, monkeypatch
):
    mlflow = pytest.importorskip("mlflow")
    store = (tmp_path / "mlruns").as_uri()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database takes ten seconds to make
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    for epoch in (1, 2):  # broken off after the first, and gone on with
        with TrackedRun("mlflow", name="first", out=tmp_path, resume=True) as run:
            run.start(RECIPE)
            run.log_epoch({**ROW, "epoch": epoch})
    kept = json.loads((tmp_path / tracking.RUN_FILE).read_text())["mlflow"]
    with TrackedRun("mlflow", name="first", out=tmp_path, resume=True) as run:
        run.start(RECIPE)
        run.log_child("trial 0", parameters={"rate": 0.1})
        run.log_bundle(tiny_bundle)
    client = mlflow.MlflowClient(store)
    assert [row.step for row in client.get_metric_history(kept, "val_loss")] == [1, 2]
    assert client.get_run(kept).data.params["bundle"] == tiny_bundle.version
    (model,) = client.search_logged_models([client.get_run(kept).info.experiment_id])
    loaded = mlflow.pyfunc.load_model(model.model_uri)
    answers = loaded.predict({"image": [SELF_TEST.read_bytes(), b"no image"]})
    expected = table_row(Predictor(tiny_bundle).predict(SELF_TEST)[0])
    assert {**answers.iloc[0], "path": expected["path"]} == expected
    assert "no image" not in answers.iloc[1]["error"] != ""


def test_tensorboard_finds_the_curves_of_run_and_trials(tmp_path: Path):
    pytest.importorskip("tensorboardX")
    with TrackedRun("tensorboard", name="first", out=tmp_path) as run:
        run.start(RECIPE)
        run.log_epoch(ROW)
        run.log_child("trial 0", parameters={}, history=[ROW])
    for folder in ("", "trial 0"):
        assert ("val_loss", 2, 0.25) in scalars_in(tmp_path / "tensorboard" / folder)


def scalars_in(folder: Path) -> list[tuple[str, int, float]]:
    """Read the scalars of an event file, which is records of a length, a check, data, a check."""
    from tensorboardX.proto.event_pb2 import Event

    (file,) = folder.glob("events.*")
    data, found = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event = Event.FromString(data[12 : 12 + length])
        found += [(row.tag, event.step, row.simple_value) for row in event.summary.value]
        data = data[16 + length :]
    return found


def test_wandb_stays_offline_in_the_folder_of_the_run(tiny_bundle, tmp_path: Path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setattr("sys.argv", ["tumorlens", "train", "Patient_Name"])
    with TrackedRun("wandb", name="first", out=tmp_path) as run:
        run.start(RECIPE)
        run.log_epoch(ROW)
        run.log_bundle(tiny_bundle)
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    # A process of its library writes it.
    wait_until(lambda: b"val_loss" in file.read_bytes(), "the epoch to be written")
    for written in tmp_path.rglob("*"):
        assert written.is_dir() or b"Patient_Name" not in written.read_bytes(), written
