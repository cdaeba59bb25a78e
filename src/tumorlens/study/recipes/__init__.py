"""Recipes: everything a training run decides, as plain data."""

from collections.abc import Mapping
from pathlib import Path

from tumorlens.errors import TrainingError
from tumorlens.study.recipes.baselines import BASELINES, Fault, Reproduction, describe
from tumorlens.study.recipes.everyday import EVERYDAY, PRETRAININGS
from tumorlens.study.recipes.recipe import (
    IMAGENET,
    NO_WEIGHTS,
    RENAMED,
    Pretraining,
    Recipe,
    comparable_config,
    current_fields,
    read_recipe,
    write_recipe,
)
from tumorlens.study.recipes.spaces import Choices, Range, Space, read_space, space_of

__all__ = ["IMAGENET", "NO_WEIGHTS", "PRETRAININGS", "RECIPES", "RENAMED", "REPRODUCTIONS",
           "Choices", "Fault", "Pretraining", "Range", "Recipe", "Reproduction", "Space",
           "comparable_config", "current_fields", "describe", "find_pretraining", "find_recipe",
           "read_recipe", "read_space", "space_of", "write_recipe"]  # fmt: skip

REPRODUCTIONS: Mapping[str, Reproduction] = {found.recipe.name: found for found in BASELINES}
RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe for recipe in (*EVERYDAY, *(found.recipe for found in BASELINES))
}


def find_recipe(name: str) -> Recipe:
    """Return a recipe by name, or from a .json file; raises TrainingError with the known ones."""
    if name.endswith(".json"):
        return read_recipe(Path(name))
    name = RENAMED.get(name, name)
    if name not in RECIPES:
        fix = f"Known recipes: {', '.join(sorted(RECIPES))}; or give a .json file."
        raise TrainingError(name, "is no known recipe", fix)
    return RECIPES[name]


def find_pretraining(name: str) -> Pretraining:
    """Return a recipe of pretraining by name; raises TrainingError with the known ones."""
    if name not in PRETRAININGS:
        fix = f"Known are {', '.join(sorted(PRETRAININGS))}."
        raise TrainingError(name, "is no known recipe of pretraining", fix)
    return PRETRAININGS[name]
