"""A recipe is plain data that says everything a run decides."""

import json
from dataclasses import FrozenInstanceError

import pytest

from tumorlens.errors import TrainingError
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.recipes import RECIPES, Recipe, find_recipe

rows = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())


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
    assert recipe.epochs > recipe.warmup_epochs >= 0
    assert 0 < recipe.ema < 1
    assert 0 <= recipe.balance <= 1
    assert 0.5 < recipe.sensitivity_aim < 1
    assert recipe.side % 16 == 0
    assert recipe.summary


def test_a_recipe_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        find_recipe("quick").epochs = 1


@pytest.mark.parametrize("name", ["", "Default", "zebra"])
def test_an_unknown_recipe_is_an_error_that_lists_the_known_ones(name):
    with pytest.raises(TrainingError, match="is no known recipe") as caught:
        find_recipe(name)
    assert all(known in caught.value.fix for known in RECIPES)
