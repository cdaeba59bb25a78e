"""A recipe as a file, such as tuning leaves behind."""

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from tumorlens.errors import TrainingError
from tumorlens.files import replacing
from tumorlens.study.recipes.recipe import Recipe

KINDS = {str: (str,), bool: (bool,), int: (int,), float: (int, float)}  # else a mapping


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe as JSON."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(recipe.to_json(), indent=1) + "\n", encoding="utf-8")


def read_recipe(path: Path) -> Recipe:
    """Read what `write_recipe` wrote, or a person; fields left out have their defaults.

    Raises TrainingError where it is no recipe.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        fix = "Give a file that `tumorlens tune` wrote, or a name."
        raise TrainingError(path, f"cannot be read as a recipe ({e})", fix) from e
    if not isinstance(found, dict):
        raise TrainingError(path, "is no recipe", "It has to be a JSON object of fields.")
    known = {field.name: field for field in fields(Recipe)}
    if unknown := sorted(set(found) - set(known)):
        fix = f"Known fields: {', '.join(known)}."
        raise TrainingError(path, f"has unknown fields: {', '.join(unknown)}", fix)
    missing = [
        name
        for name, field in known.items()
        if name not in found and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise TrainingError(path, f"lacks {', '.join(missing)}", "Add them.")
    for name, value in found.items():
        check_kind(path, name, value)
    return Recipe(**found)


def check_kind(path: Path, name: str, value: Any) -> None:
    """Raise TrainingError where a value from a file is not of the kind its field has."""
    [kind] = [field.type for field in fields(Recipe) if field.name == name]
    allowed = KINDS.get(kind, (dict,))
    is_wrong_truth = isinstance(value, bool) and bool not in allowed  # to Python also a number
    if is_wrong_truth or not isinstance(value, allowed):
        fix = f"It has to be {' or '.join(found.__name__ for found in allowed)}."
        raise TrainingError(path, f"has {value!r} for {name}", fix)
