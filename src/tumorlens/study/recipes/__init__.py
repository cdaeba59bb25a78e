"""Recipes: everything a training run decides, as plain data."""

from collections.abc import Mapping
from pathlib import Path

from tumorlens.errors import TrainingError
from tumorlens.study.recipes.baselines import SEEDS
from tumorlens.study.recipes.everyday import EVERYDAY
from tumorlens.study.recipes.pretraining import PRETRAININGS, Pretraining, find_pretraining
from tumorlens.study.recipes.recipe import IMAGENET, NO_WEIGHTS, Recipe
from tumorlens.study.recipes.reproduction import Reproduction, describe
from tumorlens.study.recipes.spaces import Choices, Range, Space, read_space, space_of
from tumorlens.study.recipes.stored import read_recipe, write_recipe

__all__ = ["IMAGENET", "NO_WEIGHTS", "PRETRAININGS", "RECIPES", "REPRODUCTIONS", "Choices",
           "Pretraining", "Range", "Recipe", "Reproduction", "Space", "describe",
           "find_pretraining", "find_recipe", "read_recipe", "read_space", "space_of",
           "write_recipe"]  # fmt: skip

REPRODUCTIONS: Mapping[str, Reproduction] = {found.recipe.name: found for found in SEEDS}
RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe for recipe in (*EVERYDAY, *(found.recipe for found in SEEDS))
}


def find_recipe(name: str) -> Recipe:
    """Give a recipe by name, or from a .json file; raises TrainingError with the known ones."""
    if name.endswith(".json"):
        return read_recipe(Path(name))
    if name not in RECIPES:
        known = ", ".join(sorted(RECIPES))
        fix = f"Known recipes: {known}; or give a .json file."
        raise TrainingError(name, "is no known recipe", fix)
    return RECIPES[name]
