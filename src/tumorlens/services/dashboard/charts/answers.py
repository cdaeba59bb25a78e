"""One answer: in sentences from the bundle's own statistics, on its scale, and as images."""

import re

import cv2
import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from tumorlens.models.bundle import Bundle, UncertaintyBand
from tumorlens.predictions.decision import similar_scans, type_status
from tumorlens.predictions.series_answer import SeriesPrediction
from tumorlens.records import Heatmap, Prediction
from tumorlens.services.dashboard.charts.shapes import BLUE, DECISIONS, faint
from tumorlens.services.dashboard.texts import Translate

HEIGHT = 132  # pixels of the scale and of the types
SIDE = 448  # pixels of the prepared square and of the heatmap on a page


def decision_text(prediction: Prediction, bundle: Bundle, t: Translate) -> str:
    """Write what was decided and why."""
    band = bundle.uncertainty_band
    return t(
        f"words.{prediction.decision}",
        probability=f"{prediction.tumor_probability:.3f}",
        threshold=f"{bundle.threshold:.3f}",
        low=f"{band.low:.3f}",
        high=f"{band.high:.3f}",
        error=f"{100 * band.error:.0f} %",
        error_of=t(f"words.{band.error_of}"),
        kept=f"{100 * bundle.ood_reference.kept:.1f} %",
    )


def type_text(prediction: Prediction, t: Translate) -> str:
    """Write the type, or why there is none."""
    untyped = {"not asked": "words.type_none", "not typed on CT": "words.type_ct"}
    return t(untyped.get(type_status(prediction), f"type.{prediction.type}"))


def similar_text(prediction: Prediction, bundle: Bundle, t: Translate) -> str:
    """Write how often such an answer was a tumor on validation."""
    similar = similar_scans(prediction, bundle)
    if similar is None:
        return t("words.not_recorded")
    found = similar.bin
    return t(
        "words.similar" if similar.is_inside else "words.nearest",
        n=found.n,
        modality=prediction.modality.upper(),
        least=f"{found.least:.3f}",
        most=f"{found.most:.3f}",
        tumors=found.tumors,
        share=f"{found.tumors / found.n:.3f}",
        low=f"{found.low:.3f}",
        high=f"{found.high:.3f}",
    )


def small_text(prediction: Prediction, t: Translate) -> str:
    """Write the modality, the bundle, and what was tolerated."""
    share = prediction.modality_probability or 0.0
    modality = f"{prediction.seen_modality.upper()} {max(share, 1 - share):.2f}"
    parts = [t("words.looks_like", modality=modality), t("words.by", bundle=prediction.bundle)]
    return " · ".join([*parts, *prediction.notes])


def series_text(answer: SeriesPrediction, t: Translate) -> str:
    """Write what a series was answered, without figures where it is out of scope."""
    if answer.decision == "out of scope" or answer.value is None:
        return t("series.judged", judged=answer.judged, slices=answer.slices)
    kind = "probability" if answer.is_calibrated else "score"
    figures = {"value": f"{answer.value:.3f}", "threshold": f"{answer.threshold:.3f}"}
    parts = [t(f"series.{kind}", **figures)]
    if answer.longest_run_mm is not None:
        parts.append(t("series.extent", mm=f"{answer.longest_run_mm:.0f}"))
    if answer.peak_slice is not None:
        parts.append(t("series.peak", slice=answer.peak_slice, slices=answer.slices))
    if answer.type:
        parts.append(t("series.type", type=t(f"type.{answer.type}")))
    parts.append(t("series.judged", judged=answer.judged, slices=answer.slices))
    return " · ".join(parts)


def reason_text(reason: str, t: Translate) -> str:
    """Write what keeps a series open; the words of a rule that no text knows stay as they are."""
    for name, pattern in _REASONS.items():
        if found := pattern.fullmatch(reason):
            return t(f"reason.{name}", **found.groupdict())
    return reason


