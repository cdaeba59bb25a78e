"""The curves of an evaluation: ROC, precision, reliability, net benefit, risk."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from tumorlens.study.plotting.svg import COLORS, NAMES, QUIET, svg

_SIZE = (5, 4.5)


def draw_roc(figures: Mapping[str, Any]) -> Markup:
    """Draw ROC curves by modality, each with its operating point."""
    drawing, axes = plt.subplots(figsize=_SIZE, layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.8", linestyle=":")
    for name, curve in figures["roc"].items():
        if curve is None:
            continue
        found = figures["detection"][name]
        label = f"{NAMES[name]}: AUC {found['auc']:.3f}, n={found['n']}"
        axes.plot(
            curve["fpr"], curve["tpr"], drawstyle="steps-post", label=label, color=COLORS[name]
        )
        axes.plot(1 - found["specificity"], found["sensitivity"], "o", color=COLORS[name])
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC, operating point marked")
    _legend(axes)
    return svg(drawing)


def draw_precision_recall(figures: Mapping[str, Any]) -> Markup:
    """Draw precision by recall; the dotted lines are the shares of tumors."""
    drawing, axes = plt.subplots(figsize=_SIZE, layout="constrained")
    for name, curve in figures["precision_recall"].items():
        if curve is None:
            continue
        found = figures["detection"][name]
        label = f"{NAMES[name]}: average precision {found['average_precision']:.3f}"
        axes.plot(curve["recall"], curve["precision"], label=label, color=COLORS[name])
        axes.axhline(found["n_tumor"] / found["n"], color=COLORS[name], linestyle=":", lw=0.8)
    axes.set(xlabel="recall (sensitivity)", ylabel="precision", ylim=(0, 1.02),
             title="Precision at the share of tumors here")  # fmt: skip
    _legend(axes)
    return svg(drawing)


def draw_calibration(found: Mapping[str, Any]) -> Markup:
    """Draw the reliability before and after calibration, over the counts of the probabilities."""
    drawing, (axes, counts) = plt.subplots(
        2, 1, figsize=(5, 5.4), height_ratios=(4, 1), sharex=True, layout="constrained"
    )
    axes.plot([0, 1], [0, 1], color="0.8", linestyle=":")
    before = found.get("before")
    if before:
        axes.plot(*_points(before), "s--", color=QUIET, ms=4, label="before")
    axes.plot(*_points(found), "o-", color=COLORS["mri"], ms=5, label="as answered")
    for row in found["bins"]:
        if row.get("observed_low") is not None:
            bounds = [row["observed_low"], row["observed_high"]]
            axes.plot([row["predicted"]] * 2, bounds, color=COLORS["mri"], lw=0.8)
    axes.set(ylabel="share with a tumor", ylim=(-0.02, 1.02),
             title=f"Calibration: ECE {found['ece']:.3f}, n={found['n']}")  # fmt: skip
    if before:
        axes.legend(fontsize=8)
    counts.bar(
        [row["predicted"] for row in found["bins"]], [row["n"] for row in found["bins"]],
        width=0.015, color=COLORS["mri"],
    )  # fmt: skip
    counts.set(xlabel="predicted tumor probability, bins of equally many", ylabel="scans")
    return svg(drawing)


def _points(found: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    bins = found["bins"]
    return [row["predicted"] for row in bins], [row["observed"] for row in bins]


def draw_net_benefit(found: Mapping[str, Any], *, threshold: float) -> Markup:
    """Draw the decision curve with its band, against flagging all and flagging none."""
    drawing, axes = plt.subplots(figsize=_SIZE, layout="constrained")
    at = np.array(found["threshold"])
    axes.axhline(0, color=QUIET, lw=0.8, label="flag none")
    axes.plot(at, found["all"], color=QUIET, linestyle="--", label="flag all")
    axes.plot(at, found["model"], color=COLORS["mri"], label="flag what the model says")
    if found["model_low"] and found["model_low"][0] is not None:
        axes.fill_between(at, found["model_low"], found["model_high"],
                          color=COLORS["mri"], alpha=0.2, lw=0)  # fmt: skip
    axes.axvline(threshold, color=COLORS["ct"], linestyle=":", label="the bundle's threshold")
    top = found["prevalence"]
    axes.set(ylim=(-0.25 * top, 1.1 * top), xlabel="threshold probability",
             ylabel="net benefit", title=f"Decision curve, n={found['n']}")  # fmt: skip
    _legend(axes)
    return svg(drawing)


def draw_risk_coverage(decision: Mapping[str, Any]) -> Markup:
    """Draw the error among the scans answered, and the point that the predictor chose."""
    found, chosen = decision["risk_coverage"], decision["abstention"]
    drawing, axes = plt.subplots(figsize=_SIZE, layout="constrained")
    axes.plot(found["coverage"], found["risk"], color=COLORS["mri"],
              label="answering the surest first")  # fmt: skip
    if chosen["error"] is not None:
        axes.plot(1 - chosen["abstained"], chosen["error"], "o", color=COLORS["ct"],
                  label="with the bundle's abstention")  # fmt: skip
    axes.set(xlim=(0, 1.02), xlabel="share of scans answered", ylabel="share of them wrong",
             title=f"Risk against coverage, n={found['n']}")  # fmt: skip
    axes.set_ylim(bottom=0)
    _legend(axes)
    return svg(drawing)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8)
