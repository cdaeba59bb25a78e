"""One probability on its scale, with what the bundle makes of each place of it; and the types."""

import plotly.graph_objects as go

from tumorlens.models.bundle import Abstention
from tumorlens.records import Prediction
from tumorlens.services.dashboard.charts.colors import BLUE, DECISIONS, faint
from tumorlens.services.dashboard.texts import Say

HEIGHT = 132


def probability_scale(
    prediction: Prediction, band: Abstention, say: Say, *, ink: str = "#000000"
) -> go.Figure:
    """Draw the calibrated tumor probability, the zones of decision and the threshold in `ink`."""
    probability, threshold = prediction.tumor_probability or 0.0, prediction.threshold or 0.0
    figure = go.Figure()
    for decision, start, end in zones(threshold, band):
        figure.add_shape(
            type="rect", x0=start, x1=end, y0=0, y1=1, line_width=0,
            fillcolor=faint(DECISIONS[decision], 0.35), layer="below",
        )  # fmt: skip
        if end - start > 0.08:
            figure.add_annotation(
                x=(start + end) / 2,
                y=0.16,
                text=say(f"decision.{decision}"),
                showarrow=False,
                font={"color": ink, "size": 13},
            )
    figure.add_vline(x=threshold, line={"dash": "dot", "width": 2, "color": ink})
    figure.add_annotation(
        x=threshold, y=1.0, yanchor="bottom", xanchor="left", showarrow=False,
        text=say("read.threshold", value=f"{threshold:.3f}"), font={"color": ink, "size": 13},
    )  # fmt: skip
    figure.add_trace(go.Scatter(
        x=[probability], y=[0.64], mode="markers", name="", cliponaxis=False,
        marker={"size": 18, "symbol": "diamond", "color": DECISIONS.get(prediction.decision),
                "line": {"width": 2, "color": ink}},
        hovertemplate="%{x:.3f}",
    ))  # fmt: skip
    figure.update_xaxes(range=[0, 1], dtick=0.1, title=say("read.scale"), fixedrange=True,
                        showgrid=False, zeroline=False)  # fmt: skip
    figure.update_yaxes(range=[0, 1], visible=False, fixedrange=True)
    return figure.update_layout(
        height=HEIGHT, margin={"l": 10, "r": 10, "t": 22, "b": 40}, showlegend=False
    )


def zones(threshold: float, band: Abstention) -> list[tuple[str, float, float]]:
    """Give what each part of the scale from 0 to 1 decides, without parts of no width.

    >>> zones(0.3, Abstention(0.2, 0.4, 0.05))
    [('no tumor', 0.0, 0.2), ('uncertain', 0.2, 0.4), ('tumor', 0.4, 1.0)]
    >>> zones(0.5, Abstention(0.2, 0.2, 0.05))
    [('no tumor', 0.0, 0.5), ('tumor', 0.5, 1.0)]
    """
    edges = [("no tumor", 0.0, threshold), ("tumor", threshold, 1.0)]
    if band.low < band.high:
        edges = [
            ("no tumor", 0.0, min(threshold, band.low)),
            ("tumor", min(threshold, band.low), band.low),
            ("uncertain", band.low, band.high),
            ("no tumor", band.high, max(threshold, band.high)),
            ("tumor", max(threshold, band.high), 1.0),
        ]
    return [(name, start, end) for name, start, end in edges if end > start]


def type_bars(prediction: Prediction, say: Say) -> go.Figure:
    """Draw how probable each type is, given that there is a tumor."""
    rows = sorted(prediction.type_probabilities.items(), key=lambda row: row[1])
    figure = go.Figure(go.Bar(
        x=[p for _, p in rows], y=[say(f"type.{name}") for name, _ in rows], orientation="h",
        text=[f"{p:.2f}" for _, p in rows], textposition="outside", cliponaxis=False,
        marker_color=BLUE, hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    ))  # fmt: skip
    figure.update_xaxes(range=[0, 1.3], visible=False, fixedrange=True)
    figure.update_yaxes(fixedrange=True)
    return figure.update_layout(height=HEIGHT, margin={"l": 10, "r": 10, "t": 6, "b": 6})
