"""An evaluation: curves, other thresholds, confusion, calibration, subgroups, controls, epochs."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from tumorlens.json_records import Record
from tumorlens.language import translate
from tumorlens.models.performance import predictive_values
from tumorlens.records import Estimate
from tumorlens.reports.charts import shapes
from tumorlens.reports.charts.texts import Translate, label_name

ROWS: Mapping[str, str] = {"all": shapes.GRAY, "ct": shapes.VERMILION, "mri": shapes.BLUE}
MEASURES = ("auc", "sensitivity", "specificity")
RATE_COLORS = {"sensitivity": shapes.VERMILION, "specificity": shapes.BLUE}
TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
COUNTS = {"sensitivity": "n_tumor", "specificity": "n_healthy"}  # what else than n they are out of


# --- curves ---------------------------------------------------------------------------------


def roc_curves(
    evaluation: Record, t: Translate, *, marked: tuple[float, float] | None = None
) -> go.Figure:
    """Draw sensitivity by false alarms; `marked` is a pair of specificity and sensitivity."""
    alarms, sensitivity = t("performance.false_alarms"), t("performance.sensitivity")
    template = f"{t('performance.at')} %{{customdata:.3f}}<br>{sensitivity} %{{y:.3f}}<br>"
    template += f"{alarms} %{{x:.3f}}<extra></extra>"
    figure = go.Figure()
    for name, curve, found in _curves(evaluation, "roc"):
        label = f"{t(f'rows.{name}')}: {shapes.estimate_text(found.estimate('auc'))}"
        x, y, at = curve.items("fpr"), curve.items("tpr"), curve.items("threshold")
        color = ROWS.get(name, shapes.GREEN)
        figure.add_trace(
            shapes.line(label, x, y, color=color, customdata=at, hovertemplate=template)
        )
    figure.add_trace(shapes.diagonal(t("performance.chance")))
    if marked:
        marker = {"size": 13, "symbol": "diamond", "color": shapes.ORANGE, "line": {"width": 2}}
        x, y, here = [1 - marked[0]], [marked[1]], t("performance.here")
        figure.add_scatter(x=x, y=y, mode="markers", name=here, marker=marker)
    title = t("performance.roc", n=_n_read(evaluation))
    return shapes.lay_out(figure, title=title, x=alarms, y=sensitivity, legend=shapes.LEGEND_BELOW)


def precision_curves(evaluation: Record, t: Translate) -> go.Figure:
    """Draw precision by recall for each modality, at the prevalence of these scans."""
    figure = go.Figure()
    for name, curve, found in _curves(evaluation, "precision_recall"):
        average, n = found.number("average_precision"), found.count("n")
        label = f"{t(f'rows.{name}')}: {average:.3f} (n={n:,})"
        recall, precision = curve.items("recall"), curve.items("precision")
        figure.add_trace(shapes.line(label, recall, precision, color=ROWS.get(name, shapes.GREEN)))
    title = t("performance.pr", n=_n_read(evaluation))
    x, y = t("performance.sensitivity"), t("performance.precision")
    return shapes.lay_out(figure, title=title, x=x, y=y, legend=shapes.LEGEND_BELOW)


def _curves(evaluation: Record, kind: str) -> Iterator[tuple[str, Record, Record]]:
    """Yield the curves of a kind, each with the figures of its rows."""
    detection = evaluation.table("detection")
    for name, curve in evaluation.table(kind).items():
        yield name, curve, detection[name]


def _n_read(evaluation: Record) -> int:
    return evaluation.count("n") - evaluation.count("unreadable")


def reliability(calibration: Record, t: Translate) -> go.Figure:
    """Draw how often scans of a probability had a tumor, before and after the temperature."""
    figure = go.Figure([shapes.diagonal(t("performance.perfect"))])
    stages = (
        ("before", calibration.part("before"), shapes.GRAY),
        ("after", calibration, shapes.BLUE),
    )
    for name, found, color in stages:
        bins = found.rows("bins")
        if not bins:
            continue
        observed = [row.estimate("observed") for row in bins]
        figure.add_scatter(
            x=[row.number("predicted") for row in bins],
            y=[estimate.value for estimate in observed],
            mode="lines+markers",
            name=t(f"performance.{name}"),
            marker={"color": color},
            error_y=shapes.error_bars(observed, color=color, thickness=1, width=2),
            customdata=[row.count("n") for row in bins],
            hovertemplate="%{x:.3f}: %{y:.3f}<br>n=%{customdata}<extra></extra>",
        )
    title = t("performance.calibration", n=calibration.count("n"))
    x, y = t("performance.predicted"), t("performance.observed")
    return shapes.lay_out(figure, title=title, x=x, y=y, legend=shapes.LEGEND_BELOW)


def net_benefit(found: Record, t: Translate) -> go.Figure:
    """Draw net benefit by threshold beside flagging everybody and nobody."""
    x, model = found.items("threshold"), found.estimates("model")
    values = [estimate.value for estimate in model]
    figure = go.Figure(
        [
            shapes.band(x, model, color=shapes.BLUE),
            shapes.line(t("performance.model"), x, values, color=shapes.BLUE),
            shapes.line(t("performance.flag_all"), x, found.items("all"), color=shapes.GRAY),
        ]
    )
    figure.add_hline(y=0, line={"dash": "dot", "color": shapes.GRAY})
    highest = max(estimate.high for estimate in model if estimate.high is not None)
    figure.update_yaxes(range=[-0.1, 1.1 * highest])
    title = t("performance.net_benefit", n=found.count("n"))
    x_title, y_title = t("performance.threshold"), t("performance.benefit")
    return shapes.lay_out(figure, title=title, x=x_title, y=y_title, legend=shapes.LEGEND_BELOW)


LOSSES = (("loss", "training", shapes.GRAY), ("val_loss", "validation", shapes.BLUE))
FIGURES = (
    ("val_auc_ct", "auc_ct", shapes.VERMILION),
    ("val_auc_mri", "auc_mri", shapes.BLUE),
    ("val_type_accuracy", "type_accuracy", shapes.PURPLE),
)


def learning_curves(
    history: Sequence[Mapping[str, float]], t: Translate
) -> tuple[go.Figure, go.Figure]:
    """Draw loss and validation figures by epoch; the epoch of least validation loss stands out."""
    return _by_epoch(history, LOSSES, "loss", t=t), _by_epoch(history, FIGURES, "figures", t=t)


def _by_epoch(
    history: Sequence[Mapping[str, float]],
    rows: Sequence[tuple[str, str, str]],
    title: str,
    *,
    t: Translate,
) -> go.Figure:
    epochs = [row["epoch"] for row in history]
    best = min(history, key=lambda row: row["val_loss"])["epoch"]
    figure = go.Figure(
        [
            shapes.line(
                t(f"learning.{name}"), epochs, [row.get(key) for row in history], color=color
            )
            for key, name, color in rows
        ]
    )
    label = t("learning.best", epoch=int(best))
    figure.add_vline(x=best, line={"dash": "dot", "color": shapes.GRAY}, annotation_text=label)
    x, y = t("learning.epoch"), t(f"learning.{title}_axis")
    title = t(f"learning.{title}_title", n=len(history))
    return shapes.lay_out(figure, title=title, x=x, y=y, legend=shapes.LEGEND_BELOW)


# --- another threshold, another prevalence --------------------------------------------------


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
    ends = [(rate.value, rate.low, rate.high) for rate in (sensitivity, specificity)]
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
    for measure, color in RATE_COLORS.items():
        rates = sweep.estimates(measure, n=COUNTS[measure])
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


# --- confusion ------------------------------------------------------------------------------


def detection_matrix(found: Record, t: Translate) -> go.Figure:
    """Draw tumor and healthy against flagged and not, at the bundle's threshold."""
    truth = [t("label.healthy"), t("label.tumor")]
    answers = [t("decision.no tumor"), t("decision.tumor")]
    title = t("performance.confusion", n=found.count("n"))
    return _matrix(found, rows=truth, columns=answers, title=title, t=t)


