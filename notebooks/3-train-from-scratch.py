# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: -all
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Train from scratch
#
# **Research use only. Not a medical device.**
#
# A small residual network from random numbers. Training sees the train part, every choice is made on
# validation, and the test part stays unread until notebook 5.

# %%
from workspace import (
    open_set,
    open_workplace,
    pictures,
    recipe_for,
    table,
    train_once,
)

# %% [markdown]
# A recipe is everything that a run decides, but for the data. On phantoms it is made small here, so that
# the cell below ends in seconds; what it reaches then means nothing.

# %%
place = open_workplace()
found = open_set(place)
recipe = recipe_for(place, "quick")
table(
    [recipe.to_json()],
    "network",
    "side",
    "train_side",
    "epochs",
    "batch",
    "learning_rate",
    "augmentation",
    "seed",
)

# %%
bundle = train_once(place, found, recipe)

# %% [markdown]
# ## Learning curves
#
# The weights of the epoch with the lowest validation loss become the bundle: one folder with the graph, how
# scans are prepared for it, its temperature, threshold and limits, and a model card.

# %%
pictures([place.out / "runs" / recipe.name / "learning_curves.png"], width=700)

# %%
table([bundle.provenance.validation])

# %% [markdown]
# ## The threshold
#
# Chosen on validation, so that the sensitivity aimed at is met there; what it does on scans never seen is
# notebook 5's question.

# %%
table([bundle.operating_point.to_json()])
