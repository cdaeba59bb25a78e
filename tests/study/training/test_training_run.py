"""A training run: what it leaves behind, and that a kill loses nothing that was finished."""

import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from support.trained_run import RECIPE, RecordingCallback, TrainedRun
from support.waiting import wait_until
from typer.testing import CliRunner

from tumorlens.cli import app
from tumorlens.errors import LeakError, TrainingError
from tumorlens.labels import ATOMS
from tumorlens.models.bundle import load_bundle
from tumorlens.predictions.predictor import Predictor
from tumorlens.progress import Progress, SilentCallback, TrainingCallback
from tumorlens.study.networks.transfer import backbone_of
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.recipes import find_recipe, write_recipe
from tumorlens.study.training import loop
from tumorlens.study.training.data.training_set import TrainingSet
from tumorlens.study.training.learner import build_network
from tumorlens.study.training.run import Job, fit_subsets, prepare_subsets, train
from tumorlens.study.training.run_folder import Row, read_history
from tumorlens.study.training.teacher import Teacher, describe_teacher
from tumorlens.study.training.transfer.initialize import load_run


def history_of(run: Path) -> list[Row]:
    return read_history(run / "history.csv")


def fit_job(
    run: TrainedRun, job: Job, callback: TrainingCallback, extracting: Progress | None = None
) -> loop.Trained:
    """Train as `train` does, without a bundle."""
    subsets = prepare_subsets(run.cases, job)
    return fit_subsets(
        job, subsets["train"], subsets["val"].without_copies(), callback=callback,
        extracting=extracting,
    )  # fmt: skip


def test_a_run_folder_holds_everything_about_the_run(trained_run):
    names = {path.name for path in trained_run.job.out.iterdir()}
    assert names == {"config.json", "environment.json", "history.csv", "learning_curves.png",
                     "state.npz", "threshold.csv", "threshold.svg", "unreadable_train.csv",
                     "bundle"}  # fmt: skip


def test_the_history_has_one_row_per_epoch(trained_run):
    rows = history_of(trained_run.job.out)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert {"learning_rate", "loss", "val_loss", "val_auc_ct", "val_auc_mri", "val_type_accuracy",
            "images_per_s", "seconds"} <= set(rows[0])  # fmt: skip
    assert all(np.isfinite(row["loss"]) and np.isfinite(row["val_loss"]) for row in rows)


def test_the_learning_rate_warms_up_and_then_falls(trained_run):
    rates = [row["learning_rate"] for row in history_of(trained_run.job.out)]
    assert rates[0] == pytest.approx(RECIPE.learning_rate, rel=0.01)
    assert rates[0] > rates[1] > rates[2]
    assert rates[2] == pytest.approx(0.01 * RECIPE.learning_rate, rel=0.05)


def test_training_lowers_the_training_loss(trained_run):
    losses = [row["loss"] for row in history_of(trained_run.job.out)]
    assert losses[-1] < losses[0]


def test_the_learning_curves_are_a_picture(trained_run):
    picture = cv2.imread(str(trained_run.job.out / "learning_curves.png"))
    assert picture is not None
    assert picture.std() > 5


def test_the_config_says_what_was_trained_on_what(trained_run):
    config = json.loads((trained_run.job.out / "config.json").read_text())
    assert config["recipe"] == RECIPE.to_json()
    assert config["split"] == trained_run.job.split.fingerprint
    counts = {part: sum(config["cases"][part].values()) for part in ("train", "val", "test")}
    assert sum(counts.values()) == 72
    assert counts["train"] == sum(case.split == "train" for case in trained_run.cases)


def test_the_environment_names_the_libraries(trained_run):
    found = json.loads((trained_run.job.out / "environment.json").read_text())
    assert {"keras", "numpy", "tumorlens"} <= set(found["libraries"])
    assert found["python"]