def class_matrix(found: Record, t: Translate) -> go.Figure:
    """Draw labels against the likeliest of all classes."""
    rows, columns = ([label_name(n, t) for n in found.items(key)] for key in ("labels", "atoms"))
    title = t("performance.classes", n=found.count("n"), accuracy=_accuracy(found))
    return _matrix(found, rows=rows, columns=columns, title=title, t=t)


def type_matrix(found: Record, t: Translate) -> go.Figure:
    """Draw types against the likeliest type."""
    names = [t(f"type.{name}") for name in found.items("names")]
    title = t("performance.types", n=found.count("n"), accuracy=_accuracy(found))
    return _matrix(found, rows=names, columns=names, title=title, t=t)


def _accuracy(found: Record) -> str:
    accuracy = found.estimate("accuracy")
    interval = shapes.interval_text(accuracy)
    value = "-" if accuracy.value is None else f"{accuracy.value:.3f}"
    return f"{value} ({interval})" if interval else value


def _matrix(
    found: Record, *, rows: Sequence[str], columns: Sequence[str], title: str, t: Translate
) -> go.Figure:
    """Draw counts colored by their share of a row, so that rare classes are seen."""
    counts = np.array(found.items("confusion"), int)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    text = [
        [f"{count}<br>{100 * s:.0f} %" for count, s in zip(*row, strict=True)]
        for row in zip(counts, shares, strict=True)
    ]
    cells = {"zmin": 0, "zmax": 1, "texttemplate": "%{text}"}
    hover = "%{y} → %{x}: %{text}<extra></extra>"
    figure = shapes.count_map(
        shares, text, rows=rows, columns=columns, hovertemplate=hover, **cells
    )
    x, y = t("performance.answer"), t("performance.truth")
    return shapes.lay_out(figure, title=title, x=x, y=y, height=150 + 52 * len(rows))