_REASONS = {
    "scope": re.compile(r"(?P<share>\d+%) of the slices are out of scope"),
    "few": re.compile(r"(?P<judged>\d+) slices could be judged, fewer than (?P<least>\d+)"),
    "oblique": re.compile(r"its plane is oblique"),
    "plane": re.compile(r"its plane is (?P<plane>\w+); the rule was learned on (?P<planes>.+)"),
    "mixed": re.compile(r"its slices look partly like CT and partly like MRI"),
    "header": re.compile(r"its header says (?P<header>\w+), its slices look like (?P<seen>\w+)"),
    "modality": re.compile(r"the rule for series was learned without (?P<modality>\w+)"),
}


def probability_scale(
    prediction: Prediction, band: UncertaintyBand, t: Translate, *, text_color: str = "#000000"
) -> go.Figure:
    """Draw the calibrated tumor probability, the zones of decision and the threshold."""
    probability, threshold = prediction.tumor_probability or 0.0, prediction.threshold or 0.0
    font = {"color": text_color, "size": 13}
    figure = go.Figure()
    for decision, start, end in zones(threshold, band):
        color = faint(DECISIONS[decision], 0.35)
        figure.add_vrect(x0=start, x1=end, line_width=0, fillcolor=color, layer="below")
        if end - start > 0.08:
            name, middle = t(f"decision.{decision}"), (start + end) / 2
            figure.add_annotation(x=middle, y=0.16, text=name, showarrow=False, font=font)
    figure.add_vline(x=threshold, line={"dash": "dot", "width": 2, "color": text_color})
    label = t("read.threshold", value=f"{threshold:.3f}")
    above = {"y": 1.0, "yanchor": "bottom", "xanchor": "left"}
    figure.add_annotation(x=threshold, **above, text=label, showarrow=False, font=font)
    color, outline = DECISIONS.get(prediction.decision), {"width": 2, "color": text_color}
    marker = {"size": 18, "symbol": "diamond", "color": color, "line": outline}
    figure.add_scatter(
        x=[probability],
        y=[0.64],
        mode="markers",
        name="",
        marker=marker,
        cliponaxis=False,
        hovertemplate="%{x:.3f}",
    )
    figure.update_xaxes(range=[0, 1], dtick=0.1, title=t("read.scale"), fixedrange=True)
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_yaxes(range=[0, 1], visible=False, fixedrange=True)
    margin = {"l": 10, "r": 10, "t": 22, "b": 40}
    return figure.update_layout(height=HEIGHT, margin=margin, showlegend=False)


def zones(threshold: float, band: UncertaintyBand) -> list[tuple[str, float, float]]:
    """Return what each part of the scale from 0 to 1 decides, without parts of no width.

    >>> zones(0.3, UncertaintyBand(0.2, 0.4, 0.05))
    [('no tumor', 0.0, 0.2), ('uncertain', 0.2, 0.4), ('tumor', 0.4, 1.0)]
    >>> zones(0.5, UncertaintyBand(0.2, 0.2, 0.05))
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


def type_bars(prediction: Prediction, t: Translate) -> go.Figure:
    """Draw how probable each type is, given that there is a tumor."""
    rows = sorted(prediction.type_probabilities.items(), key=lambda row: row[1])
    bars = go.Bar(
        x=[p for _, p in rows],
        y=[t(f"type.{name}") for name, _ in rows],
        text=[f"{p:.2f}" for _, p in rows],
        orientation="h",
        textposition="outside",
        cliponaxis=False,
        marker_color=BLUE,
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_xaxes(range=[0, 1.3], visible=False, fixedrange=True)
    figure.update_yaxes(fixedrange=True)
    return figure.update_layout(height=HEIGHT, margin={"l": 10, "r": 10, "t": 6, "b": 6})


def prepared_image(heatmap: Heatmap) -> NDArray[np.uint8]:
    """Return what the network saw, large enough to look at, [SIDE, SIDE]."""
    large = cv2.resize(heatmap.prepared, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.uint8)
