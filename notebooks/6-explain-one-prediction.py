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
# # 6. Explain one prediction
#
# **Research use only. Not a medical device.**
#
# One scan, step by step: what the network is given, what it puts out, how that becomes an answer, and where the
# evidence stood.

# %%
from workspace import first_of, open_set, open_workplace, pictures, table

from tumorlens import load_predictor
from tumorlens.predictions.heatmaps import write_overlay

# %% [markdown]
# The first MRI tumor of the test part. Names are burned into many public CT images, so none is shown here.

# %%
place = open_workplace()
found = open_set(place)
case = first_of(found.part("test"), modality="mri", is_tumor=True)
predictor = load_predictor()
answer = predictor.predict([case.path], heatmaps=True)[0]

# %% [markdown]
# ## The image and its heatmap
#
# Left: what the network was given. Right: where evidence for a tumor stood, relative to the strongest spot
# of this scan. A heatmap shows where a network looked, not why, and not whether it was right.

# %%
write_overlay(answer.heatmap, place.out / "explained.png")
pictures([place.out / "explained.png"], width=640)

# %% [markdown]
# ## From atoms to an answer
#
# The network has one probability for each *atom*. The tumor probability is the sum over tumor atoms, after
# the temperature that was fitted on validation.

# %%
table([answer.atoms])

# %%
print(f"recorded label: {case.label}")
table([vars(answer)], "decision", "tumor_probability", "threshold", "modality", "type", "bundle")

# %% [markdown]
# ## When it does not decide
#
# Between the two probabilities `low` and `high` the answer is "uncertain"; a scan too unlike those of training is "out of
# scope". Both limits were chosen on validation.

# %%
table([vars(predictor.bundle.uncertainty_band)])
