"""The plot of an audit, as SVG text to be put into a page."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from tumorlens.study.plotting.svg import svg

COLORS = {"as stored": "#b35806", "prepared": "#2b6ca3"}  # told apart without color vision too


def draw_shortcuts(rows: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Draw a bar for each family and stage, a panel for each task; None without figures."""
    measured = [row for row in rows if row["auc"] is not None]
    tasks = list(dict.fromkeys(row["task"] for row in measured))
    if not tasks:
        return None
    figure, panels = plt.subplots(
        1, len(tasks), figsize=(3.4 * len(tasks) + 2, 3.4), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for panel, task in zip(panels[0], tasks, strict=True):
        _draw_task(panel, [row for row in measured if row["task"] == task])
    handles, names = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)
    return svg(figure)


def _draw_task(panel: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    families = list(dict.fromkeys(row["family"] for row in rows))
    for offset, (stage, color) in zip((-0.2, 0.2), COLORS.items(), strict=True):
        own = {row["family"]: row for row in rows if row["stage"] == stage}
        at = np.array([i for i, family in enumerate(families) if family in own]) + offset
        found = [own[family] for family in families if family in own]
        auc = np.array([row["auc"] for row in found])
        low = np.array([row["auc_low"] for row in found])
        high = np.array([row["auc_high"] for row in found])
        error = np.clip([auc - low, high - auc], 0, None)
        panel.barh(at, auc - 0.5, left=0.5, height=0.38, color=color, label=stage,
                   xerr=error, error_kw={"lw": 1, "ecolor": "0.3"})  # fmt: skip
    panel.axvline(0.5, color="0.3", lw=0.8)
    panel.set(xlim=(0.4, 1.0), xlabel="AUC; 0.5 tells nothing", yticks=range(len(families)))
    panel.set_yticklabels(families)
    panel.set_title(f"{rows[0]['task']}, n={rows[0]['n']:,}", fontsize=10)
    if not panel.yaxis_inverted():
        panel.invert_yaxis()