def test_an_unreadable_scan_is_listed_and_does_not_stop_the_run(trained_run):
    with (trained_run.job.out / "unreadable_train.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert Path(row["path"]).read_bytes() == b"broken"
    assert row["error"]


def test_the_callback_hears_every_batch_and_epoch(trained_run):
    heard = trained_run.callback
    steps = heard.batches[0][2]
    assert heard.batches == [(e, b, steps) for e in (1, 2, 3) for b in range(1, steps + 1)]
    assert heard.epoch_numbers == [1, 2, 3]
    assert heard.epochs[0][1] is True


def test_the_bundle_loads_and_predicts(trained_run):
    bundle = load_bundle(trained_run.job.out)
    assert (bundle.name, bundle.spec.side) == ("trained", 48)
    files = [case.path for case in trained_run.cases if case.split == "test"][:5]
    found = Predictor(bundle).predict(files)
    assert all(not p.error and p.decision and p.bundle == bundle.version for p in found)


def test_the_bundle_says_where_its_numbers_come_from(trained_run):
    made = trained_run.bundle.provenance
    validation = sum(case.split == "val" for case in trained_run.cases)
    assert made.validation["n"] == trained_run.bundle.operating_point.n == validation
    best = min(history_of(trained_run.job.out), key=lambda row: row["val_loss"])
    assert made.validation["epoch"] == best["epoch"]
    assert made.round_trip < 1e-4
    assert made.data.split == trained_run.job.split.fingerprint
    assert made.recipe["name"] == "quick"
    assert trained_run.bundle.operating_point.sensitivity.value >= RECIPE.sensitivity_aim
    assert 0 < trained_run.bundle.ood_reference.kept <= 1
    measured = trained_run.bundle.performance["all"]
    assert (measured.n, measured.sensitivity.value) == (
        validation, pytest.approx(trained_run.bundle.operating_point.sensitivity.value),
    )  # fmt: skip


def test_the_card_names_bundle_recipe_and_counts(trained_run):
    card = (trained_run.job.out / "bundle" / "card.md").read_text()
    assert "Research use only" in card
    assert "trained" in card
    assert "phantoms/mri_glioma" in card


def test_a_second_run_into_the_same_folder_is_refused(trained_run):
    with pytest.raises(TrainingError, match="holds a run already"):
        train(trained_run.cases, trained_run.job, callback=SilentCallback())


@pytest.mark.parametrize("change", [{"epochs": 4}, {"seed": 6}, {"learning_rate": 1e-3}])
def test_resuming_with_another_recipe_is_refused(trained_run, change):
    job = replace(trained_run.job, recipe=replace(RECIPE, **change))
    with pytest.raises(TrainingError, match="another recipe, data set or split"):
        train(trained_run.cases, job, callback=SilentCallback(), resume=True)


def test_resuming_with_other_cases_is_refused(trained_run):
    with pytest.raises(TrainingError, match="another recipe, data set or split"):
        train(trained_run.cases[:-1], trained_run.job, callback=SilentCallback(), resume=True)


def test_a_config_cut_short_by_a_kill_is_an_error_a_user_can_read(trained_run, tmp_path):
    (tmp_path / "config.json").write_text((trained_run.job.out / "config.json").read_text()[:40])
    with pytest.raises(TrainingError):
        train(
            trained_run.cases,
            replace(trained_run.job, out=tmp_path),
            callback=SilentCallback(),
            resume=True,
        )


def test_a_part_without_scans_is_refused(trained_run, tmp_path):
    cases = [case for case in trained_run.cases if case.split != "val"]
    with pytest.raises(TrainingError, match="the val part of the split: holds no scan"):
        train(cases, replace(trained_run.job, out=tmp_path / "run"), callback=SilentCallback())


@pytest.fixture(scope="module")
def resumed(
    trained_run: TrainedRun, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Row], RecordingCallback]:
    """The same run, broken off in the second epoch and taken up again."""
    job = replace(trained_run.job, out=tmp_path_factory.mktemp("resumed") / "run")
    with pytest.raises(KeyboardInterrupt):
        fit_job(trained_run, job, RecordingCallback(stop_at=(2, 2)))
    assert [row["epoch"] for row in history_of(job.out)] == [1]
    callback = RecordingCallback()
    fit_job(trained_run, job, callback)
    return history_of(job.out), callback


def test_a_resumed_run_has_every_epoch_once(resumed):
    assert [row["epoch"] for row in resumed[0]] == [1, 2, 3]


def test_a_resumed_run_starts_with_the_epoch_that_was_not_finished(resumed):
    assert resumed[1].batches[0][:2] == (2, 1)


@pytest.mark.parametrize("column", ["learning_rate", "loss", "val_loss"])
def test_a_resumed_run_repeats_the_uninterrupted_one(trained_run, resumed, column):
    whole = [row[column] for row in history_of(trained_run.job.out)]
    assert [row[column] for row in resumed[0]] == pytest.approx(whole, rel=1e-2)


def test_resuming_a_finished_run_makes_its_bundle_again_without_training(trained_run, tmp_path):
    callback = RecordingCallback()
    job = replace(trained_run.job, out=tmp_path / "run")
    shutil.copytree(trained_run.job.out, job.out)
    again = train(trained_run.cases, job, callback=callback, resume=True)
    assert callback.batches == []
    assert again.threshold == pytest.approx(trained_run.bundle.threshold, rel=1e-6)


