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
# # 7. Hypotheses
#
# **Research use only. Not a medical device.**
#
# Six beliefs about sets of scans, each with a rule that was written down before. Three ask for networks:
# small ones, in pairs with and without augmentation, trained on one set and tested on its unseen groups and
# on the other sets, without what two sets share.
#
# On phantoms one pair is trained, for a few steps: the verdicts show how judging works, and nothing else.

# %%
from IPython.display import Markdown, display
from workspace import open_workplace, pairs_of, table

from tumorlens.json_records import to_json
from tumorlens.study.audit.duplicates.copies import group_cases
from tumorlens.study.data.index import read_cases
from tumorlens.study.experiments.hypothesis_runs import choose_sets, run_pairs
from tumorlens.study.experiments.runner import in_this_process
from tumorlens.study.explore.hypothesis_report import TEXT, write_hypothesis_report
from tumorlens.study.explore.hypothesis_tests import HYPOTHESES
from tumorlens.study.explore.report import study_sets

# %%
table(map(vars, HYPOTHESES), "id", "statement", "test", "rule")

# %% [markdown]
# ## Networks
#
# Groups are sought over all sets at once, since a copy may stand in another set. Every pair that ends is
# kept; run the cell again to go on.

# %%
place = open_workplace()
cases = read_cases(place.sets)
groups = group_cases(cases, cache=place.cache)
plan = pairs_of(place)
sets = choose_sets(cases, groups, plan)
run_pairs(sets, plan, at_most=place.max_pairs, executor=in_this_process)

# %% [markdown]
# ## Verdicts

# %%
results = plan.out / "experiments.json"
studies = study_sets(
    cases, groups, out=place.out / "hypotheses", cache=place.cache, results=results
)
for name, study in studies.items():
    print(name)
    display(table(to_json(study.hypotheses), "id", "statement", "verdict", "reason"))

# %%
write_hypothesis_report(studies, results, place.out / "hypotheses")
Markdown((place.out / "hypotheses" / TEXT).read_text())
