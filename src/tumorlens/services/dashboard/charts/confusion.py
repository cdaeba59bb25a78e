"""Who was taken for what."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tumorlens.services.dashboard.charts.names import label_name
from tumorlens.services.dashboard.texts import Say

BLUES = [[0.0, "#f4f8fb"], [1.0, "#0b4f7d"]]


def detection_matrix(found: Mapping[str, Any], say: Say) -> go.Figure:
    """Draw tumor and healthy against flagged and not, at the bundle's threshold."""
    truth = [say("label.healthy"), say("label.tumor")]
    answers = [say("decision.no tumor"), say("decision.tumor")]
    title = say("performance.confusion", n=f"{found['n']:,}")
    return _matrix(found["confusion"], truth, answers, title=title, say=say)


def class_matrix(found: Mapping[str, Any], say: Say) -> go.Figure:
    """Draw labels against the likeliest of all classes."""
    rows = [label_name(name, say) for name in found["labels"]]
    columns = [label_name(name, say) for name in found["atoms"]]
    title = say("performance.classes", n=f"{found['n']:,}", accuracy=_accuracy(found))
    return _matrix(found["confusion"], rows, columns, title=title, say=say)


def type_matrix(found: Mapping[str, Any], say: Say) -> go.Figure:
    """Draw types against the likeliest type."""
    names = [say(f"type.{name}") for name in found["names"]]
    title = say("performance.types", n=f"{found['n']:,}", accuracy=_accuracy(found))
    return _matrix(found["confusion"], names, names, title=title, say=say)


def _accuracy(found: Mapping[str, Any]) -> str:
    value, low, high = (found.get(f"accuracy{end}") for end in ("", "_low", "_high"))
    if value is None:
        return "-"
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f}-{high:.3f})"


def _matrix(
    counts: Sequence[Sequence[int]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    say: Say,
) -> go.Figure:
    """Draw counts colored by their share of a row, so that rare classes are seen."""
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    figure = go.Figure(go.Heatmap(
        z=shares, x=columns, y=rows, zmin=0, zmax=1, colorscale=BLUES, showscale=False,
        text=[[f"{count}<br>{100 * s:.0f} %" for count, s in zip(row, part, strict=True)]
              for row, part in zip(counts, shares, strict=True)],
        texttemplate="%{text}", xgap=2, ygap=2,
        hovertemplate="%{y} → %{x}: %{text}<extra></extra>",
    ))  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True, title=say("performance.truth"))
    figure.update_xaxes(automargin=True, title=say("performance.answer"))
    return figure.update_layout(
        title=title, height=150 + 52 * len(rows), margin={"l": 10, "r": 10, "t": 48, "b": 44}
    )
