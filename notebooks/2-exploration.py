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
# # 2. Exploration
#
# **Research use only. Not a medical device.**
#
# What the classes look like, before any network: mean, variability, difference, and 13 features. All of
# prepared scans: cropped to the head, everything outside it blanked.

# %%
from IPython.display import display
from workspace import flat, open_set, open_workplace, pictures, table

from tumorlens import InputSpec
from tumorlens.json_records import to_json
from tumorlens.study.explore.pages import main_contrasts
from tumorlens.study.explore.held_out_performance import HeldOutPerformance
from tumorlens.study.explore.report import PAGE, study_set

# %%
place = open_workplace()
found = open_set(place)
out = place.out / "explore"
result = study_set(
    found.cases,
    InputSpec(),
    out=out,
    cache=place.cache,
    groups=found.groups,
    held_out=HeldOutPerformance(),
    folders=[place.sets[0].name],
)
table([vars(result)], "n", "unreadable", "groups")

# %% [markdown]
# ## The average scan
#
# A sharp outline: heads of one plane, well aligned. Several heads in one: mixed planes. Phantoms come in
# three planes, so theirs is three heads in one.

# %%
pictures(sorted(out.glob("mean_*.png")))

# %% [markdown]
# ## Where scans vary
#
# Yellow varies most. A bright rim is heads of several outlines; a bright spot inside is where a finding
# comes and goes.

# %%
pictures(sorted(out.glob("variability_*.png")))

# %% [markdown]
# ## Tumor less healthy
#
# Orange where the first named is brighter, purple where it is darker. The green line runs around what a
# permutation test calls more than chance, at 5 % for the whole image. **A difference is seldom the
# tumor**: tumors lie in different places, so their mean is faint, and what stands out is how classes were
# collected.

# %%
pictures(sorted(out.glob("difference_*.png")))

# %% [markdown]
# ## Random scans
#
# A fair sample of each label, small on purpose; scans with likely text over the head are left out.

# %%
pictures(sorted(out.glob("montage_*.png")), width=420)

# %% [markdown]
# ## Features
#
# Cliff's delta is above 0 where the second class is larger; 1 means that no value overlaps. One mean per
# group, p corrected for all comparisons (Holm).

# %%
for modality, contrast in main_contrasts(result.features).items():
    print(f"{modality}: {contrast.b} against {contrast.a}")
    display(table(to_json(contrast.rows), "feature", "delta", "cohen_d", "p_holm"))

# %% [markdown]
# ### What entropy measures
#
# The same features measured twice: on the whole square, and inside the head. Entropy, energy and ASM of the
# square mostly count background. What they separate there and no longer inside the head comes from the
# outline.

# %%
for modality, frame in to_json(result.frames).items():
    print(modality)
    display(
        table(
            flat(frame["features"], "feature", "pixels", "of"),
            "feature",
            "pixels",
            "auc",
            "auc_low",
            "auc_high",
            "higher_in",
        )
    )

# %% [markdown]
# Everything, with charts, stands on one page that needs no network:

# %%
print(out / PAGE)
