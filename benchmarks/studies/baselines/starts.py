"""What pretraining is worth: the same few labeled scans, from three different starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tumorlens.study.recipes import Recipe, find_recipe

LEARNED_SETS = ("multimodal", "br35h")  # without their labels, train groups alone
MEASURED_SET = "multimodal"
SHARES, SEEDS = (5.0,), 3  # percent of its training groups
PRETRAINED = "pretrained"
_FEW = {"epochs": 30, "batch": 16, "learning_rate": 1e-3, "warmup_epochs": 1.0}


@dataclass(frozen=True)
class Start:
    """A way to begin."""

    title: str
    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    is_pretrained: bool = False

    @property
    def made(self) -> Recipe:
        """The recipe with its changes."""
        return replace(find_recipe(self.recipe), **self.changes)


STARTS: Mapping[str, Start] = {
    "start-random": Start("random", "adapted", _FEW),
    "start-vicreg": Start("VICReg on prepared scans", "adapted", _FEW, is_pretrained=True),
    "start-imagenet": Start("ImageNet (MobileNet, frozen)", "mobilenet-frozen"),
}
