"""What is in a data set: balance, sizes, gray levels, and how features separate its classes.

Drawn from explore.json, or from tabular.json, which holds its features alone. Each chart is titled
with its n; one for which the record holds nothing has no data.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tumorlens.json_records import Record
from tumorlens.language import translate
from tumorlens.records import Estimate
from tumorlens.reports.charts import shapes
from tumorlens.reports.charts.texts import Translate, label_name, term

DIVERGING = [[0.0, "#542788"], [0.5, "#f7f7f7"], [1.0, "#b35806"]]  # purple to orange
CHANCE = {"marks": (0.5,), "bounds": (0.3, 1.02)}
BIN = 4  # gray levels
COLUMNS = 4  # of the grid of features


def balance_bars(balance: Mapping[str, Record], t: Translate) -> go.Figure:
    """Draw scans by label, a bar for each part of the split, and below them independent groups."""
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.06)
    parts = sorted(balance.items(), key=lambda row: row[0] == "test")  # it comes last everywhere
    for (part, held), color in zip(parts, cycle(shapes.SERIES), strict=False):
        name = t("chart.no_split") if part == "none" else translate(part)
        labels = [label_name(label, t) for label in held.values]
        for row, key in enumerate(("n", "n_groups"), start=1):
            counts = [held.part(label).count(key) for label in held.values]
            bars = go.Bar(x=labels, y=counts, text=counts)
            bars.update(name=name, legendgroup=name, showlegend=row == 1, marker_color=color)
            figure.add_trace(bars.update(textposition="outside", cliponaxis=False), row, 1)
    figure.update_yaxes(title_text=t("chart.groups"), row=2)
    n = sum(found.part(label).count("n") for _, found in parts for label in found.values)
    title, y = t("chart.balance", n=n), t("chart.scans")
    more = {"barmode": "group", "legend": shapes.LEGEND_BELOW}
    return shapes.lay_out(figure, title=title, y=y, height=460, **more)


def size_scatter(points: Sequence[Record], t: Translate) -> go.Figure:
    """Draw width against height as stored; the larger the dot, the more files."""
    figure = go.Figure()
    highest = max((point.count("n") for point in points), default=1)
    template = "%{x} x %{y}, %{customdata[1]}<br>" + t("chart.aspect")
    for label, color in shapes.label_colors(point.text("label") for point in points).items():
        own = [point for point in points if point.text("label") == label]
        sizes = [7 + 23 * math.sqrt(point.count("n") / highest) for point in own]
        figure.add_scatter(
            name=label_name(label, t),
            mode="markers",
            x=[point.count("width") for point in own],
            y=[point.count("height") for point in own],
            marker={"size": sizes, "color": color, "opacity": 0.55},
            customdata=[[p.count("n"), p.text("format"), p.number("aspect")] for p in own],
            hovertemplate=template + " %{customdata[2]}<br>n=%{customdata[0]:,}",
        )
    title = t("chart.sizes", n=sum(point.count("n") for point in points))
    return shapes.lay_out(figure, title=title, x=t("chart.width"), y=t("chart.height"))


def gray_levels(images: Mapping[str, Record], t: Translate) -> go.Figure:
    """Draw how often each gray level of the head occurs in each class; black is left out."""
    figure = go.Figure()
    images = {name: row for name, row in images.items() if row.items("histogram")}
    for name, color in shapes.label_colors(images).items():
        row = images[name]
        counts = np.array([0, *row.items("histogram")[1:]], float).reshape(-1, BIN).sum(axis=1)
        shares = (100 * counts / max(counts.sum(), 1)).round(4).tolist()
        title = f"{label_name(name, t)} (n={row.count('n'):,})"
        levels, hover = np.arange(len(shares)) * BIN + (BIN - 1) / 2, "%{x}: %{y:.2f} %"
        line = shapes.line(title, levels.tolist(), shares, color=color, hovertemplate=hover)
        figure.add_trace(line.update(line_width=1.8))
    title = t("chart.levels", n=sum(row.count("n") for row in images.values()))
    x, y = t("chart.gray"), t("chart.share")
    return shapes.lay_out(figure, title=title, x=x, y=y, height=360)


def feature_boxes(study: Record, feature: str, t: Translate) -> go.Figure:
    """Draw one feature by class: middle half as a box, whiskers to the 5th and 95th percentile."""
    figure = go.Figure()
    total, distributions = 0, study.table("distributions")
    for label, color in shapes.label_colors(distributions).items():
        row = distributions[label].part(feature)
        total += row.count("n")
        name = label_name(label, t)
        figure.add_box(
            name=name,
            legendgroup=name,
            x=[f"{name} (n={row.count('n'):,})"],
            q1=[row.number("q25")],
            median=[row.number("q50")],
            q3=[row.number("q75")],
            lowerfence=[row.number("q05")],
            upperfence=[row.number("q95")],
            mean=[row.number("mean")],
            marker_color=color,
        )
    title = t("chart.feature", feature=term("feature", feature, t), n=total)
    return shapes.lay_out(figure, title=title, height=360, showlegend=False)


def all_feature_boxes(study: Record, t: Translate) -> go.Figure:
    """Draw every feature by class, in a grid."""
    features = study.items("features")
    rows, names = math.ceil(len(features) / COLUMNS), [term("feature", f, t) for f in features]
    figure = make_subplots(rows, COLUMNS, subplot_titles=names, vertical_spacing=0.08)
    for at, feature in enumerate(features):
        for box in feature_boxes(study, feature, t).data:
            place = (at // COLUMNS + 1, at % COLUMNS + 1)
            figure.add_trace(box.update(showlegend=at == 0), *place)
    figure.update_xaxes(showticklabels=False)
    title = t("chart.features", counts=_counts(study, t))
    margin = shapes.MARGIN | {"t": 80}  # the names of features stand above their boxes
    return shapes.lay_out(figure, title=title, height=210 * rows, margin=margin)


def single_dots(study: Record, t: Translate) -> go.Figure:
    """Draw how well each feature alone separates tumor from healthy."""
    rows = sorted(study.table("single").items(), key=lambda row: -(row[1].values["auc"] or 0))
    dots = [shapes.dot_of(row, term("feature", name, t), measure="auc", t=t) for name, row in rows]
    return shapes.interval_dots(dots, title=t("chart.single", counts=_counts(study, t)), **CHANCE)


def model_dots(study: Record, t: Translate) -> go.Figure:
    """Draw what models of all features reach in cross-validation over whole groups."""
    rows = study.table("models").items()
    dots = [shapes.dot_of(row, term("model", name, t), measure="auc", t=t) for name, row in rows]
    return shapes.interval_dots(dots, title=t("chart.models", counts=_counts(study, t)), **CHANCE)


def importance_dots(study: Record, t: Translate) -> go.Figure:
    """Draw how much AUC each model loses when a feature is shuffled; bars are one deviation."""
    models = study.table("models")
    found = {model: row.table("importance") for model, row in models.items()}
    rows = [row for held in found.values() for row in held.items()]
    means = [(row.number("mean"), feature) for feature, row in rows]
    features = list(dict.fromkeys(feature for _, feature in sorted(means, reverse=True)))

    def dots() -> Iterator[shapes.Dot]:
        for (model, row), color in zip(models.items(), cycle(shapes.SERIES), strict=False):
            for feature in (name for name in features if name in found[model]):
                held = found[model][feature]
                mean, sd, n = held.number("mean"), held.number("sd"), row.count("n")
                loss = Estimate(mean, mean - sd, mean + sd, n)
                note = f"sd {sd:.3f}, n={n:,}"
                name, series = term("feature", feature, t), term("model", model, t)
                yield shapes.Dot(name, loss, note, color, series)

    title, axis = t("chart.importance", counts=_counts(study, t)), t("chart.lost")
    return shapes.interval_dots(dots(), title=title, axis=axis, marks=(0.0,))


def correlation_map(study: Record, t: Translate) -> go.Figure:
    """Draw Spearman's correlation of every two features."""
    names = [term("feature", name, t) for name in study.items("features")]
    cells = {"zmin": -1, "zmax": 1, "colorscale": DIVERGING, "xgap": 0, "ygap": 0}
    cells |= {"showscale": True, "hovertemplate": "%{x}, %{y}: %{z:.2f}<extra></extra>"}
    found = study.items("correlation")
    figure = shapes.count_map(found, found, rows=names, columns=names, **cells)
    title = t("chart.correlation", counts=_counts(study, t))
    return shapes.lay_out(figure, title=title, height=480)


def frame_dots(frames: Record, t: Translate) -> go.Figure:
    """Draw each feature's AUC on the whole square and inside the head alone.

    The area of the head, which the whole square alone tells, stands above them.
    """
    share = frames.part("head_share")

    def dots() -> Iterator[shapes.Dot]:
        yield dot("head_share", share, frame="whole")
        for feature, row in frames.table("features").items():
            for frame in ("whole", "head_only"):
                yield dot(feature, row.part(frame), frame=frame)

    def dot(feature: str, row: Record, *, frame: str) -> shapes.Dot:
        color = shapes.VERMILION if frame == "whole" else shapes.BLUE
        name, series = term("feature", feature, t), t(f"chart.{frame}")
        found = row.part("auc")
        return shapes.dot_of(found, name, measure="auc", t=t, color=color, series=series)

    title = t("chart.frames", n=share.count("n"))
    return shapes.interval_dots(dots(), title=title, **CHANCE)


def _counts(study: Record, t: Translate) -> str:
    return shapes.count_text(study.count("n"), study.count("n_groups"), t=t)
