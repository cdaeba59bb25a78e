"""A recipe is plain data that says everything a run decides, and what it reproduces."""

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from tumorlens.errors import TrainingError
from tumorlens.study.data.registry import DATASETS
from tumorlens.study.networks.families import FAMILIES
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.recipes import (
    IMAGENET,
    NO_WEIGHTS,
    RECIPES,
    RENAMED,
    REPRODUCTIONS,
    Recipe,
    comparable_config,
    current_fields,
    describe,
    find_recipe,
    read_recipe,
    read_space,
)

rows = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
reproductions = pytest.mark.parametrize("found", REPRODUCTIONS.values(), ids=REPRODUCTIONS.keys())
BASELINES = {"baseline-multimodal-xception", "baseline-mri-cnn", "baseline-mri-inception",
             "baseline-mri-tuned-cnn", "baseline-small-cnn"}  # fmt: skip


@rows
def test_a_recipe_is_found_by_its_own_name(recipe):
    assert find_recipe(recipe.name) is recipe


@rows
def test_a_recipe_names_a_network_that_is_known(recipe):
    assert recipe.network in NETWORKS


@rows
def test_a_recipe_survives_json(recipe):
    assert Recipe(**json.loads(json.dumps(recipe.to_json()))) == recipe


@rows
def test_a_recipe_decides_within_what_can_work(recipe):
    assert recipe.epochs > recipe.warmup_epochs >= 0 or recipe.head_epochs > 0
    assert 0 < recipe.ema < 1
    assert 0 <= recipe.balance <= 1
    assert 0.5 < recipe.sensitivity_aim < 1
    assert recipe.head_views >= 1
    assert recipe.summary


@rows
def test_a_recipe_has_sides_that_its_network_can_have(recipe):
    row = NETWORKS[recipe.network]
    assert min(recipe.side, recipe.train_side) >= row.min_side
    assert not row.one_side or recipe.side == recipe.train_side
    if row.name.startswith("residual"):
        assert recipe.side % 16 == recipe.train_side % 16 == 0


@rows
def test_only_a_network_with_a_backbone_is_given_weights_and_stages(recipe):
    family = FAMILIES.get(NETWORKS[recipe.network].family)
    if family is None:
        assert (recipe.weights, recipe.tuned_blocks) == (NO_WEIGHTS, -1)
        assert not recipe.head_epochs or not NETWORKS[recipe.network].one_side  # it has to pool
    else:
        assert recipe.weights == IMAGENET
        assert -1 <= recipe.tuned_blocks <= len(family.starts)


@rows
def test_a_recipe_gives_its_network_options_that_it_takes(recipe):
    row = NETWORKS[recipe.network]
    if recipe.options:
        assert row.build(row.min_side, 3, **recipe.options).output.shape == (None, 3)


def test_a_recipe_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        find_recipe("quick").epochs = 1


@pytest.mark.parametrize("name", ["", "Default", "zebra"])
def test_an_unknown_recipe_is_an_error_that_lists_the_known_ones(name):
    with pytest.raises(TrainingError, match="is no known recipe") as caught:
        find_recipe(name)
    assert all(known in caught.value.fix for known in RECIPES)


def test_every_earlier_system_has_a_recipe():
    assert set(REPRODUCTIONS) == BASELINES
    assert set(RECIPES) > BASELINES


@reproductions
def test_a_reproduction_names_a_set_its_figure_the_source_and_mended_faults(found):
    assert found.data_set in DATASETS
    assert any(digit in found.published for digit in "0123456789")
    assert found.source
    assert found.faults
    assert all(fault.was and fault.mended for fault in found.faults)


@reproductions
def test_a_reproduction_is_described_under_every_title(found):
    told = describe(found)
    titles = {"data set", "the original", "its split", "its figure", "source", "split here",
              "network here", "preprocessing", "augmentation", "optimizer", "epochs", "stopping",
              "class weights"}  # fmt: skip
    assert set(told) == titles | {f"fault {i}" for i in range(1, len(found.faults) + 1)}
    assert all(told.values())
    assert f"{found.recipe.learning_rate:g}" in told["optimizer"]
    assert str(found.recipe.epochs) in told["epochs"]


LAST_VERSION = Path(__file__).parents[2] / "support" / "last_version"


def test_a_recipe_file_of_the_last_version_loads_under_the_new_names():
    stored = json.loads((LAST_VERSION / "recipe.json").read_text())
    found = read_recipe(LAST_VERSION / "recipe.json")
    assert (found.counterfactual_share, found.localization_weight, found.ood_images) == (
        stored["changed"], stored["evidence"], stored["outsiders"],
    )  # fmt: skip
    assert found.synthetic_lesion_share == stored["painted"]
    today = json.loads(json.dumps(found.to_json()))
    old = current_fields(stored)
    assert old == {name: today[name] for name in old}


def test_the_config_of_a_run_of_the_last_version_is_that_of_the_same_run_today():
    stored = json.loads((LAST_VERSION / "run_config.json").read_text())
    recipe = replace(find_recipe("tiny"), epochs=2)
    assert comparable_config(stored) == comparable_config({**stored, "recipe": recipe.to_json()})
    other = replace(recipe, counterfactual_share=0.5)
    assert comparable_config(stored) != comparable_config({**stored, "recipe": other.to_json()})


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_a_baseline_and_its_network_are_found_by_their_names_of_the_last_version(name):
    recipe = find_recipe(name)
    old = {new: old for old, new in RENAMED.items()}
    stored = {**recipe.to_json(), "name": old[name]}
    stored["network"] = old.get(recipe.network, recipe.network)
    assert find_recipe(old[name]) is recipe
    assert Recipe(**current_fields(stored)) == recipe


def test_a_space_of_the_last_version_names_the_new_fields(tmp_path):
    (tmp_path / "space.json").write_text('{"evidence": {"low": 0.1, "high": 0.5}}')
    assert set(read_space(tmp_path / "space.json")) == {"localization_weight"}
