"""One answer: in sentences from the bundle's own statistics, on its scale, and as images."""

from collections.abc import Mapping
from html import escape
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.language import translate
from tumorlens.models.bundle import Bundle, UncertaintyBand
from tumorlens.predictions.decision import similar_scans, type_status
from tumorlens.predictions.series_answer import SeriesPrediction
from tumorlens.records import Heatmap, Prediction
from tumorlens.reports.charts.shapes import BLUE, DECISIONS
from tumorlens.reports.charts.texts import Translate, term

# Names of Streamlit's own palette, which the theme maps to the colors above, and icons.
BadgeColor = Literal["red", "orange", "blue", "violet", "gray"]
BADGES: Mapping[str, tuple[BadgeColor, str]] = {
    "tumor": ("red", ":material/adjust:"),
    "uncertain": ("orange", ":material/help:"),
    "no tumor": ("blue", ":material/check_circle:"),
    "out of scope": ("violet", ":material/block:"),
    "": ("gray", ":material/error:"),
}
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
        modality=term("rows", prediction.modality, t),
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
    modality = f"{term('rows', prediction.seen_modality, t)} {max(share, 1 - share):.2f}"
    parts = [t("words.looks_like", modality=modality), t("words.by", bundle=prediction.bundle)]
    return " · ".join([*parts, *map(translate, prediction.notes)])


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
        kind = "untyped" if answer.type == "undetermined" else "type"
        parts.append(t(f"series.{kind}", type=t(f"type.{answer.type}")))
    parts.append(t("series.judged", judged=answer.judged, slices=answer.slices))
    return " · ".join(parts)


class Drawing(NamedTuple):
    """An image of lines, and in words what it shows."""

    svg: str
    alt: str


def probability_scale(prediction: Prediction, band: UncertaintyBand, t: Translate) -> Drawing:
    """Draw the calibrated tumor probability, the zones of decision and the threshold."""
    probability, threshold = prediction.tumor_probability or 0.0, prediction.threshold or 0.0

    def at(share: float) -> float:
        return round(10 + 620 * share, 1)

    parts = []
    for decision, start, end in zones(threshold, band):
        color = DECISIONS[decision]
        parts.append(f'<rect x="{at(start)}" y="24" width="{at(end) - at(start):.1f}" height="34" '
                     f'fill="{color}" fill-opacity=".3"/>')  # fmt: skip
        if end - start > 0.12:
            name = escape(t(f"decision.{decision}"))
            parts.append(_svg_text(at((start + end) / 2), 55, name, "middle"))
    anchor = "end" if threshold > 0.75 else "start"
    parts.append(f'<line x1="{at(threshold)}" x2="{at(threshold)}" y1="18" y2="60" '
                 'stroke="currentColor" stroke-width="2" stroke-dasharray="3 3"/>')  # fmt: skip
    label = t("read.threshold", value=f"{threshold:.3f}")
    parts.append(_svg_text(at(threshold), 14, label, anchor))
    x, color = at(probability), DECISIONS.get(prediction.decision, BLUE)
    parts.append(f'<path d="M{x - 9} 33L{x} 24L{x + 9} 33L{x} 42Z" stroke="currentColor" '
                 f'stroke-width="2" fill="{color}"/>')  # fmt: skip
    parts += [_svg_text(at(k / 5), 76, f"{k / 5:g}", "middle") for k in range(6)]
    parts.append(_svg_text(320, 94, escape(t("read.scale")), "middle"))
    return Drawing(
        _svg(640, 98, "".join(parts)),
        f"{t('read.probability', value=f'{probability:.3f}')}; {label}",
    )


def _svg(width: int, height: int, content: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="14">{content}</svg>'
    )


def _svg_text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'


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


def type_bars(prediction: Prediction, t: Translate) -> Drawing:
    """Draw how probable each type is, given that there is a tumor."""
    rows = sorted(prediction.type_probabilities.items(), key=lambda row: -row[1])
    parts = []
    for number, (name, p) in enumerate(rows):
        y = 28 * number + 20
        parts.append(_svg_text(0, y, escape(t(f"type.{name}")), "start"))
        parts.append(
            f'<rect x="110" y="{y - 14}" width="{190 * p:.1f}" height="18" fill="{BLUE}"/>'
        )
        parts.append(_svg_text(118 + 190 * p, y, f"{p:.2f}", "start"))
    alt = ", ".join(f"{t(f'type.{name}')} {p:.2f}" for name, p in rows)
    return Drawing(_svg(360, 28 * len(rows) + 6, "".join(parts)), alt)


def prepared_image(heatmap: Heatmap) -> NDArray[np.uint8]:
    """Return what the network saw, large enough to look at, [SIDE, SIDE]."""
    large = cv2.resize(heatmap.prepared, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.uint8)
