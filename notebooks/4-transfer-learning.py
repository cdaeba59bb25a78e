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
# # 4. Transfer learning
#
# **Research use only. Not a medical device.**
#
# A small head on the features of a frozen MobileNet. Features are computed once and kept, so that the head
# learns in seconds.
#
# On real scans the ImageNet weights are downloaded, or read from `TUMORLENS_NOTEBOOK_WEIGHTS`. On phantoms
# the backbone keeps its random numbers: the cells run without a network, and the figures mean nothing.

# %%
from workspace import open_set, open_workplace, recipe_for, table, train_once

# %%
place = open_workplace()
found = open_set(place)
frozen = recipe_for(place, "mobilenet-frozen")
bundle = train_once(place, found, frozen)

# %% [markdown]
# ## Against the network from scratch
#
# The first row is the one from scratch. Both were chosen on validation, which flatters both alike. Which of them
# holds on scans never seen is for the test part to show, once: `evaluate` in notebook 5, or
# `tumorlens evaluate DIR --bundle A --against B --split FILE`.

# %%
scratch = train_once(place, found, recipe_for(place, "quick"))
table([scratch.provenance.validation, bundle.provenance.validation])
