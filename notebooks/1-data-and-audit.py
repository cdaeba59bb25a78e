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
# # 1. Data and audit
#
# **Research use only. Not a medical device.**
#
# For analysts: what is in a labeled folder, and what would make its figures lie: copies, patients on both sides of
# a split, and facts of the files that give the label away.
#
# Without anything set, this notebook draws phantoms: synthetic heads, no patient. The same cells run on
# real scans: `TUMORLENS_NOTEBOOK_DATA=scans/ jupyter lab`, several folders with `:` between them
# (`;` on Windows).

# %%
from datetime import UTC, datetime

from workspace import flat, open_set, open_workplace, table

from tumorlens import load_bundle
from tumorlens.json_records import to_json
from tumorlens.study.audit.figures import audit_result
from tumorlens.study.audit.run import audit_cases
from tumorlens.study.data.index import read_cases
from tumorlens.study.explore.run import class_balance

# %% [markdown]
# ## What is there
#
# Folder names become labels (`yes`, `no_tumor`, `glioma_tumor`, ...); a folder that is not understood is
# an error that names it.

# %%
place = open_workplace()
cases = read_cases(place.sets[0])
table(flat(to_json(class_balance(cases)), "part", "label"))

# %% [markdown]
# ## Audit
#
# Every file is compared with every other, also mirrored, turned, brightened and cropped. *Images* are
# files without their copies; *groups* keep together what is no independent evidence: copies, neighboring
# slices, slices of one patient.

# %%
audit = audit_cases(cases, load_bundle(), cache=place.cache)
figures = to_json(audit_result(audit, folders=[place.sets[0].name], now=datetime.now(UTC)))
table(flat(figures["labels"], "label"))

# %%
# Pairs of files, by what joins them.
table([figures["links"]])

# %% [markdown]
# ## What gives the label away without a look at the brain
#
# A small tree that gets only these facts. An AUC well above 0.5 "as stored" means that a network could
# learn the scanner, not the disease; "prepared" is what is left after the head was cropped and everything
# outside it blanked.

# %%
table(figures["shortcuts"], "task", "family", "stage", "auc", "auc_low", "auc_high", "n_groups")

# %% [markdown]
# ## A split that keeps groups whole
#
# The following notebooks train, choose and test on this split. It is written once, and kept.

# %%
found = open_set(place)
table(flat(to_json(class_balance(found.cases)), "part", "label"))