# --- rows of figures ------------------------------------------------------------------------


def subgroup_dots(evaluation: Record, kind: str, measure: str, *, t: Translate) -> go.Figure:
    """Draw one figure of every subgroup of a kind below that of all scans."""
    everything = evaluation.part("detection").part("all")
    groups = evaluation.part("subgroups").table(kind)
    axis = t(f"performance.{measure}")
    title = t("performance.subgroups", measure=axis, n=everything.count("n"))
    dots = [shapes.dot_of(everything, t("rows.all"), measure=measure, t=t, color=shapes.GRAY)]
    dots += [
        shapes.dot_of(found.part("detection"), translate(label_name(name, t)), measure=measure, t=t)
        for name, found in groups.items()
    ]
    marks = [v for v in (everything.estimate(measure).value,) if v is not None]
    return shapes.interval_dots(dots, title=title, axis=axis, marks=marks)


def comparison_dots(against: Record, t: Translate) -> go.Figure:
    """Draw by how much a bundle is better than another on the same scans; 0 is no difference."""

    def dot(row: Record, name: str, measure: str) -> shapes.Dot:
        label = f"{t(f'rows.{name}')}: {t(f'performance.{measure}')}"
        return shapes.dot_of(row, label, measure=f"{measure}_difference", t=t)

    rows = against.table("rows").items()
    dots = [dot(row, name, measure) for name, row in rows for measure in MEASURES]
    n = against.count("n")
    title = t("performance.difference", other=against.text("bundle"), n=n)
    return shapes.interval_dots(dots, title=title, axis=t("performance.gain"), marks=(0.0,))


def same_scans(one: Record, other: Record) -> bool:
    """Whether two evaluations are of the same scans, as far as they say."""
    names = ("part", "n", "datasets", "labels")
    return all(one.values[name] == other.values[name] for name in names) and (
        one.part("split").text("fingerprint") == other.part("split").text("fingerprint")
    )


def measure_text(found: Record, measure: str) -> str:
    """Write a measure with its interval and what it was counted on."""
    return shapes.estimate_text(found.estimate(measure, n=COUNTS.get(measure, "n")))


def pair_rows(one: Record, other: Record, t: Translate) -> list[dict[str, str]]:
    """Return a row for each modality and measure, with a column for each evaluation."""
    evaluations = {
        f"{number}: {found.text('bundle')}, {found.text('part')}": found.part("detection")
        for number, found in enumerate((one, other), 1)
    }

    return [
        {
            t("performance.rows"): t(f"rows.{name}"),
            t("performance.measure"): t(f"performance.{measure}"),
        }
        | {title: measure_text(found.part(name), measure) for title, found in evaluations.items()}
        for name in one.table("detection")
        for measure in MEASURES
    ]


def control_rows(controls: Sequence[Record], t: Translate) -> list[dict[str, str]]:
    """Return the negative controls as a table, the bundle's own figure beside each."""
    return [
        {
            t("performance.task"): row.words("task"),
            t("performance.control"): row.words("control"),
            t("performance.detail"): row.words("detail") or row.words("reason"),
            "AUC": measure_text(row, "auc"),
            t("performance.bundle_auc"): measure_text(model, "auc") if model else "",
        }
        for row in controls
        for model in [row.part("model")]
    ]
