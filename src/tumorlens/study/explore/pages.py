"""The pages of an exploration and of a table of features, with charts that the browser draws."""

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from tumorlens.json_records import Record, to_json
from tumorlens.language import current_language
from tumorlens.reports.charts import exploration
from tumorlens.reports.charts.texts import Translate, term, translator
from tumorlens.reports.page import render_page
from tumorlens.study.explore.record import ExploreResult, FeatureContrast, FeatureStudy
from tumorlens.study.explore.tabular import TabularResult

CONFIG = {"displaylogo": False, "responsive": True}


@dataclass(frozen=True)
class Chart:
    """One chart with the sentence on how to read it."""

    html: Markup
    how: str


def render_exploration(result: ExploreResult, images: Mapping[str, bytes]) -> str:
    """Fill the page from what explore.json holds and the PNGs that it names.

    The page needs no network: the charts' library and all images stand in it.
    """
    return _render("explore.html", result, set_charts=set_charts(result), images=images)


def render_tabular(result: TabularResult) -> str:
    """Fill the page of a table of features."""
    return _render("tabular.html", result)


def _render(template: str, result: ExploreResult | TabularResult, **context: Any) -> str:
    return render_page(
        template,
        figures=result,
        contrasts=main_contrasts(result.features),
        feature_charts=feature_charts(result),
        script=plotly_script(),
        **context,
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


def set_charts(result: ExploreResult) -> list[Chart]:
    """Draw what the set is made of; a chart without figures is left out."""
    record, t = Record(to_json(result)), translator(current_language())
    rows = record.table("pictures").items()
    labels = {name: row for name, row in rows if row.text("label")}
    drawn = {
        "balance": exploration.balance_bars(record.table("balance"), t),
        "sizes": exploration.size_scatter(record.part("sizes").rows("points"), t),
        "levels": exploration.gray_levels(labels, t),
    }
    return _charts("set", drawn, t)


def feature_charts(result: ExploreResult | TabularResult) -> list[Chart]:
    """Draw the features, modality by modality; a chart without figures is left out."""
    record, t = Record(to_json(result)), translator(current_language())
    found = []
    for modality, study in record.table("features").items():
        drawn = {
            "features": exploration.all_feature_boxes(study, t),
            "correlation": exploration.correlation_map(study, t),
            "models": exploration.model_dots(study, t),
            "importance": exploration.importance_dots(study, t),
        }
        if frames := record.part("frames").part(modality):
            drawn["frames"] = exploration.frame_dots(frames, t)
        for chart in drawn.values():
            name = term("rows", modality, t)
            chart.update_layout(title=f"{name}: {chart.layout.title.text}")
        found += _charts(modality, drawn, t)
    return found


def _charts(part: str, drawn: Mapping[str, go.Figure], t: Translate) -> list[Chart]:
    return [
        Chart(_html(chart, f"chart-{part}-{name}"), t(f"how.{name}"))
        for name, chart in drawn.items()
        if chart.data
    ]


def _html(chart: go.Figure, name: str) -> Markup:
    chart.update_layout(template="plotly_white", font={"size": 12}, title_font_size=14)
    text = chart.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=CONFIG)
    return Markup(text)
