"""Figures with their intervals, one row each: what most of a study is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from tumorlens.services.dashboard.charts.colors import BLUE, GREY

ROW = 26  # pixels
AROUND = 96  # of title and axis


@dataclass(frozen=True)
class Dot:
    """One figure; `low` and `high` are None where it has no interval."""

    name: str
    value: float
    low: float | None
    high: float | None
    note: str  # n, and what else a mouse over it should tell
    color: str = BLUE


def interval_dots(
    dots: Sequence[Dot],
    *,
    title: str,
    axis: str,
    marks: Sequence[float] = (),
    bounds: tuple[float, float] | None = None,
) -> go.Figure:
    """Draw figures below one another in the order given, `marks` as lines to hold them against."""
    figure = go.Figure()
    # One trace a color, and no legend: names stand beside their rows.
    for color in dict.fromkeys(dot.color for dot in dots):
        own = [dot for dot in dots if dot.color == color]
        figure.add_trace(go.Scatter(
            x=[dot.value for dot in own], y=[dot.name for dot in own], mode="markers",
            marker={"size": 9, "color": color},
            error_x={
                "type": "data", "symmetric": False, "color": color, "thickness": 1.6, "width": 3,
                "array": [_gap(dot.value, dot.high) for dot in own],
                "arrayminus": [_gap(dot.low, dot.value) for dot in own],
            },
            customdata=[dot.note for dot in own],
            hovertemplate="%{y}: %{x:.3f}<br>%{customdata}<extra></extra>",
        ))  # fmt: skip
    for mark in marks:
        figure.add_vline(x=mark, line={"dash": "dot", "width": 1, "color": GREY})
    figure.update_yaxes(
        categoryorder="array", categoryarray=[dot.name for dot in reversed(dots)],
        automargin=True, fixedrange=True,
    )  # fmt: skip
    figure.update_xaxes(title=axis, range=bounds, fixedrange=True)
    return figure.update_layout(
        title=title, height=AROUND + ROW * max(2, len(dots)), showlegend=False,
        margin={"l": 10, "r": 20, "t": 48, "b": 44},
    )  # fmt: skip


def _gap(low: float | None, high: float | None) -> float:
    return 0.0 if low is None or high is None else max(0.0, high - low)


def counted(row: Mapping[str, Any], *, groups: str, n: str = "n") -> str:
    """Write how many scans, and how many independent groups where that is known.

    >>> counted({"n": 80, "n_groups": 70}, groups="groups")
    'n=80, 70 groups'
    """
    found = [f"n={row[n]:,}"] if row.get(n) is not None else []
    if row.get("n_groups") is not None:
        found.append(f"{row['n_groups']:,} {groups}")
    return ", ".join(found)


def dot_of(row: Mapping[str, Any], name: str, measure: str, *, groups: str, **more: Any) -> Dot:
    """Make a dot of a row that has `measure`, `measure_low` and `measure_high`."""
    value, low, high = (row.get(f"{measure}{end}") for end in ("", "_low", "_high"))
    interval = "" if low is None or high is None else f"{low:.3f}-{high:.3f}, "
    return Dot(name, float(value or 0), low, high, interval + counted(row, groups=groups), **more)
