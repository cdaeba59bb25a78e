"""The pages of an exploration and of a table of features, with charts that the browser draws."""

import base64
import gzip
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from tumorlens.language import translate
from tumorlens.reports.page import render_page
from tumorlens.study.explore.record import (
    NO_SPLIT,
    ExploreResult,
    FeatureContrast,
    FeatureStudy,
    FrameComparison,
)
from tumorlens.study.explore.tabular import TabularResult, modality_title

# Okabe and Ito (2008): told apart without color vision too.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
GRAY = "#777777"
PARTS = ("train", "val", "test", NO_SPLIT)
BIN = 4  # gray levels
COLUMNS = 4  # of the grid of features


@dataclass(frozen=True)
class Chart:
    """One chart with the sentence on how to read it."""

    html: Markup
    how: str


def render_exploration(result: ExploreResult, images: Mapping[str, bytes]) -> str:
    """Fill the page from what explore.json holds and the PNGs that it names.

    The page needs no network: the charts' library and all images stand in it.
    """
    charts = exploration_charts(result)
    return _render("explore.html", result, charts=charts, images=images)


def render_tabular(result: TabularResult) -> str:
    """Fill the page of a table of features."""
    return _render("tabular.html", result, charts={"features": feature_charts(result.features)})


def _render(template: str, result: ExploreResult | TabularResult, **context: Any) -> str:
    contrasts = main_contrasts(result.features)
    return render_page(
        template, figures=result, contrasts=contrasts, script=plotly_script(), **context
    )


def main_contrasts(features: Mapping[str, FeatureStudy]) -> dict[str, FeatureContrast]:
    """Return the contrast of each modality that leads: tumor with healthy where there is one."""
    return {name: study.contrasts[0] for name, study in features.items() if study.contrasts}


# Stands for the library until the browser has unpacked it, and draws then what was asked for.
_WAIT = "window.Plotly = {waiting: [], newPlot(...what) { this.waiting.push(what); }};"
_LOAD = """(async () => {
  const bytes = Uint8Array.from(atob("PACKED"), c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const text = await new Response(stream).text(), waiting = window.Plotly.waiting;
  delete window.Plotly;
  const script = document.createElement("script");
  script.textContent = text;
  document.head.append(script);
  const draw = () => waiting.forEach(what => window.Plotly.newPlot(...what));
  document.readyState === "loading" ? addEventListener("DOMContentLoaded", draw) : draw();
})();"""


def plotly_script() -> Markup:
    """Return the library that all charts of a page share, once, compressed; charts wait for it."""
    packed = base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
    return Markup(f"<script>{_WAIT}</script>\n<script>{_LOAD.replace('PACKED', packed)}</script>")


def exploration_charts(result: ExploreResult) -> dict[str, list[Chart]]:
    """Draw the charts of each part of the page; a chart without figures is left out."""
    return {
        "counts": _charts("set", {"balance": _balance(result), "sizes": _sizes(result)}),
        "levels": _charts("set", {"levels": _levels(result)}),
        "features": feature_charts(result.features, result.frames),
    }


def feature_charts(
    features: Mapping[str, FeatureStudy], frames: Mapping[str, FrameComparison] | None = None
) -> list[Chart]:
    """Draw the charts of features, modality by modality."""
    found = []
    for modality, study in features.items():
        drawn = {name: draw(study) for name, draw in _OF_FEATURES.items()}
        if frames and modality in frames:
            drawn["frames"] = _frames(frames[modality])
        title, counts = modality_title(modality), f"n={study.n:,} in {study.n_groups:,} groups"
        for chart in drawn.values():
            if chart is not None:
                chart.update_layout(title=f"{title}: {chart.layout.title.text}, {counts}")
        found += _charts(modality, drawn)
    return found


def _charts(part: str, drawn: Mapping[str, go.Figure | None]) -> list[Chart]:
    return [
        Chart(_html(chart, f"chart-{part}-{name}"), translate(HOW[name]))
        for name, chart in drawn.items()
        if chart is not None
    ]


def _html(chart: go.Figure, name: str) -> Markup:
    margin = {"l": 60, "r": 20, "t": 60, "b": 50}
    chart.update_layout(
        template="plotly_white", margin=margin, font={"size": 12}, title_font_size=14
    )
    _translate_chart(chart)
    config = {"displaylogo": False, "responsive": True}
    text = chart.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config)
    return Markup(text)


