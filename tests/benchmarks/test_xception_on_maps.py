"""The first system on stored maps, with a network small enough to pass in a moment."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from studies.baselines import xception
from studies.baselines.cached_maps import MAPS, POOLED, compute_maps, cut_before, read_maps

from tumorlens.labels import ATOMS
from tumorlens.records import Case
from tumorlens.study.data.splits import Split
from tumorlens.study.experiments.runner import SILENT
from tumorlens.study.recipes import find_recipe
from tumorlens.study.training.data.training_set import Subset

NAMES = (*ATOMS, "mri_tumor")
SIDE, EACH = 8, 8
PARTS = ("train", "train", "val", "test")
CASES = [
    Case(Path(f"{name}/{i}.png"), f"multimodal/{name}/{i}", name, "multimodal",
         split=PARTS[i % 4], group=f"g{name}{i // 4}")
    for name in NAMES for i in range(EACH)
]  # fmt: skip
RECIPE = replace(find_recipe("baseline-multimodal-xception"), side=SIDE, train_side=SIDE, batch=8,
                 head_epochs=15, head_views=1, epochs=2, learning_rate=1e-3)  # fmt: skip


def images() -> np.ndarray:
    """Draw a level of gray for each label, so that a network can tell them."""
    rng = np.random.default_rng(0)
    levels = [20 + 32 * NAMES.index(case.label) for case in CASES]
    return np.stack([rng.integers(level, level + 12, (SIDE, SIDE)) for level in levels]).astype(
        np.uint8
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> xception.Stored:
    keras.utils.set_random_seed(0)
    color = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(16, 3, activation="relu", name="low")(color)
    x = layers.Conv2D(24, 3, activation="relu", name="high")(x)
    backbone = keras.Model(color, x, name="backbone")
    scan = keras.Input((SIDE, SIDE, 1), dtype="uint8", name="scan")
    x = layers.Concatenate(name="channels")([scan] * 3)
    x = backbone(layers.Rescaling(1 / 127.5, offset=-1.0)(x))
    x = layers.GlobalAveragePooling2D(name="pooled")(
        layers.Activation("linear", name="features")(x)
    )
    x = layers.Dense(32, activation="relu")(x)
    model = keras.Model(scan, layers.Dense(len(ATOMS), name="atoms")(x), name="small")
    cache, seam = tmp_path_factory.mktemp("cache"), cut_before(model, "high")
    part = Subset(tuple(CASES), images(), np.arange(len(CASES)))
    compute_maps(seam, part.images, cache=cache)
    pooled = read_maps(seam, part.images, POOLED, cache=cache)[0]
    return xception.Stored(
        part, read_maps(seam, part.images, MAPS, cache=cache)[0],
        pooled.take(np.arange(len(CASES)), np.empty((len(CASES), 24), np.float16)), seam, model,
    )  # fmt: skip


def rows() -> xception.RowSets:
    parts = np.array([case.split for case in CASES])
    return xception.RowSets(*(np.flatnonzero(parts == name) for name in ("train", "val", "test")))


def in_two_steps(stored: xception.Stored, folder: Path) -> list:
    """Train the last block, broken off after its first epoch."""
    for epochs in (1, 2):
        found = xception.train_tail(stored, rows(), replace(RECIPE, epochs=epochs), out=folder,
                                    listeners=SILENT)  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("train", "classes"),
    [
        (lambda stored, _folder: xception.train_frozen(stored, rows(), RECIPE), len(ATOMS)),
        (lambda stored, _folder: xception.train_seven(stored, rows(), RECIPE), len(ATOMS) + 1),
        (in_two_steps, len(ATOMS)),
    ],
    ids=["head", "seven classes", "last block"],
)
def test_what_learns_on_stored_maps_answers_for_every_tested_file(
    stored, tmp_path, train: Callable, classes: int
):
    found = train(stored, tmp_path)
    assert [score.case for score in found] == [c.key for c in CASES if c.split == "test"]
    assert {len(score.atoms) for score in found} == {classes}
    right = [(score.tumor_probability >= score.threshold) == score.is_tumor for score in found]
    assert np.mean(right) > 0.7


def test_an_image_passes_once_for_each_part_and_each_tested_file_does():
    image_ids = {case.key: f"{case.label}-{i // 2}" for i, case in enumerate(CASES)}
    split = Split({c.key: c.split for c in CASES}, {}, image_ids, "", "")
    tested = np.flatnonzero([case.split == "test" for case in CASES])
    kept = xception.needed(CASES, split, tested)
    assert {case.key for case in kept} >= {CASES[row].key for row in tested.tolist()}
    others = [(case.split, image_ids[case.key]) for case in kept if case.split != "test"]
    assert len(others) == len(set(others))
    assert {(case.split, image_ids[case.key]) for case in kept} == {
        (case.split, image_ids[case.key]) for case in CASES
    }
