"""The colors and shapes that charts share: figures with intervals, curves, matrices of counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import plotly.graph_objects as go

from tumorlens.json_records import Record
from tumorlens.records import Estimate
from tumorlens.reports.charts.texts import Translate

# Told apart without color vision (Okabe and Ito, 2008), each with one meaning.
BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"
PURPLE, ORANGE, SKY, GRAY = "#cc79a7", "#e69f00", "#56b4e9", "#7f8c99"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, GRAY)
DECISIONS: Mapping[str, str] = {
    "tumor": VERMILION,
    "uncertain": ORANGE,
    "no tumor": BLUE,
    "out of scope": PURPLE,
}
LABELS: Mapping[str, str] = {
    "ct_healthy": SKY,
    "ct_tumor": VERMILION,
    "mri_healthy": BLUE,
    "mri_glioma": ORANGE,
    "mri_meningioma": GREEN,
    "mri_pituitary": PURPLE,
    "mri_tumor": GRAY,
}

MARGIN = {"l": 10, "r": 10, "t": 48, "b": 44}
LEGEND_BELOW = {"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0, "x": 0}
SYMBOLS = ("circle", "diamond", "square", "cross")
# Light below one half and dark above it, so that the figures in the cells stand out (4.5 to 1).
COUNT_COLORS = [[0.0, "#f4f8fb"], [0.5, "#b5d0e4"], [0.5, "#2a6ea6"], [1.0, "#0b4f7d"]]
ROW, AROUND_ROWS = 26, 96  # pixels


def label_colors(labels: Iterable[str]) -> dict[str, str]:
    """Return a color for each label: its own, or for those that have none one of the others."""
    names = dict.fromkeys(labels)
    own = {LABELS[name] for name in names if name in LABELS}
    free = cycle([color for color in SERIES if color not in own] or SERIES)
    return {name: LABELS.get(name) or next(free) for name in names}


@dataclass(frozen=True)
class Dot:
    """One figure in a row of its own; `note` is n and what else the mouse shows."""

    name: str
    estimate: Estimate
    note: str
    color: str = BLUE
    series: str = ""  # as the legend names it, where several share a row


def dot_of(
    row: Record, name: str, *, measure: str, t: Translate, color: str = BLUE, series: str = ""
) -> Dot:
    """Make a dot of a row that has `measure`, its interval and counts."""
    estimate = row.estimate(measure)
    counts = count_text(row.values.get("n"), row.values.get("n_groups"), t=t)
    note = ", ".join(filter(None, [interval_text(estimate), counts]))
    return Dot(name, estimate, note, color, series)


def interval_dots(
    dots: Iterable[Dot],
    *,
    title: str,
    axis: str = "AUC",
    marks: Sequence[float] = (),
    bounds: tuple[float, float] | None = None,
) -> go.Figure:
    """Draw figures below one another in the order given, `marks` as lines to hold them against.

    Those that could not be measured are left out.
    """
    figure = go.Figure()
    known = [dot for dot in dots if dot.estimate.value is not None]
    names = list(dict.fromkeys(dot.name for dot in reversed(known)))
    kinds = list(dict.fromkeys((dot.series, dot.color) for dot in known))
    is_named = any(series for series, _ in kinds)
    for kind, symbol in zip(kinds, cycle(SYMBOLS if is_named else SYMBOLS[:1]), strict=False):
        own = [dot for dot in known if (dot.series, dot.color) == kind]
        figure.add_trace(_dots(own, *kind, symbol=symbol))
    for mark in marks:
        figure.add_vline(x=mark, line={"dash": "dot", "width": 1, "color": GRAY})
    figure.update_yaxes(
        categoryorder="array", categoryarray=names, automargin=True, fixedrange=True
    )
    figure.update_xaxes(range=bounds, fixedrange=True)
    row = ROW + 6 * (len(kinds) - 1) * is_named
    height = AROUND_ROWS + row * max(2, len(names))
    lay_out(figure, title=title, x=axis, height=height, margin=MARGIN | {"r": 20})
    # Dots of one row stand below one another where a legend names their series.
    more = {"scattermode": "group", "legend": LEGEND_BELOW} if is_named else {}
    return figure.update_layout(showlegend=is_named, **more)


def _dots(dots: Sequence[Dot], series: str, color: str, *, symbol: str) -> go.Scatter:
    estimates = [dot.estimate for dot in dots]
    return go.Scatter(
        name=series,
        orientation="h",
        x=[estimate.value for estimate in estimates],
        y=[dot.name for dot in dots],
        mode="markers",
        marker={"size": 9, "color": color, "symbol": symbol},
        error_x=error_bars(estimates, color=color, thickness=1.6, width=3),
        customdata=[dot.note for dot in dots],
        hovertemplate=f"%{{y}}: %{{x:.3f}}<br>%{{customdata}}<extra>{series}</extra>",
    )


def error_bars(estimates: Sequence[Estimate], *, color: str, **more: float) -> dict[str, object]:
    """Return Plotly's error bars of intervals, no bar where there is none."""
    return {
        "type": "data",
        "symmetric": False,
        "color": color,
        "array": [_gap(e.value, e.high) for e in estimates],
        "arrayminus": [_gap(e.low, e.value) for e in estimates],
        **more,
    }


