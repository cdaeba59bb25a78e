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
# # 5. Evaluation and threshold
#
# **Research use only. Not a medical device.**
#
# The network of notebook 3 on the test part: groups that neither training nor any choice has seen. Every
# figure comes with its 95 % interval (bootstrap over groups) and its n.

# %%
from workspace import (
    Shown,
    open_set,
    open_workplace,
    recipe_for,
    table,
    tested_part,
    train_once,
)

from tumorlens import Predictor
from tumorlens.json_records import to_json
from tumorlens.study.evaluation.plots import draw_plots
from tumorlens.study.evaluation.run import evaluate, write_evaluation

# %%
place = open_workplace()
found = open_set(place)
bundle = train_once(place, found, recipe_for(place, "quick"))
cases, split, context = tested_part(found)
evaluation = evaluate(cases, Predictor(bundle), part="test", split=split, context=context)
write_evaluation(evaluation, place.out / "evaluation")
result = evaluation.result

# %%
for name, row in result.detection.items():
    print(f"{name:4} AUC {row.auc}")
    print(f"     sensitivity {row.sensitivity}")
    print(f"     specificity {row.specificity}")

# %% [markdown]
# ## Curves
#
# The threshold was chosen on validation, and is marked. Moving it now, to where the test part looks best,
# would make the test part a second validation part.

# %%
plots = draw_plots(result)
Shown(plots["roc"])

# %%
Shown(plots["calibration"])

# %% [markdown]
# ## What a threshold costs
#
# Sensitivity and specificity trade against each other. How many alarms are false depends on how rare tumors
# are as well: at a prevalence of 1 %, a specificity of 0.95 means five false alarms for each true one.

# %%
table(to_json(result.thresholds["all"]))

# %%
table([result.decisions])
