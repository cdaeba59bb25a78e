"""Recipes: everything a training run decides, as plain data."""

from collections.abc import Mapping

from tumorlens.errors import TrainingError
from tumorlens.study.recipes.everyday import EVERYDAY
from tumorlens.study.recipes.recipe import IMAGENET, NO_WEIGHTS, Recipe
from tumorlens.study.recipes.reproduction import Reproduction, describe
from tumorlens.study.recipes.seeds import SEEDS

__all__ = ["IMAGENET", "NO_WEIGHTS", "RECIPES", "REPRODUCTIONS", "Recipe", "Reproduction",
           "describe", "find_recipe"]  # fmt: skip

REPRODUCTIONS: Mapping[str, Reproduction] = {found.recipe.name: found for found in SEEDS}
RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe for recipe in (*EVERYDAY, *(found.recipe for found in SEEDS))
}


def find_recipe(name: str) -> Recipe:
    """Give a recipe by name; raises TrainingError that lists the known ones."""
    if name not in RECIPES:
        known = ", ".join(sorted(RECIPES))
        raise TrainingError(name, "is no known recipe", f"Known recipes: {known}.")
    return RECIPES[name]
