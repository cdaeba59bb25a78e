"""What another threshold and another prevalence would have given."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from tumorlens.models.performance import predictive_values
from tumorlens.records import Estimate
from tumorlens.services.dashboard.charts import shapes
from tumorlens.services.dashboard.studies import Record
from tumorlens.services.dashboard.texts import Translate

CURVES = (("sensitivity", "n_tumor", shapes.VERMILION), ("specificity", "n_healthy", shapes.BLUE))
ENDS = ("value", "low", "high")
TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)


@dataclass(frozen=True)
class Rates:
    """The rates at one threshold and the predictive values they give at one prevalence."""

    threshold: float
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate


def rates_at(sweep: Record, threshold: float, *, prevalence: float) -> Rates:
    """Read the sweep at the nearest threshold that is not below the one asked for.

    Predictive values follow by Bayes' rule; the ends of their intervals are those of both rates
    taken together, which is wider than 95 %.
    """
    grid = sweep.items("threshold")
    at = min(bisect_left(grid, threshold), len(grid) - 1)
    sensitivity = sweep.estimates("sensitivity", n="n_tumor")[at]
    specificity = sweep.estimates("specificity", n="n_healthy")[at]
    ends = [[getattr(rate, end) for end in ENDS] for rate in (sensitivity, specificity)]
    tumor, healthy = np.array(ends, float)
    values = predictive_values(tumor, healthy, prevalence)
    ppv, npv = (
        Estimate(*(None if np.isnan(v) else float(v) for v in row), n=sweep.count("n"))
        for row in values
    )
    return Rates(grid[at], sensitivity, specificity, ppv, npv)


def sweep_figure(sweep: Record, threshold: float, *, own: float, t: Translate) -> go.Figure:
    """Draw sensitivity and specificity by threshold, on log odds so that both ends are seen."""
    grid = sweep.items("threshold")
    steps = range(len(grid))
    template = t("performance.at") + " %{customdata:.4g}: %{y:.3f}"
    more = {"customdata": grid, "hovertemplate": template}
    figure = go.Figure()
    for measure, n, color in CURVES:
        rates = sweep.estimates(measure, n=n)
        if rates[0].value is None:
            continue
        if rates[0].low is not None:
            figure.add_trace(shapes.band(steps, rates, color=color))
        values, name = [rate.value for rate in rates], t(f"performance.{measure}")
        figure.add_trace(shapes.line(name, list(steps), values, color=color, **more))
    for value, dash, text in ((own, "dot", t("performance.own")), (threshold, "solid", "")):
        style = {"dash": dash, "color": shapes.GRAY}
        figure.add_vline(x=_step(grid, value), annotation_text=text, line=style)
    figure.update_xaxes(tickvals=[_step(grid, tick) for tick in TICKS])
    figure.update_xaxes(ticktext=[f"{tick:g}" for tick in TICKS])
    title = t("performance.sweep", n=sweep.count("n"))
    return shapes.lay_out(
        figure, title=title, x=t("performance.threshold"), legend=shapes.LEGEND_BELOW
    )


def _step(grid: Sequence[float], threshold: float) -> int:
    """Return the step of the grid that lies nearest; steps are even in log odds."""
    return min(range(len(grid)), key=lambda i: abs(grid[i] - threshold))
