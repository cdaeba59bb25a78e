"""The charts of an exploration, drawn by the reader's browser from figures of explore.json."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from tumorlens.study.explore.inventory import NO_SPLIT

# Okabe and Ito (2008): told apart without color vision too.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
PARTS = ("train", "val", "test", NO_SPLIT)
BINS = 64  # of 256 grey levels
COLUMNS = 4  # of the grid of features
_Row = tuple[Callable[..., go.Figure | None], str, tuple[Any, ...]]  # of a part of the page


@dataclass(frozen=True)
class Chart:
    """One chart with the sentence on how to read it."""

    html: Markup
    how: str


def plotly_script() -> Markup:
    """Give the library that all charts of a page share, once, from the installed package."""
    return Markup(f"<script>{get_plotlyjs()}</script>")


def draw_charts(figures: Mapping[str, Any]) -> dict[str, list[Chart]]:
    """Draw the charts of each part of the page; a chart without figures is left out."""
    parts: dict[str, list[_Row]] = {
        "counts": [(_balance, HOW["balance"], ()), (_sizes, HOW["sizes"], ())],
        "levels": [(_levels, HOW["levels"], ())],
    }
    found = {part: _drawn(part, figures, rows) for part, rows in parts.items()}
    return found | {"features": feature_charts(figures)}


def feature_charts(figures: Mapping[str, Any]) -> list[Chart]:
    """Draw the charts of features, modality by modality."""
    rows = [
        (draw, HOW[name], (modality,))
        for modality in figures["features"]
        for name, draw in _OF_FEATURES.items()
    ]
    return _drawn("features", figures, rows)


def _drawn(part: str, figures: Mapping[str, Any], rows: Sequence[_Row]) -> list[Chart]:
    drawn = [(draw(figures, *given), how) for draw, how, given in rows]
    return [
        Chart(_html(chart, f"{part}-{i}"), how)
        for i, (chart, how) in enumerate(drawn)
        if chart is not None
    ]


def _html(chart: go.Figure, name: str) -> Markup:
    chart.update_layout(
        template="plotly_white", margin={"l": 60, "r": 20, "t": 60, "b": 50},
        font={"size": 12}, title_font_size=14,
    )  # fmt: skip
    text = chart.to_html(
        full_html=False, include_plotlyjs=False, div_id=f"chart-{name}",
        config={"displaylogo": False, "responsive": True},
    )  # fmt: skip
    return Markup(text)


def _color(number: int) -> str:
    return COLORS[number % len(COLORS)]


def _balance(figures: Mapping[str, Any]) -> go.Figure:
    chart = make_subplots(1, 2, subplot_titles=("scans", "independent groups"))
    parts = {part: figures["balance"][part] for part in PARTS if part in figures["balance"]}
    names = sorted({label for part in parts.values() for label in part})
    for number, label in enumerate(names):
        for column, key in enumerate(("n", "n_groups"), start=1):
            heights = [part.get(label, {}).get(key, 0) for part in parts.values()]
            bar = go.Bar(
                x=list(parts), y=heights, name=label, legendgroup=label,
                marker_color=_color(number), showlegend=column == 1,
            )  # fmt: skip
            chart.add_trace(bar, row=1, col=column)
    total = f"n={figures['n']:,} in {figures['groups']:,} groups"
    return chart.update_layout(title=f"Classes by part of the split, {total}", height=380)


def _sizes(figures: Mapping[str, Any]) -> go.Figure | None:
    points = figures["sizes"]["points"]
    if not points:
        return None
    chart = make_subplots(1, 2, subplot_titles=("size", "aspect"))
    for number, label in enumerate(sorted({point["label"] for point in points})):
        own = [point for point in points if point["label"] == label]
        text = [f"{p['width']} x {p['height']} {p['format']}, n={p['n']:,}" for p in own]
        for column, key in enumerate(("height", "aspect"), start=1):
            dots = go.Scatter(
                x=[p["width"] for p in own], y=[p[key] for p in own], mode="markers", name=label,
                legendgroup=label, showlegend=column == 1, text=text, hoverinfo="text+name",
                marker={"color": _color(number), "opacity": 0.6,
                        "size": [5 + 4 * math.log10(p["n"]) for p in own]},
            )  # fmt: skip
            chart.add_trace(dots, row=1, col=column)
    chart.update_xaxes(title_text="width, pixels")
    chart.update_yaxes(title_text="height, pixels", col=1)
    chart.update_yaxes(title_text="width / height", col=2)
    total = sum(point["n"] for point in points)
    return chart.update_layout(title=f"Size and aspect as stored, n={total:,}", height=420)


def _levels(figures: Mapping[str, Any]) -> go.Figure:
    chart = go.Figure()
    rows = {name: row for name, row in figures["pictures"].items() if row["label"]}
    width = 256 // BINS
    for number, (name, row) in enumerate(rows.items()):
        counts = [0, *row["histogram"][1:]]  # 0 is background, and swamps the rest
        bins = [sum(counts[i : i + width]) for i in range(0, 256, width)]
        total = max(1, sum(bins))
        chart.add_trace(go.Scatter(
            x=[i + (width - 1) / 2 for i in range(0, 256, width)], y=[b / total for b in bins],
            mode="lines", name=f"{name}, n={row['n']:,}", line_color=_color(number),
        ))  # fmt: skip
    chart.update_xaxes(title_text="grey level of the prepared scan")
    chart.update_yaxes(title_text="share of pixels above 0")
    total = sum(row["n"] for row in rows.values())
    return chart.update_layout(title=f"Grey levels by label, n={total:,}", height=400)


def _titled(figures: Mapping[str, Any], modality: str, what: str) -> str:
    study = figures["features"][modality]
    name = modality.upper() if modality in ("ct", "mri") else "modality not recorded"
    return f"{name}: {what}, n={study['n']:,} in {study['n_groups']:,} groups"


def _distributions(figures: Mapping[str, Any], modality: str) -> go.Figure:
    study = figures["features"][modality]
    features, found = study["features"], study["distributions"]
    rows = math.ceil(len(features) / COLUMNS)
    titles = [name.replace("_", " ") for name in features]
    chart = make_subplots(rows, COLUMNS, subplot_titles=titles, vertical_spacing=0.08)
    for number, (label, by_feature) in enumerate(found.items()):
        for place, feature in enumerate(features):
            q = by_feature[feature]
            if q["q50"] is None:
                continue
            box = go.Box(
                x=[label], q1=[q["q25"]], median=[q["q50"]], q3=[q["q75"]], lowerfence=[q["q05"]],
                upperfence=[q["q95"]], mean=[q["mean"]], name=label, legendgroup=label,
                showlegend=place == 0, marker_color=_color(number),
            )  # fmt: skip
            chart.add_trace(box, row=place // COLUMNS + 1, col=place % COLUMNS + 1)
    chart.update_xaxes(showticklabels=False)
    title = _titled(figures, modality, "features by label")
    return chart.update_layout(title=title, height=210 * rows, boxmode="overlay")


def _correlation(figures: Mapping[str, Any], modality: str) -> go.Figure:
    study = figures["features"][modality]
    names = [name.replace("_", " ") for name in study["features"]]
    heat = go.Heatmap(
        z=study["correlation"], x=names, y=names, zmin=-1, zmax=1, colorscale="PuOr",
        reversescale=True, colorbar_title="rank correlation",
    )  # fmt: skip
    chart = go.Figure(heat)
    chart.update_yaxes(autorange="reversed")
    title = _titled(figures, modality, "correlation of features")
    return chart.update_layout(title=title, height=520)


def _models(figures: Mapping[str, Any], modality: str) -> go.Figure | None:
    models = figures["features"][modality]["models"]
    if not models:
        return None
    rows = {name: row for name, row in models.items() if row["auc"] is not None}
    dots = go.Scatter(
        x=[row["auc"] for row in rows.values()], y=[name.replace("_", " ") for name in rows],
        mode="markers", marker={"size": 10, "color": COLORS[0]}, error_x={
            "type": "data", "symmetric": False,
            "array": [(row["auc_high"] or row["auc"]) - row["auc"] for row in rows.values()],
            "arrayminus": [row["auc"] - (row["auc_low"] or row["auc"]) for row in rows.values()],
        },
    )  # fmt: skip
    chart = go.Figure(dots)
    chart.add_vline(0.5, line_dash="dot", line_color="#777777")
    chart.update_xaxes(title_text="AUC, 95 % interval", range=[0.4, 1.01])
    title = _titled(figures, modality, "tumor against healthy from features alone")
    return chart.update_layout(title=title, height=280)


def _importance(figures: Mapping[str, Any], modality: str) -> go.Figure | None:
    models = figures["features"][modality]["models"] or {}
    rows = {name: row["importance"] for name, row in models.items() if row["importance"]}
    if not rows:
        return None
    chart = go.Figure()
    for number, (name, found) in enumerate(rows.items()):
        chart.add_trace(go.Scatter(
            x=[row["mean"] for row in found.values()], mode="markers",
            y=[feature.replace("_", " ") for feature in found], name=name.replace("_", " "),
            error_x={"type": "data", "array": [row["sd"] for row in found.values()]},
            marker={"color": _color(number), "size": 8},
        ))  # fmt: skip
    chart.update_xaxes(title_text="loss of AUC when shuffled, mean and deviation over folds")
    chart.update_yaxes(autorange="reversed")
    title = _titled(figures, modality, "what each model leans on")
    return chart.update_layout(title=title, height=460)


def _frames(figures: Mapping[str, Any], modality: str) -> go.Figure | None:
    rows = figures.get("frames", {}).get(modality, {}).get("features", {})
    rows = {name: row for name, row in rows.items() if row["whole"]["auc"]}
    if not rows:
        return None
    chart = go.Figure()
    looks = {"whole": ("whole square", COLORS[1], "circle"),
             "head_only": ("inside the head", COLORS[0], "diamond")}  # fmt: skip
    for frame, (name, color, symbol) in looks.items():
        chart.add_trace(go.Scatter(
            x=[row[frame]["auc"]["auc"] if row[frame]["auc"] else None for row in rows.values()],
            y=[feature.replace("_", " ") for feature in rows], mode="markers", name=name,
            marker={"color": color, "symbol": symbol, "size": 9},
        ))  # fmt: skip
    share = figures["frames"][modality]["head_share"]["auc"]
    if share and share["auc"] is not None:
        text = "area of the head alone"
        chart.add_vline(share["auc"], line_dash="dash", line_color="#777777", annotation_text=text)
    chart.update_xaxes(title_text="AUC of one feature", range=[0.48, 1.01])
    chart.update_yaxes(autorange="reversed")
    title = _titled(figures, modality, "single features, with and without background")
    return chart.update_layout(title=title, height=460)


_OF_FEATURES: Mapping[str, Callable[..., go.Figure | None]] = {
    "distributions": _distributions,
    "correlation": _correlation,
    "models": _models,
    "importance": _importance,
    "frames": _frames,
}
HOW: Mapping[str, str] = {
    "balance": "Bars of one part stand side by side. Where the right side is much lower than the "
    "left, scans are copies or slices of few heads, and only the right side counts as evidence. "
    "\"none\" means that no split says.",
    "sizes": "A dot is a size met in files, larger where more files have it. Colors that stand "
    "apart mean that a file's size alone gives its label away.",
    "levels": "Each line is a label, scaled to its own pixels. Preparation stretches each head to "
    "0 to 255, so that what is left is how tissue is spread in between.",
    "distributions": "A box holds the middle half of the scans, its line the median, its whiskers "
    "90 %. Boxes that do not overlap separate; effect sizes and corrected p stand in the table.",
    "correlation": "Orange rises together, purple against each other. Features that are nearly 1 "
    "say the same, and their importance is shared.",
    "models": "Each model answers only for groups that it did not learn from. Left of the dotted "
    "line is worse than guessing.",
    "importance": "How much AUC a model loses in held-out folds where one feature is shuffled. Of "
    "features that say the same, as variance and its root, each covers for the other.",
    "frames": "Where the circle lies far to the right of the diamond, the feature read the "
    "outline of the head, not its tissue. The dashed line is what the area of the head tells.",
}  # fmt: skip
