"""What a recipe reproduces: an earlier system, its figure, and what was wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass

from tumorlens.study.recipes.recipe import Recipe


@dataclass(frozen=True)
class Fault:
    """Something the earlier system did, and what happens here instead."""

    was: str
    mended: str


@dataclass(frozen=True)
class Reproduction:
    """An earlier system and the recipe that does it again."""

    recipe: Recipe
    data_set: str  # a row of study.data.registry
    original: str  # what the earlier system was
    split: str  # how it split
    published: str  # its figure
    source: str  # where that figure is from
    faults: tuple[Fault, ...]


GROUPED_SPLIT = (
    "70/15/15 by whole patients and pictures (`tumorlens split`); threshold and epoch are "
    "chosen on validation, test is read once, by `tumorlens evaluate`"
)


def describe(found: Reproduction) -> Mapping[str, str]:
    """Say in words what the earlier system did and what this recipe does, title by title."""
    recipe = found.recipe
    return {
        "data set": f"{found.data_set} (`tumorlens data list`)",
        "the original": found.original,
        "its split": found.split,
        "its figure": found.published,
        "source": found.source,
        "split here": GROUPED_SPLIT,
        "network here": f"{recipe.network} at {recipe.side} px, {_start(recipe)}; its last "
        "layer gives our atoms",
        "preprocessing": "head found, all else blanked, cropped, squared, 8 bits; scaling to "
        "what the network expects is inside the graph, in training and in use alike",
        "augmentation": f"pose, tone, bias field, resolution, noise; strength "
        f"{recipe.augmentation:g}",
        "optimizer": f"AdamW, rate {recipe.learning_rate:g} falling as a cosine, weight decay "
        f"{recipe.weight_decay:g}, averaged weights",
        "epochs": _epochs(recipe),
        "stopping": f"after {recipe.patience} epochs without a better validation loss; the best "
        "epoch is kept",
        "class weights": "none in the loss; every epoch shows one copy of each picture, labels "
        f"balanced by sampling ({recipe.balance:g} of the way to equal)",
        **{
            f"fault {number}": f"{fault.was}. Here: {fault.mended}"
            for number, fault in enumerate(found.faults, start=1)
        },
    }


def _start(recipe: Recipe) -> str:
    return f"from {recipe.weights} weights" if recipe.head_epochs else "from random weights"


def _epochs(recipe: Recipe) -> str:
    if not recipe.head_epochs:
        return f"at most {recipe.epochs}"
    return (
        f"{recipe.head_epochs} of the head on frozen features, then at most {recipe.epochs} with "
        f"the last {recipe.tuned_blocks} blocks, batch normalization kept as it came"
    )