def _translate_chart(chart: go.Figure) -> None:
    """Put the words of a chart into the language of pages."""
    axes = [*chart.select_xaxes(), *chart.select_yaxes()]
    for held in (chart.layout.title, *(axis.title for axis in axes), *chart.select_annotations()):
        held.text = held.text and translate(held.text)
    for trace in chart.data:
        trace.name = trace.name and translate(trace.name)
        for names in ("x", "y"):
            if isinstance((found := getattr(trace, names, None)), tuple):
                trace[names] = [translate(n) if isinstance(n, str) else n for n in found]
        if trace.type == "heatmap":
            trace.colorbar.title.text = translate(trace.colorbar.title.text)


def _color(number: int) -> str:
    return COLORS[number % len(COLORS)]


def _words(names: Sequence[str] | Mapping[str, Any]) -> list[str]:
    return [name.replace("_", " ") for name in names]


def _dots(
    values: Sequence[float | None], names: Sequence[str] | Mapping[str, Any], **style: Any
) -> go.Scatter:
    """Draw one dot a row, each row under its name."""
    return go.Scatter(x=list(values), y=_words(names), mode="markers", **style)


def _balance(result: ExploreResult) -> go.Figure:
    chart = make_subplots(1, 2, subplot_titles=("scans", "independent groups"))
    parts = {part: result.balance[part] for part in PARTS if part in result.balance}
    for number, label in enumerate(sorted({label for part in parts.values() for label in part})):
        rows = [part.get(label) for part in parts.values()]
        for column, key in enumerate(("n", "n_groups"), start=1):
            heights = [getattr(row, key) if row else 0 for row in rows]
            bar = go.Bar(x=list(parts), y=heights, name=label, legendgroup=label)
            bar.update(marker_color=_color(number), showlegend=column == 1)
            chart.add_trace(bar, row=1, col=column)
    total = f"n={result.n:,} in {result.groups:,} groups"
    return chart.update_layout(title=f"Classes by part of the split, {total}", height=380)


def _sizes(result: ExploreResult) -> go.Figure | None:
    points = result.sizes.points
    if not points:
        return None
    chart = make_subplots(1, 2, subplot_titles=("size", "aspect"))
    for number, label in enumerate(sorted({point.label for point in points})):
        own = [point for point in points if point.label == label]
        marker = {"color": _color(number), "opacity": 0.6,
                  "size": [5 + 4 * math.log10(p.n) for p in own]}  # fmt: skip
        text = [f"{p.width} x {p.height} {p.format}, n={p.n:,}" for p in own]
        for column, key in enumerate(("height", "aspect"), start=1):
            heights = [getattr(p, key) for p in own]
            dots = go.Scatter(x=[p.width for p in own], y=heights, mode="markers", name=label)
            dots.update(legendgroup=label, showlegend=column == 1, marker=marker)
            dots.update(text=text, hoverinfo="text+name")
            chart.add_trace(dots, row=1, col=column)
    chart.update_xaxes(title_text="width, pixels")
    chart.update_yaxes(title_text="height, pixels", col=1)
    chart.update_yaxes(title_text="width / height", col=2)
    total = sum(point.n for point in points)
    return chart.update_layout(title=f"Size and aspect as stored, n={total:,}", height=420)


def _levels(result: ExploreResult) -> go.Figure:
    chart = go.Figure()
    rows = {name: row for name, row in result.images.items() if row.label}
    starts = range(0, 256, BIN)
    for number, (name, row) in enumerate(rows.items()):
        counts = [0, *row.histogram[1:]]  # 0 is background, and swamps the rest
        bins = [sum(counts[i : i + BIN]) for i in starts]
        shares = [b / max(1, sum(bins)) for b in bins]
        line = go.Scatter(x=[i + (BIN - 1) / 2 for i in starts], y=shares, mode="lines")
        chart.add_trace(line.update(name=f"{name}, n={row.n:,}", line_color=_color(number)))
    chart.update_xaxes(title_text="gray level of the prepared scan")
    chart.update_yaxes(title_text="share of pixels above 0")
    total = sum(row.n for row in rows.values())
    return chart.update_layout(title=f"Gray levels by label, n={total:,}", height=400)