def _gap(low: float | None, high: float | None) -> float:
    return 0.0 if low is None or high is None else max(0.0, high - low)


def line(name: str, x: Sequence[Any], y: Sequence[Any], *, color: str, **more: Any) -> go.Scatter:
    """Return one curve."""
    return go.Scatter(name=name, x=x, y=y, mode="lines", line={"color": color}, **more)


def band(x: Sequence[Any], estimates: Sequence[Estimate], *, color: str) -> go.Scatter:
    """Return the area between the ends of intervals."""
    return go.Scatter(
        x=[*x, *reversed(x)],
        y=[e.high for e in estimates] + [e.low for e in reversed(estimates)],
        fill="toself",
        fillcolor=faint(color),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )


def diagonal(name: str) -> go.Scatter:
    """Return the line from corner to corner."""
    style = {"dash": "dot", "color": GRAY, "width": 1}
    return go.Scatter(x=[0, 1], y=[0, 1], mode="lines", name=name, hoverinfo="skip", line=style)


def count_map(
    colors: Sequence[Sequence[float | None]],
    text: Sequence[Sequence[object]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    **more: Any,
) -> go.Figure:
    """Draw a matrix of counts from top to bottom, `colors` on a scale from light to dark."""
    cells = {"xgap": 2, "ygap": 2, "colorscale": COUNT_COLORS, "showscale": False}
    known = [cell for row in colors for cell in row if cell is not None]
    cells |= {"zmin": 0, "zmax": max([1e-9, *known])}
    figure = go.Figure(go.Heatmap(z=colors, text=text, x=columns, y=rows, **cells | more))
    figure.update_xaxes(automargin=True)
    return figure.update_yaxes(autorange="reversed", automargin=True)


def lay_out(
    figure: go.Figure, *, title: str, x: str = "", y: str = "", height: int = 420, **more: Any
) -> go.Figure:
    """Set the title of a chart, those of its axes, and its size."""
    axes = {"xaxis_title": x or None, "yaxis_title": y or None}
    return figure.update_layout(title=title, height=height, **{"margin": MARGIN} | axes | more)


def faint(color: str) -> str:
    """Write a color as Plotly takes one that lets the page through.

    >>> faint("#0072b2")
    'rgba(0, 114, 178, 0.2)'
    """
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.2)"


def count_text(n: int | None, n_groups: int | None, *, t: Translate) -> str:
    """Write how many scans, and how many independent groups, where that is known."""
    scans = "" if n is None else f"n={n:,}"
    groups = "" if n_groups is None else f"{n_groups:,} {t('chart.groups')}"
    return ", ".join(filter(None, [scans, groups]))


def interval_text(estimate: Estimate) -> str:
    """Write an interval without its figure; nothing where there is none.

    >>> interval_text(Estimate(0.9, 0.8, 0.95, 40))
    '0.800-0.950'
    """
    low, high = estimate.low, estimate.high
    return "" if low is None or high is None else f"{low:.3f}-{high:.3f}"


def estimate_text(estimate: Estimate) -> str:
    """Write a figure with its interval and n, in any language.

    >>> estimate_text(Estimate(0.91, 0.86, 0.95, 1430))
    '0.910 (0.860-0.950, n=1,430)'
    """
    value = "-" if estimate.value is None else f"{estimate.value:.3f}"
    inside = [interval_text(estimate), f"n={estimate.n:,}"]
    return f"{value} ({', '.join(filter(None, inside))})"
