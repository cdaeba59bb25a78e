"""Recipes: everything a training run decides, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tumorlens.errors import TrainingError


@dataclass(frozen=True)
class Recipe:
    """A training run, but for the data."""

    name: str
    summary: str
    network: str  # a row of study.networks.registry
    side: int  # pixels of the prepared square, in validation and use
    train_side: int  # pixels while training: fewer cost less, and see FixRes in `training.loop`
    epochs: int
    batch: int = 64
    learning_rate: float = 2e-3  # peak, after warm-up
    weight_decay: float = 0.02
    warmup_epochs: float = 2.0
    ema: float = 0.998  # per step; the averaged weights are validated and shipped
    augmentation: float = 1.0  # strength of every augmentation, 0 turns all off
    balance: float = 0.5  # 0: cases as they are; 1: every data set and label equally often
    patience: int = 15  # epochs without a better validation loss before stopping
    sensitivity_aim: float = 0.98  # of the operating point, met on validation
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Give the fields as plain data."""
        return asdict(self)


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="default",
            summary="residual CNN from scratch, 144 px, augmented",
            network="residual-small",
            side=144,
            train_side=128,
            epochs=45,
        ),
        Recipe(
            name="quick",
            summary="small residual CNN for a first look: minutes instead of an hour",
            network="residual-tiny",
            side=112,
            train_side=96,
            epochs=30,
            batch=32,
            ema=0.97,
            augmentation=0.5,
            patience=10,
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """Give a recipe by name; raises TrainingError that lists the known ones."""
    if name not in RECIPES:
        known = ", ".join(sorted(RECIPES))
        raise TrainingError(name, "is no known recipe", f"Known recipes: {known}.")
    return RECIPES[name]
