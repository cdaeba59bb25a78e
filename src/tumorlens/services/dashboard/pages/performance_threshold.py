"""The threshold that a reader moves to see what it would do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from tumorlens.services.dashboard.charts.curves import roc_curves
from tumorlens.services.dashboard.charts.moving import at_threshold
from tumorlens.services.dashboard.charts.rates import sweep_figure
from tumorlens.services.dashboard.texts import Say

PREVALENCES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@st.fragment
def show(_path: Path, record: Mapping[str, Any], say: Say) -> None:
    """Draw sliders, the figures they give, and where that is on the ROC curve."""
    sweeps = {name: sweep for name, sweep in record.get("sweep", {}).items() if sweep["n"]}
    if not sweeps:
        st.info(say("performance.no_sweep"))
        st.plotly_chart(roc_curves(record, None, say), key="roc")
        return
    controls, figures = st.columns([2, 3], gap="large")
    with controls:
        name = st.segmented_control(
            say("performance.rows"), list(sweeps), default=next(iter(sweeps)), required=True,
            format_func=lambda row: say(f"rows.{row}"), key="sweep_rows",
        )  # fmt: skip
        sweep = sweeps[name]
        own = record["detection"][name]["threshold"]
        grid = sweep["threshold"]
        threshold: float = st.select_slider(  # pyright: ignore[reportAssignmentType]
            say("performance.threshold"), grid, value=min(grid, key=lambda t: abs(t - own)),
            format_func=lambda t: f"{t:.4g}", key=f"threshold-{name}",
            help=say("performance.threshold_help", own=f"{own:.4f}"),
        )  # fmt: skip
        prevalence = st.select_slider(
            say("performance.prevalence"), PREVALENCES, value=0.1, key="prevalence",
            format_func=lambda p: f"{100 * p:g} %", help=say("performance.prevalence_help"),
        )  # fmt: skip
    moved = at_threshold(sweep, threshold, prevalence)
    with figures:
        shown = (("sensitivity", moved.sensitivity), ("specificity", moved.specificity),
                 ("ppv", moved.ppv), ("npv", moved.npv))  # fmt: skip
        for start in (0, 2):
            for column, (key, value) in zip(st.columns(2), shown[start : start + 2], strict=True):
                number = "-" if value.value is None else f"{value.value:.3f}"
                column.metric(say(f"performance.{key}"), number, border=True,
                              help=say(f"performance.{key}_help"))  # fmt: skip
                column.caption(say("performance.interval", text=value.interval))
    st.markdown(_in_words(moved, prevalence, say))
    left, right = st.columns(2)
    point = (moved.specificity.value, moved.sensitivity.value)
    marked = None if None in point else (point[0] or 0.0, point[1] or 0.0)
    left.plotly_chart(roc_curves(record, marked, say), key="roc")
    right.plotly_chart(sweep_figure(sweep, threshold, own, say), key="sweep")


def _in_words(moved: Any, prevalence: float, say: Say) -> str:
    """Count people in a thousand, which is easier to think in than shares."""
    sensitivity, specificity = moved.sensitivity.value, moved.specificity.value
    if sensitivity is None or specificity is None:
        return say("performance.one_class")
    tumors = round(1000 * prevalence)
    return say(
        "performance.thousand",
        tumors=tumors,
        found=round(tumors * sensitivity),
        missed=tumors - round(tumors * sensitivity),
        alarms=round((1000 - tumors) * (1 - specificity)),
    )
