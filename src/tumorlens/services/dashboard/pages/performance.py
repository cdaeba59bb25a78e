"""Performance: how well a bundle did on scans that it was measured on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.charts.confusion import (
    class_matrix,
    detection_matrix,
    type_matrix,
)
from tumorlens.services.dashboard.charts.curves import (
    net_benefit,
    precision_curves,
    reliability,
)
from tumorlens.services.dashboard.charts.rates import figure_text, subgroup_dots
from tumorlens.services.dashboard.pages import performance_more, performance_threshold
from tumorlens.services.dashboard.pages.chooser import open_page
from tumorlens.services.dashboard.texts import Say

Record = Mapping[str, Any]


def show() -> None:
    """Draw the page."""
    say = session.speech()
    chosen = open_page("performance", "evaluation", say)
    if chosen is None:
        performance_more.show_learning(say)
        return
    path, record = chosen
    _provenance(record, say)
    _headline(record, say)
    part = st.segmented_control(
        say("explore.part"), list(PARTS), default="threshold", key="performance_part",
        required=True, label_visibility="collapsed", persist_state="session",
        format_func=lambda name: say(f"performance.part_{name}"),
    )  # fmt: skip
    PARTS[part](path, record, say)


def _provenance(record: Record, say: Say) -> None:
    """Say what was measured, and warn where figures flatter."""
    st.caption(say("performance.what", bundle=record["bundle"], part=record["part"],
                   intervals=record["intervals"]))  # fmt: skip
    split = record["split"]
    if split.get("share"):
        st.error(say("performance.leaks", share=f"{100 * split['share']:.1f} %"))
    elif record["part"] == "all" or split.get("fingerprint") is None:
        st.warning(say("performance.maybe_seen"), icon=":material/warning:")
    elif record["trained_on_split"] != split["fingerprint"]:
        st.info(say("performance.other_split"), icon=":material/info:")
    looks = record.get("looks")
    if looks and looks["same_scans"] > 1:
        st.caption(say("performance.looks", n=looks["same_scans"]))


def _headline(record: Record, say: Say) -> None:
    """Show what matters of each modality, each figure with interval and n."""
    rows = [
        {
            say("performance.rows"): say(f"rows.{name}"),
            "AUC": figure_text(found, "auc"),
            say("performance.sensitivity"): figure_text(found, "sensitivity", "n_tumor"),
            say("performance.specificity"): figure_text(found, "specificity", "n_healthy"),
            say("performance.accuracy"): figure_text(found, "accuracy"),
        }
        for name, found in record["detection"].items()
        if found["n"]
    ]
    st.dataframe(rows, hide_index=True)
    if record["type"]:
        st.markdown(say("performance.type_line", accuracy=figure_text(record["type"], "accuracy"),
                        f1=figure_text(record["type"], "macro_f1")))  # fmt: skip


def _confusion(_path: Path, record: Record, say: Say) -> None:
    st.caption(say("performance.confusion_what"))
    names = [name for name, found in record["detection"].items() if found["n"]]
    for column, name in zip(st.columns(len(names)), names, strict=True):
        with column:
            st.markdown(f"**{say(f'rows.{name}')}**")
            st.plotly_chart(detection_matrix(record["detection"][name], say), key=f"two-{name}")
    left, right = st.columns([3, 2])
    left.plotly_chart(class_matrix(record["classes"], say), key="classes")
    if record["type"]:
        right.plotly_chart(type_matrix(record["type"], say), key="types")


def _calibration(_path: Path, record: Record, say: Say) -> None:
    found = record["calibration"]
    left, right = st.columns(2)
    with left:
        st.plotly_chart(reliability(found, say), key="calibration")
        slope = say("performance.slope", slope=figure_text(found, "slope")) \
            if found.get("slope") is not None else ""  # fmt: skip
        st.markdown(say("performance.ece", ece=figure_text(found, "ece"),
                        brier=figure_text(found, "brier")) + slope,
                    help=say("performance.ece_help"))  # fmt: skip
    with right:
        if record["decision"].get("net_benefit"):
            st.plotly_chart(net_benefit(record["decision"], say), key="benefit")
            st.caption(say("performance.benefit_what"))
    st.plotly_chart(precision_curves(record, say), key="precision")


def _subgroups(_path: Path, record: Record, say: Say) -> None:
    st.markdown(say("performance.subgroups_what"))
    kinds = [kind for kind, held in record["subgroups"].items() if held]
    if not kinds:
        st.info(say("performance.no_subgroups"))
        return
    left, right = st.columns(2)
    kind = left.selectbox(say("performance.by"), kinds, key="subgroup_kind",
                          format_func=lambda name: name.replace("_", " "))  # fmt: skip
    measures = ["auc", "sensitivity", "specificity"]
    measure = right.selectbox(say("performance.measure"), measures, key="subgroup_measure",
                              format_func=lambda name: say(f"performance.{name}"))  # fmt: skip
    st.plotly_chart(subgroup_dots(record, kind or kinds[0], measure or "auc", say), key="subgroups")


PARTS: Mapping[str, Callable[[Path, Record, Say], None]] = {
    "threshold": performance_threshold.show,
    "confusion": _confusion,
    "calibration": _calibration,
    "subgroups": _subgroups,
    "failures": performance_more.show_failures,
    "compare": performance_more.show_comparison,
    "controls": performance_more.show_controls,
    "learning": lambda _path, _record, say: performance_more.show_learning(say),
}
