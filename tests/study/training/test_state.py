"""The state of a run comes back whole, or not at all."""

import contextlib
from pathlib import Path

import keras
import numpy as np
import pytest

from tumorlens.errors import TrainingError
from tumorlens.study.training.learner import (
    RunState,
    assign_weights,
    load_state,
    read_weights,
    save_state,
)


def make_network(width: int = 4) -> keras.Model:
    """A dense network with everything that has state: normalization, dropout, optimizer."""
    model = keras.Sequential([
        keras.Input((3,)),
        keras.layers.Dense(width),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(2),
    ])  # fmt: skip
    optimizer = keras.optimizers.AdamW(0.01)
    model.compile(optimizer, "mse", jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model


DATA = np.random.default_rng(0).normal(size=(12, 8, 3)).astype(np.float32)


def trained(steps: int, model: keras.Model, start: int = 0) -> list[float]:
    return [
        float(model.train_on_batch(DATA[i], DATA[i][:, :2])) for i in range(start, start + steps)
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[Path, keras.Model, RunState]:
    keras.utils.set_random_seed(1)
    model = make_network()
    trained(4, model)
    averaged = [value + 1 for value in read_weights(model.variables)]
    state = RunState(4, 3, 0.25, averaged, [value + 2 for value in averaged])
    path = tmp_path_factory.mktemp("state") / "state.npz"
    save_state(path, state, model=model, optimizer=model.optimizer)
    return path, model, state


def load(path: Path, model: keras.Model) -> RunState:
    return load_state(path, model=model, optimizer=model.optimizer)


def test_numbers_and_averages_come_back(saved):
    path, _, state = saved
    found = load(path, make_network())
    assert (found.epoch, found.best_epoch, found.best_loss) == (4, 3, 0.25)
    for name in ("averaged", "best"):
        for before, after in zip(getattr(state, name), getattr(found, name), strict=True):
            np.testing.assert_array_equal(before, after)


def test_a_restored_network_trains_on_exactly_as_the_first_would_have(saved):
    path, model, _ = saved
    keras.utils.set_random_seed(99)
    again = make_network()
    load(path, again)
    before = read_weights(model.variables)
    on = trained(4, model, start=4)
    assert trained(4, again, start=4) == pytest.approx(on, rel=1e-5)
    assign_weights(model.variables, before)


def test_nothing_partial_is_left_beside_the_file(saved):
    assert [path.name for path in saved[0].parent.iterdir()] == ["state.npz"]


def test_a_write_that_fails_leaves_the_old_state_whole(saved, tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    path.write_bytes(saved[0].read_bytes())

    def break_off(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", break_off)
    with pytest.raises(OSError, match="disk full"):
        save_state(path, saved[2], model=saved[1], optimizer=saved[1].optimizer)
    assert path.read_bytes() == saved[0].read_bytes()


def test_the_state_of_another_network_is_refused(saved):
    with pytest.raises(TrainingError, match="cannot be resumed from"):
        load(saved[0], make_network(width=5))


@pytest.mark.parametrize("kept", [0, 10, 1000, -100])
def test_a_damaged_state_is_refused(saved, tmp_path, kept):
    (tmp_path / "state.npz").write_bytes(saved[0].read_bytes()[:kept])
    with pytest.raises(TrainingError, match="cannot be resumed from"):
        load(tmp_path / "state.npz", make_network())


def test_a_file_of_other_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "state.npz", x=np.zeros(3))
    with pytest.raises(TrainingError, match="cannot be resumed from"):
        load(tmp_path / "state.npz", make_network())


def test_a_state_without_a_best_epoch_yet_is_loaded_or_refused_clearly(saved, tmp_path):
    _, model, state = saved
    early = RunState(1, 0, float("inf"), state.averaged, [])
    save_state(tmp_path / "state.npz", early, model=model, optimizer=model.optimizer)
    with contextlib.suppress(TrainingError):
        assert load(tmp_path / "state.npz", make_network()).best == []


def test_weights_are_copies_that_training_does_not_change():
    model = make_network()
    before = read_weights(model.variables)
    kept = [value.copy() for value in before]
    trained(2, model)
    assert all((a == b).all() for a, b in zip(before, kept, strict=True))
    assert any((a != b).any() for a, b in zip(before, read_weights(model.variables), strict=True))
