"""What tuning may change in a recipe, as plain data: a field to choices or to a range."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tumorlens.errors import TrainingError
from tumorlens.files import read_file
from tumorlens.json_records import JsonObject
from tumorlens.study.recipes.recipe import NO_WEIGHTS, RENAMED_FIELDS, Recipe, check_kind

# Neither what all trials share, nor what validation loss cannot tell.
FIXED = {"name", "summary", "options", "side", "epochs", "weights", "sensitivity_aim", "max_risk"}
WIDTHS = "options.widths"
OPTIONS = "options."  # "options.dropout" is an option of the network


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    values: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        """Return whether a value is one of them."""
        return _frozen(value) in self.values

    def to_json(self) -> list[Any]:
        """Return plain data."""
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """Any number from `low` to `high`; `log` draws its logarithm evenly."""

    low: float
    high: float
    log: bool = False

    def holds(self, value: Any) -> bool:
        """Return whether a value is inside."""
        return _is_number(value) and self.low <= value <= self.high

    def to_json(self) -> JsonObject:
        """Return plain data."""
        return {"low": self.low, "high": self.high, "log": self.log}


Space = Mapping[str, Choices | Range]

SCRATCH: Space = {
    "learning_rate": Range(2e-4, 1e-2, log=True),
    "weight_decay": Range(1e-3, 0.3, log=True),
    "augmentation": Range(0.0, 1.5),
}
HEAD: Space = {
    "head_learning_rate": Range(1e-4, 1e-2, log=True),
    "weight_decay": Range(1e-3, 0.5, log=True),
    "options.dropout": Range(0.0, 0.6),
    "options.dense": Choices(((), (64,), (128,), (256,), (256, 100))),
}
HEAD_OF_OURS: Space = {name: row for name, row in HEAD.items() if name != "options.dense"}
FINE: Space = {"learning_rate": Range(1e-5, 1e-3, log=True)}  # of the last blocks, after the head
DROPOUT: Space = {"options.dropout": Range(0.0, 0.6)}
NETWORKS: Mapping[str, Space] = {
    "residual-tiny": DROPOUT | {WIDTHS: Choices(((16, 32, 64), (24, 48, 96), (32, 64, 128)))},
    "residual-small": DROPOUT
    | {
        WIDTHS: Choices(
            ((24, 48, 96, 144), (32, 64, 128, 192), (40, 80, 160, 240)),
        )
    },
    "baseline-cnn-gray": DROPOUT,
    # The range in which its authors tuned it.
    "baseline-cnn-tuned": {**DROPOUT, "options.dense": Choices((64, 128, 256, 512))},
    "baseline-cnn-small": {**DROPOUT, "options.dense": Choices((250, 500, 1000))},
}


def space_of(recipe: Recipe) -> Space:
    """Return the space stated for a recipe, by its network and by what of it learns."""
    if recipe.head_epochs:
        head = HEAD if recipe.network not in NETWORKS else HEAD_OF_OURS
        return {**head, **FINE} if recipe.epochs else head
    space = {**SCRATCH, **_of_network(recipe)}
    return space if recipe.weights == NO_WEIGHTS else {**space, **FINE}


def _of_network(recipe: Recipe) -> Space:
    """Return the space of a network; widths of other stages than the recipe's own are left out."""
    space, depths = NETWORKS.get(recipe.network, DROPOUT), recipe.options.get("depths")
    widths = space.get(WIDTHS)
    if depths is None or not isinstance(widths, Choices):
        return space
    kept = tuple(choice for choice in widths.values if len(choice) == len(depths))
    rest = {name: row for name, row in space.items() if name != WIDTHS}
    return {**rest, WIDTHS: Choices(kept)} if kept else rest


def read_space(path: Path) -> Space:
    """Read a space from JSON: a field to a list of choices, or to {low, high, log}.

    Raises TrainingError where it is none, or names a field that no recipe has.
    """
    try:
        found = json.loads(read_file(path))
    except (OSError, ValueError) as e:
        raise TrainingError(path, f"cannot be read as a space ({e})", "Give a JSON file.") from e
    if not isinstance(found, dict) or not found:
        raise TrainingError(path, "is no space", "It has to be a JSON object of fields.")
    named = {RENAMED_FIELDS.get(field, field): row for field, row in found.items()}
    return {field: _read_row(path, field, row) for field, row in named.items()}


def _read_row(path: Path, field: str, row: Any) -> Choices | Range:
    known = {found.name: found.type for found in fields(Recipe) if found.name not in FIXED}
    is_option = field.startswith(OPTIONS) and field != OPTIONS
    if field not in known and not is_option:
        fix = f"It may name {', '.join(known)}, and {OPTIONS}... of the network."
        raise TrainingError(path, f"names {field}, which cannot be tuned", fix)
    if isinstance(row, list) and row:
        for value in row if field in known else ():
            check_kind(path, field, value)
        return Choices(tuple(_frozen(value) for value in row))
    if field in known and known[field] is not float:
        raise TrainingError(path, f"says {row!r} of {field}", "Give a list of choices.")
    if isinstance(row, dict) and {"low", "high"} <= set(row) <= {"low", "high", "log"}:
        low, high, log = row["low"], row["high"], row.get("log", False)
        numbers = all(_is_number(end) for end in (low, high)) and isinstance(log, bool)
        if numbers and low < high and (low > 0 or not log):
            return Range(float(low), float(high), log=log)
    fix = 'Give a list of choices, or {"low": 0.1, "high": 1, "log": true} with low < high.'
    raise TrainingError(path, f"says {row!r} of {field}", fix)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
