"""Rates by threshold and by subgroup, and figures as text."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from tumorlens.services.dashboard.charts.colors import BLUE, GREY, VERMILION, faint
from tumorlens.services.dashboard.charts.dots import dot_of, interval_dots
from tumorlens.services.dashboard.charts.names import label_name
from tumorlens.services.dashboard.texts import Say

MARGIN = {"l": 10, "r": 10, "t": 48, "b": 44}


def figure_text(found: Mapping[str, Any], name: str, n: str = "n") -> str:
    """Write a figure as people should see it.

    >>> figure_text({"auc": 0.91, "auc_low": 0.86, "auc_high": 0.95, "n": 143}, "auc")
    '0.910 (0.860-0.950, n=143)'
    """
    value, low, high = found.get(name), found.get(f"{name}_low"), found.get(f"{name}_high")
    count = f"n={found[n]:,}"
    if value is None:
        return f"- ({count})"
    return (
        f"{value:.3f} ({count})" if low is None else f"{value:.3f} ({low:.3f}-{high:.3f}, {count})"
    )


def sweep_figure(sweep: Mapping[str, Any], threshold: float, own: float, say: Say) -> go.Figure:
    """Draw sensitivity and specificity by threshold, on log odds so that both ends are seen."""
    figure = go.Figure()
    grid = sweep["threshold"]
    places = list(range(len(grid)))
    for name, color in (("sensitivity", VERMILION), ("specificity", BLUE)):
        if sweep[name][0] is None:
            continue
        low, high = sweep[f"{name}_low"], sweep[f"{name}_high"]
        if low[0] is not None:
            figure.add_trace(go.Scatter(
                x=places + places[::-1], y=high + low[::-1], fill="toself", hoverinfo="skip",
                fillcolor=faint(color), line={"width": 0}, showlegend=False,
            ))  # fmt: skip
        figure.add_trace(go.Scatter(
            x=places, y=sweep[name], mode="lines", line={"color": color}, customdata=grid,
            name=say(f"performance.{name}"),
            hovertemplate=say("performance.at") + " %{customdata:.4g}: %{y:.3f}",
        ))  # fmt: skip
    for value, dash, text in ((own, "dot", say("performance.own")), (threshold, "solid", "")):
        figure.add_vline(x=_place(grid, value), annotation_text=text,
                         line={"dash": dash, "color": GREY})  # fmt: skip
    ticks = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
    figure.update_xaxes(
        tickvals=[_place(grid, t) for t in ticks], ticktext=[f"{t:g}" for t in ticks],
        title=say("performance.threshold"),
    )  # fmt: skip
    return figure.update_layout(
        title=say("performance.sweep", n=f"{sweep['n']:,}"), height=420, margin=MARGIN,
        legend={"orientation": "h", "yanchor": "top", "y": -0.18, "x": 0},
    )  # fmt: skip


def _place(grid: list[float], threshold: float) -> int:
    """Give the step of the grid that lies nearest; steps are even in log odds."""
    return min(range(len(grid)), key=lambda i: abs(grid[i] - threshold))


def subgroup_dots(record: Mapping[str, Any], kind: str, measure: str, say: Say) -> go.Figure:
    """Draw one figure of every subgroup of a kind below that of all scans."""
    everything = record["detection"]["all"]
    rows = {say("rows.all"): everything} | {
        label_name(name, say): found["detection"]
        for name, found in record["subgroups"][kind].items()
    }
    dots = [
        dot_of(found, name, measure, groups=say("explore.groups"),
               color=GREY if found is everything else BLUE)
        for name, found in rows.items()
        if found[measure] is not None
    ]  # fmt: skip
    title = say("performance.subgroups", measure=say(f"performance.{measure}"),
                n=f"{everything['n']:,}")  # fmt: skip
    marks = [everything[measure]] if everything[measure] is not None else []
    return interval_dots(dots, title=title, axis=say(f"performance.{measure}"), marks=marks)
