"""What options change in a recipe."""

import pytest

from tumorlens.cli.options import chosen_recipe


@pytest.mark.parametrize(
    ("name", "weights", "head_epochs", "tuned_blocks"),
    [
        ("baseline-multimodal-xception", "none", 0, -1),
        ("baseline-multimodal-xception", "imagenet", 40, 2),
        ("mobilenet-frozen", "none", 40, 0),  # a head is all that it trains
    ],
)
def test_without_weights_all_layers_learn_where_any_do(name, weights, head_epochs, tuned_blocks):
    recipe, file = chosen_recipe(name, epochs=None, seed=None, weights=weights)
    assert (recipe.weights, recipe.head_epochs, recipe.tuned_blocks, file) == (
        weights, head_epochs, tuned_blocks, "",
    )  # fmt: skip
