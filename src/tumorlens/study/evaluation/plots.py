"""The plots of an evaluation, as SVG text to be put into a page."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from tumorlens.study.evaluation.curve_plots import (
    draw_calibration,
    draw_net_benefit,
    draw_precision_recall,
    draw_risk_coverage,
    draw_roc,
)
from tumorlens.study.evaluation.trial_plots import draw_deletion, draw_robustness
from tumorlens.study.plotting.svg import COLORS, QUIET, svg

ALL_FACTS = "all facts of the file"


def draw_plots(figures: Mapping[str, Any]) -> dict[str, Markup]:
    """Draw what evaluation.json holds, by name; what it does not hold is not drawn."""
    classes, kind = figures["classes"], figures["type"]
    plots = {"roc": draw_roc(figures), "calibration": draw_calibration(figures["calibration"])}
    if figures.get("precision_recall"):
        plots["precision_recall"] = draw_precision_recall(figures)
    decision = figures.get("decision") or {}
    if decision.get("net_benefit"):
        plots["net_benefit"] = draw_net_benefit(
            decision["net_benefit"], threshold=figures["detection"]["all"]["threshold"]
        )
    if decision:
        plots["risk_coverage"] = draw_risk_coverage(decision)
    plots["classes"] = _matrix(
        classes["confusion"], classes["labels"], classes["atoms"],
        f"Label against answer, n={classes['n']}",
    )  # fmt: skip
    if kind:
        plots["type"] = _matrix(
            kind["confusion"], kind["names"], kind["names"], f"Type given a tumor, n={kind['n']}"
        )
    if figures.get("subgroups"):
        plots |= {"subgroups": _subgroups(figures)}
    if figures.get("controls"):
        plots |= {"controls": _controls(figures["controls"])}
    if figures.get("robustness"):
        plots |= {"robustness": draw_robustness(figures["robustness"])}
    if (figures.get("explanation") or {}).get("deletion"):
        plots |= {"deletion": draw_deletion(figures["explanation"]["deletion"])}
    return plots


def _subgroups(figures: Mapping[str, Any]) -> Markup:
    """Draw the AUC of every subgroup that has one, with its interval, under that of all."""
    rows = [("all scans", figures["detection"]["all"])] + [
        (f"{kind}: {name}", found["detection"])
        for kind, names in figures["subgroups"].items()
        if len(names) > 1  # one name alone is all scans again
        for name, found in names.items()
    ]
    rows = [(name, found) for name, found in rows if found["auc"] is not None]
    drawing, axes = plt.subplots(figsize=(6.2, 1.2 + 0.27 * len(rows)), layout="constrained")
    for at, (name, found) in enumerate(rows):
        _bar(axes, at, found, color=COLORS["all"] if name == "all scans" else COLORS["mri"])
    if rows:
        axes.axvline(rows[0][1]["auc"], color=QUIET, lw=0.8, linestyle=":")
    _name_rows(axes, [f"{name}, n={found['n']}" for name, found in rows])
    axes.set(xlabel="AUC, 95 % by groups", title="Detection in subgroups")
    return svg(drawing)


def _controls(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Draw each control's AUC with the model's on the same scans as an open mark."""
    shown = [row for row in rows if row["auc"] is not None and _is_main(row)]
    drawing, axes = plt.subplots(figsize=(6.2, 1.4 + 0.27 * len(shown)), layout="constrained")
    for at, row in enumerate(shown):
        _bar(axes, at, row, color=COLORS["ct"])
        if row["model"] and row["model"]["auc"] is not None:
            axes.plot(row["model"]["auc"], at, "o", color=COLORS["mri"], fillstyle="none")
    axes.axvline(0.5, color=QUIET, lw=0.8)
    _name_rows(axes, [f"{row['task'].upper() if row['task'] != 'type' else 'type'}: "
                      f"{row['control']}{_stage(row)}" for row in shown])  # fmt: skip
    axes.set(xlabel="AUC; 0.5 is chance; open: the model's", title="Negative controls")
    return svg(drawing)


def _is_main(row: Mapping[str, Any]) -> bool:
    return not row["control"].startswith("tree on ") or row["control"].endswith(ALL_FACTS)


def _stage(row: Mapping[str, Any]) -> str:
    return f" ({row['detail']})" if row["control"].startswith("tree on ") else ""


def _bar(axes: Axes, at: int, found: Mapping[str, Any], *, color: str) -> None:
    axes.plot(found["auc"], at, "o", color=color, ms=4)
    if found["auc_low"] is not None:
        axes.plot([found["auc_low"], found["auc_high"]], [at, at], color=color, lw=1.4)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _matrix(
    counts: Sequence[Sequence[int]], rows: Sequence[str], columns: Sequence[str], title: str
) -> Markup:
    table = np.array(counts)
    size = (1.6 + 0.8 * len(columns), 1.4 + 0.45 * len(rows))
    drawing, axes = plt.subplots(figsize=size, layout="constrained")
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    edges = [np.arange(length + 1) - 0.5 for length in table.shape]
    axes.pcolormesh(edges[1], edges[0], shares, cmap="Blues", vmin=0, vmax=1)  # cells, not pixels
    axes.invert_yaxis()
    _write_counts(axes, table)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_title(title, fontsize=10)
    return svg(drawing)


def _write_counts(axes: Axes, table: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(table):
        dark = count > 0.6 * table[row].sum()
        axes.text(column, row, str(count), ha="center", va="center", fontsize=8,
                  color="white" if dark else "black")  # fmt: skip