def _distributions(study: FeatureStudy) -> go.Figure:
    rows = math.ceil(len(study.features) / COLUMNS)
    titles = _words(study.features)
    chart = make_subplots(rows, COLUMNS, subplot_titles=titles, vertical_spacing=0.08)
    for number, (label, by_feature) in enumerate(study.distributions.items()):
        for at, feature in enumerate(study.features):
            q = by_feature[feature]
            if q.q50 is None:
                continue
            box = go.Box(x=[label], q1=[q.q25], median=[q.q50], q3=[q.q75], mean=[q.mean])
            box.update(lowerfence=[q.q05], upperfence=[q.q95], name=label, legendgroup=label)
            box.update(showlegend=at == 0, marker_color=_color(number))
            chart.add_trace(box, row=at // COLUMNS + 1, col=at % COLUMNS + 1)
    chart.update_xaxes(showticklabels=False)
    return chart.update_layout(title="features by label", height=210 * rows, boxmode="overlay")


def _correlation(study: FeatureStudy) -> go.Figure:
    names = _words(study.features)
    heat = go.Heatmap(z=study.correlation, x=names, y=names, zmin=-1, zmax=1, colorscale="PuOr")
    chart = go.Figure(heat.update(reversescale=True, colorbar_title="rank correlation"))
    chart.update_yaxes(autorange="reversed")
    return chart.update_layout(title="correlation of features", height=520)


def _models(study: FeatureStudy) -> go.Figure | None:
    if not study.models:
        return None
    rows = {name: row.auc for name, row in study.models.items() if row.auc.value is not None}
    values = [auc.value or 0.0 for auc in rows.values()]
    error = {
        "type": "data",
        "symmetric": False,
        "array": [(auc.high or v) - v for auc, v in zip(rows.values(), values, strict=True)],
        "arrayminus": [v - (auc.low or v) for auc, v in zip(rows.values(), values, strict=True)],
    }
    chart = go.Figure(_dots(values, rows, marker={"size": 10, "color": COLORS[0]}, error_x=error))
    chart.add_vline(0.5, line_dash="dot", line_color=GRAY)
    chart.update_xaxes(title_text="AUC, 95 % interval", range=[0.4, 1.01])
    return chart.update_layout(title="tumor against healthy from features alone", height=280)


def _importance(study: FeatureStudy) -> go.Figure | None:
    rows = {name: row.importance for name, row in (study.models or {}).items() if row.importance}
    if not rows:
        return None
    chart = go.Figure()
    for number, (name, found) in enumerate(rows.items()):
        dots = _dots([row.mean for row in found.values()], found, name=name.replace("_", " "))
        dots.update(error_x={"type": "data", "array": [row.sd for row in found.values()]})
        chart.add_trace(dots.update(marker={"color": _color(number), "size": 8}))
    chart.update_xaxes(title_text="loss of AUC when shuffled, mean and deviation over folds")
    chart.update_yaxes(autorange="reversed")
    return chart.update_layout(title="what each model leans on", height=460)


def _frames(frames: FrameComparison) -> go.Figure | None:
    rows = {name: row for name, row in frames.features.items() if row.whole.auc}
    if not rows:
        return None
    chart = go.Figure()
    styles = {"whole": ("whole square", COLORS[1], "circle"),
              "head_only": ("inside the head", COLORS[0], "diamond")}  # fmt: skip
    for frame, (name, color, symbol) in styles.items():
        found = [getattr(row, frame).auc for row in rows.values()]
        dots = _dots([row.auc.value if row else None for row in found], rows, name=name)
        chart.add_trace(dots.update(marker={"color": color, "symbol": symbol, "size": 9}))
    share = frames.head_share.auc
    if share and share.auc.value is not None:
        text = "area of the head alone"
        chart.add_vline(share.auc.value, line_dash="dash", line_color=GRAY, annotation_text=text)
    chart.update_xaxes(title_text="AUC of one feature", range=[0.48, 1.01])
    chart.update_yaxes(autorange="reversed")
    return chart.update_layout(title="single features, with and without background", height=460)


_OF_FEATURES: Mapping[str, Callable[[FeatureStudy], go.Figure | None]] = {
    "distributions": _distributions,
    "correlation": _correlation,
    "models": _models,
    "importance": _importance,
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
