"""The 13 features: how they lie by class, what separates classes, what goes together."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tumorlens.services.dashboard.charts.colors import BLUE, GREY, LABELS, VERMILION
from tumorlens.services.dashboard.charts.dots import Dot, dot_of, interval_dots
from tumorlens.services.dashboard.charts.names import label_name, term
from tumorlens.services.dashboard.texts import Say

MARGIN = {"l": 10, "r": 10, "t": 48, "b": 44}
DIVERGING = [[0.0, "#542788"], [0.5, "#f7f7f7"], [1.0, "#b35806"]]  # purple to orange


def feature_boxes(study: Mapping[str, Any], feature: str, say: Say) -> go.Figure:
    """Draw one feature by class: middle half as a box, whiskers to the 5th and 95th percentile."""
    figure = go.Figure()
    total = 0
    for label, features in study["distributions"].items():
        row = features[feature]
        total += row["n"]
        figure.add_trace(go.Box(
            name=f"{label_name(label, say)} (n={row['n']:,})", q1=[row["q25"]],
            median=[row["q50"]], q3=[row["q75"]], lowerfence=[row["q05"]],
            upperfence=[row["q95"]], mean=[row["mean"]],
            marker_color=LABELS.get(label, GREY),
        ))  # fmt: skip
    title = say("explore.feature", feature=feature_name(feature, say), n=f"{total:,}")
    return figure.update_layout(title=title, height=360, margin=MARGIN, showlegend=False)


def single_dots(study: Mapping[str, Any], say: Say) -> go.Figure:
    """Draw how well each feature alone tells tumor from healthy."""
    rows = sorted(study["single"].items(), key=lambda row: -(row[1]["auc"] or 0))
    dots = [
        dot_of(row, feature_name(name, say), "auc", groups=say("explore.groups"))
        for name, row in rows
        if row["auc"] is not None
    ]
    return interval_dots(
        dots, title=say("explore.single", n=f"{study['n']:,}"), axis="AUC", marks=(0.5,),
        bounds=(0.3, 1.02),
    )  # fmt: skip


def model_dots(study: Mapping[str, Any], say: Say) -> go.Figure:
    """Draw what models of all features reach in cross-validation over whole groups."""
    dots = [
        dot_of(row, term("model", name, say), "auc", groups=say("explore.groups"))
        for name, row in (study["models"] or {}).items()
        if row["auc"] is not None
    ]
    return interval_dots(
        dots, title=say("explore.models", n=f"{study['n']:,}"), axis="AUC", marks=(0.5,),
        bounds=(0.3, 1.02),
    )  # fmt: skip


def importance_dots(study: Mapping[str, Any], model: str, say: Say) -> go.Figure:
    """Draw how much AUC is lost when a feature is shuffled; bars are one standard deviation."""
    row = study["models"][model]
    ranked = sorted(row["importance"].items(), key=lambda item: -item[1]["mean"])
    dots = [
        Dot(feature_name(name, say), found["mean"], found["mean"] - found["sd"],
            found["mean"] + found["sd"], f"sd {found['sd']:.3f}, n={row['n']:,}")
        for name, found in ranked
    ]  # fmt: skip
    title = say("explore.importance", model=term("model", model, say), n=f"{row['n']:,}")
    return interval_dots(dots, title=title, axis=say("explore.lost"), marks=(0.0,))


def effect_rows(contrast: Mapping[str, Any], say: Say) -> list[dict[str, Any]]:
    """Give the table of effect sizes of two classes, largest first."""
    rows = sorted(contrast["rows"], key=lambda row: -abs(row["delta"] or 0))
    return [
        {
            say("explore.feature_column"): feature_name(row["feature"], say),
            say("explore.delta"): row["delta"],
            say("explore.cohen"): row["cohen_d"],
            say("explore.p_holm"): row["p_holm"],
        }
        for row in rows
    ]


def correlation_map(study: Mapping[str, Any], say: Say) -> go.Figure:
    """Draw Spearman's correlation of every two features."""
    names = [feature_name(name, say) for name in study["features"]]
    figure = go.Figure(go.Heatmap(
        z=study["correlation"], x=names, y=names, zmin=-1, zmax=1, colorscale=DIVERGING,
        hovertemplate="%{x}, %{y}: %{z:.2f}<extra></extra>",
    ))  # fmt: skip
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure.update_layout(
        title=say("explore.correlation", n=f"{study['n']:,}"), height=480, margin=MARGIN
    )


def frame_dots(frames: Mapping[str, Any], say: Say) -> go.Figure:
    """Draw each feature's AUC on the whole square and inside the head alone, in two colors."""
    dots = []
    for name, row in frames["features"].items():
        for frame, color in (("whole", VERMILION), ("head_only", BLUE)):
            found = row[frame]["auc"]
            if found["auc"] is not None:
                title = f"{feature_name(name, say)}, {say(f'explore.{frame}')}"
                dots.append(dot_of(found, title, "auc", groups=say("explore.groups"), color=color))
    return interval_dots(
        dots, title=say("explore.frames", n=f"{frames['head_share']['n']:,}"), axis="AUC",
        marks=(0.5,), bounds=(0.3, 1.02),
    )  # fmt: skip


def feature_name(name: str, say: Say) -> str:
    """Write a feature as people say it."""
    return term("feature", name, say)


def modalities(studies: Mapping[str, Any]) -> Sequence[str]:
    """List the modalities that were measured."""
    return [name for name, study in studies.items() if study.get("n")]