SMALL = replace(
    RECIPE, side=32, train_side=32, batch=4, patience=2, augmentation=0.0,
    options={"stem": 4, "widths": [4], "depths": [0]},
)  # fmt: skip


def fit_small(run: Path, val_losses: Sequence[float], **changes) -> loop.Trained:
    """Train on noise, with validation losses that are given."""
    rng = np.random.default_rng(0)
    data = TrainingSet(
        rng.integers(0, 256, (8, 32, 32), dtype=np.uint8),
        np.eye(6, dtype=np.float32)[np.arange(8) % 6], np.arange(8), np.zeros(8, np.int64),
    )  # fmt: skip
    left = iter(val_losses)
    run.mkdir(exist_ok=True)
    return loop.fit(
        replace(SMALL, **changes), data, validate=lambda model: {"val_loss": next(left)}, run=run,
        callback=RecordingCallback(),
    )  # fmt: skip


def test_training_stops_when_validation_no_longer_improves(tmp_path):
    trained = fit_small(tmp_path / "run", [3.0, 1.0, 2.0, 1.5, 9.0, 9.0], epochs=6)
    assert (trained.best_epoch, trained.epochs, len(trained.history)) == (2, 4, 4)


def test_a_kill_between_state_and_history_leaves_no_gap(tmp_path, monkeypatch):
    write = loop.write_history

    def stop_at_the_second(path, history):
        if len(history) == 2:
            raise KeyboardInterrupt
        write(path, history)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "write_history", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            fit_small(tmp_path / "run", [3.0, 2.0], epochs=3)
    fit_small(tmp_path / "run", [2.0, 1.0], epochs=3)
    assert [row["epoch"] for row in history_of(tmp_path / "run")] == [1, 2, 3]


def test_a_run_whose_validation_loss_is_not_a_number_says_so(tmp_path):
    with pytest.raises(TrainingError):
        fit_small(tmp_path / "run", [float("nan")] * 3, epochs=3)


