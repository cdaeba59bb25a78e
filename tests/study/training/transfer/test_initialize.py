"""Starting from another run: its layers are taken, and what it saw must not be held out."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from tumorlens import labels
from tumorlens.errors import LeakError, TrainingError
from tumorlens.json_records import write_json
from tumorlens.records import Case
from tumorlens.study.data import splits
from tumorlens.study.recipes import Recipe, find_recipe
from tumorlens.study.training.learner import RunState, read_weights, save_state
from tumorlens.study.training.loop import STATE_FILE, build_network
from tumorlens.study.training.run_folder import CONFIG_FILE
from tumorlens.study.training.transfer.initialize import (
    check_warm_start,
    load_run,
    run_digest,
)

RECIPE = replace(
    find_recipe("quick"), side=32, train_side=32, options={"widths": [8], "depths": [1], "stem": 8}
)
KEYS = ("set/a.png", "set/b.png", "set/c.png", "set/d.png")


def network(recipe: Recipe = RECIPE) -> keras.Model:
    return build_network(recipe, side=recipe.side, atoms=len(labels.ATOMS))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose every weight is one half, with a split in which d is the test part."""
    folder = tmp_path_factory.mktemp("run")
    model = network()
    model.compile(optimizer="sgd", loss="mse")
    best = [np.full_like(value, 0.5) if np.issubdtype(value.dtype, np.floating) else value
            for value in read_weights(model.variables)]  # fmt: skip
    save_state(folder / STATE_FILE, RunState(1, 1, 0.1, best, best), model=model,
               optimizer=model.optimizer)  # fmt: skip
    write_json({"recipe": RECIPE.to_json(), "atoms": list(labels.ATOMS)}, folder / CONFIG_FILE)
    cases = [Case(Path(key), key, "ct_tumor", "set") for key in KEYS]
    alone = np.arange(len(KEYS))
    splits.write_split(folder / "split.csv", cases, ["train", "train", "val", "test"],
                       groups=splits.Groups(alone, alone))  # fmt: skip
    return folder


def kernels(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """The first kernel and that of the head."""
    convolution = next(x for x in model.layers if isinstance(x, keras.layers.Conv2D))
    return convolution.get_weights()[0], model.get_layer("atoms").get_weights()[0]


def test_a_run_gives_its_layers_and_its_head(run: Path):
    model = network()
    load_run(model, run)
    assert all((kernel == 0.5).all() for kernel in kernels(model))


def test_pretraining_gives_no_head(run: Path, tmp_path: Path):
    (tmp_path / STATE_FILE).write_bytes((run / STATE_FILE).read_bytes())
    config = {"recipe": RECIPE.to_json(), "atoms": list(labels.ATOMS), "pretraining": {}}
    write_json(config, tmp_path / CONFIG_FILE)
    model = network()
    load_run(model, tmp_path)
    first, head = kernels(model)
    assert (first == 0.5).all()
    assert (head != 0.5).any()


def test_another_side_may_start_from_it(run: Path):
    model = network(replace(RECIPE, side=48, train_side=48))
    load_run(model, run)
    assert (kernels(model)[0] == 0.5).all()


def test_another_network_may_not(run: Path):
    model = network(replace(RECIPE, options={"widths": [16], "depths": [1], "stem": 8}))
    with pytest.raises(TrainingError, match="other layers"):
        load_run(model, run)


@pytest.mark.parametrize("damage", ["state", "config", "nothing there"])
def test_what_is_no_run_is_refused(run: Path, tmp_path: Path, damage: str):
    if damage != "nothing there":
        for name in (STATE_FILE, CONFIG_FILE):
            (tmp_path / name).write_bytes((run / name).read_bytes())
        broken = tmp_path / (STATE_FILE if damage == "state" else CONFIG_FILE)
        broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(TrainingError):
        load_run(network(), tmp_path)


def test_a_folder_without_a_state_has_no_digest(tmp_path: Path):
    with pytest.raises(TrainingError, match="no state"):
        run_digest(tmp_path)


@pytest.mark.parametrize(
    ("groups", "parts", "leaks"),
    [
        ({"set/a.png": "1", "other/x.png": "2"}, {"other/x.png": "test"}, False),
        ({"set/a.png": "1", "other/x.png": "1"}, {"other/x.png": "test"}, True),  # a copy
        ({"set/a.png": "1"}, {"set/a.png": "val"}, True),  # the weights have seen it
        ({"set/a.png": "1"}, {"set/a.png": "train"}, False),
        ({"set/c.png": "1"}, {"set/c.png": "val"}, False),  # chosen on it there and here
        ({"set/c.png": "1"}, {"set/c.png": "test"}, True),  # epoch and threshold chosen on it
        ({"set/d.png": "1"}, {"set/d.png": "test"}, False),  # it was held out there as well
    ],
)
def test_a_run_that_saw_what_is_held_out_is_refused(
    run: Path, groups: dict[str, str], parts: dict[str, str], leaks: bool
):
    if leaks:
        with pytest.raises(LeakError, match="held out"):
            check_warm_start(run, groups, parts)
    else:
        check_warm_start(run, groups, parts)


def test_a_run_of_the_same_split_may_go_on(run: Path):
    split = splits.read_split(run / "split.csv")
    check_warm_start(run, split.groups, split.parts)
