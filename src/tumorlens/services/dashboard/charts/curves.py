"""Curves of an evaluation: ROC, precision by recall, reliability; and those of a training run."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tumorlens.services.dashboard.charts.colors import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    faint,
)
from tumorlens.services.dashboard.texts import Say

MARGIN = {"l": 10, "r": 10, "t": 48, "b": 44}
ROWS: Mapping[str, str] = {"all": GREY, "ct": VERMILION, "mri": BLUE}
HEIGHT = 420


def roc_curves(evaluation: Mapping[str, Any], marked: tuple[float, float] | None, say: Say) -> Any:
    """Draw sensitivity by false alarms; `marked` is a pair of specificity and sensitivity."""
    figure = go.Figure()
    for name, curve in evaluation["roc"].items():
        if curve is None:
            continue
        found = evaluation["detection"][name]
        figure.add_trace(go.Scatter(
            x=curve["fpr"], y=curve["tpr"], mode="lines", line={"color": ROWS.get(name, GREEN)},
            name=f"{say(f'rows.{name}')}: {found['auc']:.3f} ({found['auc_low']:.3f}-"
            f"{found['auc_high']:.3f}, n={found['n']:,})",
            customdata=curve["threshold"],
            hovertemplate=say("performance.at") + " %{customdata:.3f}<br>"
            + say("performance.sensitivity") + " %{y:.3f}<br>"
            + say("performance.false_alarms") + " %{x:.3f}<extra></extra>",
        ))  # fmt: skip
    figure.add_trace(_diagonal(say("performance.chance")))
    if marked:
        figure.add_trace(go.Scatter(
            x=[1 - marked[0]], y=[marked[1]], mode="markers", name=say("performance.here"),
            marker={"size": 13, "symbol": "diamond", "color": ORANGE, "line": {"width": 2}},
        ))  # fmt: skip
    return _square(figure, say("performance.roc", n=f"{_read(evaluation):,}"),
                   say("performance.false_alarms"), say("performance.sensitivity"))  # fmt: skip


def precision_curves(evaluation: Mapping[str, Any], say: Say) -> go.Figure:
    """Draw precision by recall for each modality, at the prevalence of these scans."""
    figure = go.Figure()
    for name, curve in evaluation["precision_recall"].items():
        if curve is None:
            continue
        found = evaluation["detection"][name]
        figure.add_trace(go.Scatter(
            x=curve["recall"], y=curve["precision"], mode="lines",
            line={"color": ROWS.get(name, GREEN)},
            name=f"{say(f'rows.{name}')}: {found['average_precision']:.3f} (n={found['n']:,})",
        ))  # fmt: skip
    return _square(figure, say("performance.pr", n=f"{_read(evaluation):,}"),
                   say("performance.sensitivity"), say("performance.precision"))  # fmt: skip


def reliability(calibration: Mapping[str, Any], say: Say) -> go.Figure:
    """Draw how often scans of a probability had a tumor, before and after the temperature."""
    figure = go.Figure([_diagonal(say("performance.perfect"))])
    stages = (("before", calibration["before"], GREY), ("after", calibration, BLUE))
    for name, found, color in stages:
        if not found or not found["bins"]:
            continue
        bins = found["bins"]
        figure.add_trace(go.Scatter(
            x=[b["predicted"] for b in bins], y=[b["observed"] for b in bins],
            mode="lines+markers", name=say(f"performance.{name}"), marker={"color": color},
            error_y={
                "type": "data", "symmetric": False, "thickness": 1, "width": 2, "color": color,
                "array": [b["observed_high"] - b["observed"] for b in bins],
                "arrayminus": [b["observed"] - b["observed_low"] for b in bins],
            },
            customdata=[b["n"] for b in bins],
            hovertemplate="%{x:.3f}: %{y:.3f}<br>n=%{customdata}<extra></extra>",
        ))  # fmt: skip
    return _square(figure, say("performance.calibration", n=f"{calibration['n']:,}"),
                   say("performance.predicted"), say("performance.observed"))  # fmt: skip


def net_benefit(decision: Mapping[str, Any], say: Say) -> go.Figure:
    """Draw net benefit by threshold beside flagging everybody and nobody."""
    found = decision["net_benefit"]
    figure = go.Figure()
    figure.add_trace(go.Scatter(
        x=found["threshold"] + found["threshold"][::-1],
        y=found["model_high"] + found["model_low"][::-1],
        fill="toself", fillcolor=faint(BLUE), line={"width": 0}, hoverinfo="skip",
        showlegend=False,
    ))  # fmt: skip
    for values, name, color in ((found["model"], "model", BLUE), (found["all"], "flag_all", GREY)):
        figure.add_trace(go.Scatter(
            x=found["threshold"], y=values, mode="lines", line={"color": color},
            name=say(f"performance.{name}"),
        ))  # fmt: skip
    figure.add_hline(y=0, line={"dash": "dot", "color": GREY})
    figure.update_yaxes(range=[-0.1, 1.1 * max(v for v in found["model_high"] if v is not None)])
    return _square(figure, say("performance.net_benefit", n=f"{found['n']:,}"),
                   say("performance.threshold"), say("performance.benefit"))  # fmt: skip


def learning_curves(history: Sequence[Mapping[str, float]], say: Say) -> tuple[Any, Any]:
    """Draw loss and validation figures by epoch; the epoch of least validation loss stands out."""
    epochs = [row["epoch"] for row in history]
    best = min(history, key=lambda row: row["val_loss"])["epoch"]
    losses = (("loss", "training", GREY), ("val_loss", "validation", BLUE))
    figures = (
        ("val_auc_ct", "auc_ct", VERMILION),
        ("val_auc_mri", "auc_mri", BLUE),
        ("val_type_accuracy", "type_accuracy", PURPLE),
    )
    drawn = []
    for rows, title in ((losses, "loss"), (figures, "figures")):
        figure = go.Figure([
            go.Scatter(x=epochs, y=[row.get(key) for row in history], mode="lines",
                       name=say(f"learning.{name}"), line={"color": color})
            for key, name, color in rows
        ])  # fmt: skip
        figure.add_vline(x=best, line={"dash": "dot", "color": GREY},
                         annotation_text=say("learning.best", epoch=int(best)))  # fmt: skip
        _square(figure, say(f"learning.{title}_title", n=len(history)), say("learning.epoch"),
                say(f"learning.{title}_axis"))  # fmt: skip
        drawn.append(figure)
    return drawn[0], drawn[1]


def _read(evaluation: Mapping[str, Any]) -> int:
    return evaluation["n"] - evaluation["unreadable"]


def _diagonal(name: str) -> go.Scatter:
    return go.Scatter(x=[0, 1], y=[0, 1], mode="lines", name=name, hoverinfo="skip",
                      line={"dash": "dot", "color": GREY, "width": 1})  # fmt: skip


def _square(figure: go.Figure, title: str, x: str, y: str) -> go.Figure:
    return figure.update_layout(
        title=title, xaxis_title=x, yaxis_title=y, height=HEIGHT, margin=MARGIN,
        legend={"orientation": "h", "yanchor": "top", "y": -0.18, "x": 0},
    )  # fmt: skip