STAGED = replace(
    find_recipe("mobilenet-tuned"), side=32, train_side=32, epochs=2, batch=16, warmup_epochs=0.0,
    learning_rate=1e-3, tuned_blocks=1, head_epochs=5, head_views=2, options={}, seed=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def donor(tmp_path_factory) -> Path:
    """Weights of a MobileNet in a file, with statistics of phantoms."""
    path = tmp_path_factory.mktemp("donor") / "donor.weights.h5"
    network = keras.applications.MobileNet(
        include_top=False, weights=None, input_shape=(32, 32, 3), alpha=0.75
    )
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(np.random.default_rng(0).uniform(-1, 1, (64, 32, 32, 3)), training=True)
    network.save_weights(path)
    return path


def staged_job(run: TrainedRun, donor: Path, out: Path, **changes) -> Job:
    recipe = replace(STAGED, weights=donor.name, **changes)
    return replace(run.job, recipe=recipe, out=out, weights=str(donor))


@pytest.fixture(scope="module")
def staged(
    trained_run: TrainedRun, donor: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainedRun, list[tuple[int, int]]]:
    """A head on frozen features, then two epochs of the last block; at first weights do not fit."""
    job = staged_job(trained_run, donor, tmp_path_factory.mktemp("staged") / "run")
    bad = donor.with_name("bad.weights.h5")
    bad.write_bytes(b"no weights")
    with pytest.raises(TrainingError, match="does not fit mobilenet"):
        train(trained_run.cases, replace(job, weights=str(bad)), callback=SilentCallback())
    callback, heard = RecordingCallback(), []
    bundle = train(
        trained_run.cases, job, callback=callback, extracting=lambda *now: heard.append(now)
    )
    return TrainedRun(trained_run.cases, job, bundle, callback), heard


def test_the_head_alone_counts_as_epoch_zero(staged):
    rows = history_of(staged[0].job.out)
    assert [row["epoch"] for row in rows] == staged[0].callback.epoch_numbers == [0, 1, 2]
    assert rows[0]["learning_rate"] == STAGED.head_learning_rate
    assert staged[1]
    assert all(0 < done <= total for done, total in staged[1])


def test_a_staged_run_leaves_the_frozen_blocks_as_they_came(staged, donor):
    with np.load(staged[0].job.out / "state.npz") as state:
        stored = [state[name] for name in sorted(state.files) if name.startswith("weights_")]
    came = keras.applications.MobileNet(
        include_top=False, weights=str(donor), input_shape=(32, 32, 3), alpha=0.75
    )
    block = came.get_layer("conv_pw_12_relu")
    first = came.layers[: came.layers.index(block)]
    frozen = [value for layer in first for value in layer.get_weights()]
    assert all(any(np.array_equal(value, kept) for kept in stored) for value in frozen)
    learned = came.get_layer("conv_pw_13").get_weights()[0]
    assert not any(np.array_equal(learned, kept) for kept in stored)


def test_a_run_that_starts_from_another_keeps_its_statistics(staged, tmp_path):
    first = staged[0].job
    recipe = replace(STAGED, weights="none", head_epochs=0, epochs=1, tuned_blocks=-1)
    job = replace(first, recipe=recipe, out=tmp_path / "run", weights="", start=first.out)
    train(staged[0].cases, job, callback=SilentCallback())
    (kernels, statistics), (new_kernels, new_statistics) = map(learned_by, (first, job))
    for kept, found in zip(statistics, new_statistics, strict=True):
        np.testing.assert_allclose(found, kept, rtol=1e-5)  # averaged, to the last bit
    assert not any(map(np.array_equal, kernels, new_kernels))


def learned_by(job: Job) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Kernels of convolutions, and means and variances of batch normalization, of a run."""
    network = build_network(job.recipe, side=job.recipe.side, atoms=len(ATOMS))
    load_run(network, job.out)
    found = backbone_of(network).layers
    return (
        [one.get_weights()[0] for one in found if isinstance(one, keras.layers.Conv2D)],
        [w for one in found if isinstance(one, keras.layers.BatchNormalization)
         for w in one.get_weights()[2:]],
    )  # fmt: skip


def test_a_staged_bundle_predicts_and_names_its_weights_without_their_folder(staged, donor):
    run = staged[0]
    found = Predictor(load_bundle(run.job.out)).predict([run.cases[-1].path])
    assert not found[0].error
    text = (run.job.out / "bundle" / "bundle.json").read_text()
    details = json.loads(text)
    assert details["recipe"]["weights"] == donor.name
    assert details["weights_sha256"] == hashlib.sha256(donor.read_bytes()).hexdigest()
    assert str(donor.parent) not in text


def test_a_staged_run_broken_off_goes_on_without_its_head_again(
    trained_run, donor, tmp_path, staged
):
    job = staged_job(trained_run, donor, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        fit_job(trained_run, job, RecordingCallback(stop_after=0))
    assert [row["epoch"] for row in history_of(job.out)] == [0]
    callback, heard = RecordingCallback(), []
    fit_job(trained_run, job, callback, lambda *now: heard.append(now))
    assert heard == []
    assert callback.epoch_numbers == [1, 2]
    losses = [row["val_loss"] for row in history_of(staged[0].job.out)]
    assert [row["val_loss"] for row in history_of(job.out)] == pytest.approx(losses, rel=0.05)


def test_weights_that_do_not_fit_leave_a_folder_for_others(staged):
    assert load_bundle(staged[0].job.out).version == staged[0].bundle.version


def test_a_head_alone_becomes_a_bundle(trained_run, tmp_path):
    recipe = replace(
        find_recipe("adapted-head"), network=RECIPE.network, side=48, train_side=48, batch=8,
        head_epochs=2, head_views=1, options=SMALL.options,
    )  # fmt: skip
    job = replace(trained_run.job, recipe=recipe, out=tmp_path / "run")
    bundle = train(trained_run.cases, job, callback=SilentCallback())
    assert bundle.provenance.validation["epoch"] == 0
    assert [row["epoch"] for row in history_of(job.out)] == [0]


def test_the_command_line_refuses_weights_for_a_network_from_scratch(few_phantoms, donor, tmp_path):
    words = command(few_phantoms, tmp_path / "run", "--weights", str(donor))
    ended = CliRunner().invoke(app, words)
    assert isinstance(ended.exception, TrainingError)
    assert "starts from random" in ended.exception.fact


def test_resuming_with_other_weights_is_refused(staged, donor, tmp_path):
    other = tmp_path / donor.name
    other.write_bytes(donor.read_bytes() + b"more")
    job = replace(staged[0].job, weights=str(other))
    with pytest.raises(TrainingError, match="another recipe, data set or split"):
        train(staged[0].cases, job, callback=SilentCallback(), resume=True)


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        (
            replace(RECIPE, network="baseline-cnn-tuned", side=64, train_side=32),
            "flattens its maps",
        ),
        (replace(STAGED, network="xception", side=64, train_side=64), "at least 71 px"),
    ],
)
def test_a_side_that_the_network_cannot_be_used_at_is_refused(
    trained_run, tmp_path, recipe, reason
):
    job = replace(trained_run.job, recipe=recipe, out=tmp_path / "run")
    with pytest.raises(TrainingError, match=reason):
        train(trained_run.cases, job, callback=SilentCallback())


@pytest.fixture(scope="module")
def few_phantoms(tmp_path_factory) -> Path:
    """A folder of phantoms with a recipe of four epochs beside it."""
    folder = tmp_path_factory.mktemp("few")
    options = {"stem": 8, "widths": [8, 8], "depths": [0, 0]}
    write_recipe(replace(RECIPE, epochs=4, batch=16, options=options), folder / "small.json")
    return write_phantoms(folder / "few", per_class=12, seed=8, side=64)


def command(folder: Path, run: Path, *more: str) -> list[str]:
    return ["train", str(folder), "--recipe", str(folder.parent / "small.json"),
            "--out", str(run), "--cache", str(run.parent / "cache"), *more]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_killed_process_goes_on_with_resume(few_phantoms, tmp_path):
    run = tmp_path / "run"
    first = subprocess.Popen(
        [sys.executable, "-m", "tumorlens", *command(few_phantoms, run)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_until(lambda: (run / "state.npz").exists() or first.poll() is not None)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL, first.stderr.read().decode()[-800:]
    before = history_of(run)
    assert 1 <= len(before) < 4
    second = CliRunner().invoke(app, command(few_phantoms, run, "--resume"))
    assert second.exit_code == 0, second.stderr[-800:]
    after = history_of(run)
    assert [row["epoch"] for row in after] == [1, 2, 3, 4]
    assert after[: len(before)] == before
    assert second.stdout.strip() == str(run / "bundle")
    assert load_bundle(run).name == "run"


def test_a_student_is_told_the_answer_to_each_image_and_names_its_teacher(
    trained_run, tmp_path, monkeypatch
):
    asked: list[int] = []
    answer = Teacher.answer

    def counted(self: Teacher, images: np.ndarray) -> np.ndarray:
        asked.append(len(images))
        return answer(self, images)

    monkeypatch.setattr(Teacher, "answer", counted)
    teacher, heard = trained_run.bundle, RecordingCallback()
    job = replace(trained_run.job, out=tmp_path / "student", teacher=teacher)
    student = train(trained_run.cases, job, callback=heard)
    assert asked == [RECIPE.batch] * len(heard.batches)
    alone = trained_run.callback.epochs[0][0]["loss"]
    assert heard.epochs[0][0]["loss"] != pytest.approx(alone, rel=0.01)
    made = student.provenance
    assert made.teacher == describe_teacher(teacher)
    assert made.trained_on == trained_run.job.split.fingerprint
    card = (student.folder / "card.md").read_text()
    assert f"it learned the answers of `trained` too (graph `{teacher.graph_sha256[:12]}`)" in card


def test_a_run_goes_on_with_its_teacher_alone(trained_run, tmp_path):
    job = replace(trained_run.job, out=tmp_path / "student", teacher=trained_run.bundle)
    with pytest.raises(KeyboardInterrupt):
        train(trained_run.cases, job, callback=RecordingCallback(stop_after=1))
    with pytest.raises(TrainingError, match="split, start or teacher"):
        train(trained_run.cases, replace(job, teacher=None), callback=SilentCallback(), resume=True)
    resumed = RecordingCallback()
    train(trained_run.cases, job, callback=resumed, resume=True)
    assert resumed.epoch_numbers == [2, 3]


def test_a_teacher_of_another_split_is_refused_and_the_split_named_then_is_kept(tmp_path):
    scans, out = write_phantoms(tmp_path / "scans", per_class=6, seed=0, side=64), tmp_path / "run"
    arguments = ["train", str(scans), "--teacher", "tumorlens-base", "--out", str(out)]
    said = CliRunner().invoke(app, arguments)
    assert isinstance(said.exception, LeakError)
    assert not (out / "config.json").exists()
    made = tmp_path / "split.csv"
    CliRunner().invoke(app, ["split", str(scans), "--seed", "3", "--out", str(made)])
    assert made.read_bytes() != (out / "split.csv").read_bytes()
    CliRunner().invoke(app, [*arguments, "--split", str(made)])
    assert made.read_bytes() == (out / "split.csv").read_bytes()
    folds = CliRunner().invoke(app, [*arguments, "--folds", "2"])
    assert folds.exit_code == 2
    assert "saw scans of every fold" in " ".join(folds.output.split())
