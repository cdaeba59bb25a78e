"""Recipes of pretraining: what a network learns from scans without their labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tumorlens.errors import TrainingError
from tumorlens.study.recipes.recipe import Recipe


@dataclass(frozen=True)
class Pretraining:
    """A recipe with what only pretraining decides; figures of validation it has none."""

    recipe: Recipe
    projector: tuple[int, ...]  # widths after the pooled features; thrown away afterwards
    least_area: float  # of the prepared square, that a view shows
    source: str

    def to_json(self) -> dict[str, Any]:
        """Give what stands in the config of a run."""
        return {
            "name": self.recipe.name,
            "projector": list(self.projector),
            "least_area": self.least_area,
            "source": self.source,
        }


PRETRAININGS: Mapping[str, Pretraining] = {
    "vicreg": Pretraining(
        Recipe(
            name="vicreg",
            summary="two views of a scan agree: the default network, no labels",
            network="residual-small",
            side=112,
            train_side=64,
            epochs=10,
            batch=128,
            learning_rate=1.5e-3,
            weight_decay=1e-3,
            warmup_epochs=1.0,
            augmentation=1.0,
            balance=0.25,
            precision="auto",
        ),
        projector=(512, 512),
        least_area=0.35,
        source="Bardes, Ponce and LeCun: VICReg, ICLR 2022",
    ),
}


def find_pretraining(name: str) -> Pretraining:
    """Give a recipe of pretraining by name; raises TrainingError with the known ones."""
    if name not in PRETRAININGS:
        fix = f"Known are {', '.join(sorted(PRETRAININGS))}."
        raise TrainingError(name, "is no known recipe of pretraining", fix)
    return PRETRAININGS[name]
