"""What a trial draws, between the space of a recipe and the journal of a search."""

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from tumorlens.errors import TrainingError
from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.recipes import Choices, Range, Recipe, Space
from tumorlens.study.recipes.spaces import OPTIONS


def distribution_of(row: Choices | Range) -> BaseDistribution:
    """Give what the search draws from; a choice stands in the journal as JSON."""
    if isinstance(row, Choices):
        return CategoricalDistribution([json.dumps(value) for value in row.values])
    return FloatDistribution(row.low, row.high, log=row.log)


def decoded(value: Any) -> Any:
    """Give the value that was drawn: text is a choice, which the journal has as JSON."""
    return json.loads(value) if isinstance(value, str) else value


def own_values(recipe: Recipe, space: Space) -> dict[str, Any]:
    """Give what the recipe itself has for the fields of a space, as the journal has it.

    Fields whose own value is outside of the space are left out. Raises TrainingError for an
    option that the recipe's network has not.
    """
    parameters = inspect.signature(NETWORKS[recipe.network].build).parameters
    found = {}
    for name, row in space.items():
        option = name.removeprefix(OPTIONS)
        if name == option:
            own = getattr(recipe, name)
        elif option in parameters:
            own = recipe.options.get(option, parameters[option].default)
        else:
            known = ", ".join(k for k, p in parameters.items() if p.kind is p.KEYWORD_ONLY)
            fix = f"Its network has: {known}."
            raise TrainingError(recipe.network, f"has no option {option}", fix)
        if row.holds(own):
            found[name] = json.dumps(own) if isinstance(row, Choices) else own
    return found


def recipe_with(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Give the recipe with other values of its fields and of its network's options."""
    plain = {name: value for name, value in values.items() if not name.startswith(OPTIONS)}
    options = {
        name.removeprefix(OPTIONS): value
        for name, value in values.items()
        if name.startswith(OPTIONS)
    }
    return replace(recipe, **plain, options={**recipe.options, **options})


def values_digest(values: Mapping[str, Any]) -> str:
    """Name what was drawn, so that a trial that was broken off finds its folder again."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
