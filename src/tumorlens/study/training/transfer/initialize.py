"""What comes before the first epoch of a network that transfers: its weights, and its head."""

from collections.abc import Callable
from pathlib import Path

import keras

from tumorlens.study.networks.registry import NETWORKS
from tumorlens.study.networks.transfer import head_of
from tumorlens.study.networks.weights import load_weights
from tumorlens.study.recipes import Recipe
from tumorlens.study.training.data.subset import Part
from tumorlens.study.training.transfer.frozen_features import Views, frozen_features
from tumorlens.study.training.transfer.head import FeatureSet, HeadPlan, train_head
from tumorlens.study.training.transfer.warm_start import load_start
from tumorlens.study.training.validation_metrics import validation_figures


def prepare_network(
    model: keras.Model,
    recipe: Recipe,
    *,
    training: Part,
    validation: Part,
    cache: Path,
    weights: str,
    start: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> float | None:
    """Load `weights` into a fresh network and, if the recipe says so, train its head alone.

    `weights` is "imagenet", "none" or a file; `start` is another run, whose network is taken
    instead. Gives the training loss of the head, or None.
    """
    if start:
        load_start(model, start)
    else:
        load_weights(model, NETWORKS[recipe.network].family, weights)
    if not recipe.head_epochs:
        return None
    training = training.first_of_each_picture()  # augmented views say more than copies
    views = Views(recipe.head_views, strength=recipe.augmentation, seed=recipe.seed)
    shown = frozen_features(model, training.images, cache=cache, views=views, progress=progress)
    held = frozen_features(model, validation.images, cache=cache, progress=progress)
    names, strata, data = validation.names, validation.strata, training.to_training_set()
    trained = train_head(
        head_of(model),
        FeatureSet(shown, data.label_masks, data.pictures, data.strata),
        head_plan(recipe),
        held=held[:, 0],
        judge=lambda logits: validation_figures(logits, names, strata)["val_loss"],
    )
    return trained.loss


def head_plan(recipe: Recipe) -> HeadPlan:
    """Give the part of a recipe that its head is trained by."""
    return HeadPlan(
        epochs=recipe.head_epochs,
        learning_rate=recipe.head_learning_rate,
        batch=recipe.batch,
        weight_decay=recipe.weight_decay,
        balance=recipe.balance,
        seed=recipe.seed,
    )
