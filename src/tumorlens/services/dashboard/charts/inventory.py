"""How many scans of what, in which sizes and grey levels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from tumorlens.services.dashboard.charts.colors import GREY, LABELS, SERIES
from tumorlens.services.dashboard.charts.names import label_name
from tumorlens.services.dashboard.texts import Say

MARGIN = {"l": 10, "r": 10, "t": 48, "b": 44}


def balance_bars(balance: Mapping[str, Mapping[str, Mapping[str, int]]], say: Say) -> go.Figure:
    """Draw scans by label, a bar for each part of the split; groups are told by mouse."""
    figure = go.Figure()
    total = 0
    for number, (part, held) in enumerate(balance.items()):
        total += sum(row["n"] for row in held.values())
        figure.add_trace(go.Bar(
            name=say("explore.no_split") if part == "none" else part,
            x=[label_name(label, say) for label in held], y=[row["n"] for row in held.values()],
            text=[row["n"] for row in held.values()], textposition="auto",
            customdata=[row["n_groups"] for row in held.values()],
            hovertemplate="%{x}: %{y:,}<br>%{customdata:,} " + say("explore.groups"),
            marker_color=SERIES[number % len(SERIES)],
        ))  # fmt: skip
    return figure.update_layout(
        title=say("explore.balance", n=f"{total:,}"), barmode="group", height=380, margin=MARGIN,
        yaxis_title=say("explore.scans"), legend={"orientation": "h", "y": 1.02, "x": 1,
                                                  "xanchor": "right", "yanchor": "bottom"},
    )  # fmt: skip


def size_scatter(points: Sequence[Mapping[str, Any]], say: Say) -> go.Figure:
    """Draw width against height as stored; the larger the dot, the more files."""
    figure = go.Figure()
    most = max((point["n"] for point in points), default=1)
    for label in dict.fromkeys(point["label"] for point in points):
        own = [point for point in points if point["label"] == label]
        figure.add_trace(go.Scatter(
            name=label_name(label, say), mode="markers",
            x=[point["width"] for point in own], y=[point["height"] for point in own],
            marker={"size": [7 + 23 * np.sqrt(point["n"] / most) for point in own],
                    "color": LABELS.get(label, GREY), "opacity": 0.55},
            customdata=[[point["n"], point["format"], point["aspect"]] for point in own],
            hovertemplate="%{x} x %{y}, %{customdata[1]}<br>"
            + say("explore.aspect") + " %{customdata[2]}<br>n=%{customdata[0]:,}",
        ))  # fmt: skip
    total = sum(point["n"] for point in points)
    return figure.update_layout(
        title=say("explore.sizes", n=f"{total:,}"), height=420, margin=MARGIN,
        xaxis_title=say("explore.width"), yaxis_title=say("explore.height"),
    )  # fmt: skip


def grey_levels(pictures: Mapping[str, Mapping[str, Any]], say: Say) -> go.Figure:
    """Draw how often each grey level of the head occurs in each class; black is left out."""
    figure = go.Figure()
    for name, row in pictures.items():
        counts = np.array(row["histogram"][1:], float)
        shares = 100 * counts / max(counts.sum(), 1)
        figure.add_trace(go.Scatter(
            x=np.arange(1, len(counts) + 1), y=shares.round(4), mode="lines",
            name=f"{label_name(name, say)} (n={row['n']:,})",
            line={"color": LABELS.get(name, GREY), "width": 1.8},
            hovertemplate="%{x}: %{y:.2f} %",
        ))  # fmt: skip
    total = sum(row["n"] for row in pictures.values())
    return figure.update_layout(
        title=say("explore.histogram", n=f"{total:,}"), height=360, margin=MARGIN,
        xaxis_title=say("explore.grey"), yaxis_title=say("explore.share"),
    )  # fmt: skip
