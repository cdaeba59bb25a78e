"""The plots of what was tried on scans and heatmaps: damage, deletion."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
from markupsafe import Markup
from matplotlib.axes import Axes

from tumorlens.study.evaluation.perturbations import PERTURBATIONS
from tumorlens.study.evaluation.robustness import AS_STORED
from tumorlens.study.plotting.svg import COLORS, NAMES, QUIET, svg

_ORDERS = {"heatmap": (COLORS["mri"], "-", "by the heatmap"),
           "middle": (COLORS["ct"], "--", "from the middle of the head"),
           "random": (QUIET, ":", "at random")}  # fmt: skip


def draw_robustness(found: Mapping[str, Any]) -> Markup:
    """Draw the AUC against the strength of each kind of damage, by modality."""
    drawing, panels = plt.subplots(2, 4, figsize=(9.4, 4.9), sharey=True, layout="constrained")
    tasks = [task for task in ("ct", "mri") if any(r["task"] == task for r in found["rows"])]
    for axes, (name, kind) in zip(panels.flat, PERTURBATIONS.items(), strict=False):
        for task in tasks:
            _draw_task(axes, found, name, task)
        axes.axhline(0.5, color=QUIET, lw=0.8)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(kind.unit, fontsize=8)
        axes.tick_params(labelsize=8)
    legend = panels.flat[len(PERTURBATIONS)]
    legend.axis("off")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    legend.legend(handles, labels, loc="center", fontsize=9, title=f"n={found['n']}")
    for axes in panels[:, 0]:
        axes.set_ylabel("AUC")
    return svg(drawing)


def _draw_task(axes: Axes, found: Mapping[str, Any], name: str, task: str) -> None:
    """Draw one modality over the strengths in order, the scan as stored among them."""
    neutral = PERTURBATIONS[name].neutral
    points = [
        (neutral if row["perturbation"] == AS_STORED else row["strength"], row)
        for row in found["rows"]
        if row["task"] == task and row["perturbation"] in (name, AS_STORED)
    ]
    points = sorted((p for p in points if p[1]["auc"] is not None), key=lambda p: p[0])
    if not points:
        return
    at = [strength for strength, _ in points]
    axes.plot(at, [row["auc"] for _, row in points], "o-", ms=3.5,
              color=COLORS[task], label=NAMES[task])  # fmt: skip
    banded = [(s, row) for s, row in points if row["auc_low"] is not None]
    axes.fill_between(
        [s for s, _ in banded], [row["auc_low"] for _, row in banded],
        [row["auc_high"] for _, row in banded], color=COLORS[task], alpha=0.15, lw=0,
    )  # fmt: skip
    axes.plot([neutral], [next(row["auc"] for s, row in points if s == neutral)], "s",
              ms=5.5, color=COLORS[task], fillstyle="none")  # fmt: skip
    if "JPEG" in name or "resolution" in name:
        axes.set_xlim(max(at) * 1.05, 0)  # worse to the right, as everywhere


def draw_deletion(found: Mapping[str, Any]) -> Markup:
    """Draw the tumor probability by the share of the head deleted, in three orders."""
    drawing, axes = plt.subplots(figsize=(5, 4), layout="constrained")
    at = [100 * share for share in found["deleted"]]
    for name, (color, style, label) in _ORDERS.items():
        axes.plot(at, found[name], style, color=color, label=label)
        if found[f"{name}_low"][0] is not None:
            axes.fill_between(at, found[f"{name}_low"], found[f"{name}_high"], color=color,
                              alpha=0.15, lw=0)  # fmt: skip
    axes.set(xlabel="deleted, % of the head", ylabel="mean tumor probability", ylim=(0, 1.02),
             title=f"Deletion, n={found['n']} flagged tumors")  # fmt: skip
    axes.legend(fontsize=8)
    return svg(drawing)
