"""The other parts of Performance: failures, two bundles, negative controls, learning curves."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.charts.comparison import comparison_dots, pair_rows, same_scans
from tumorlens.services.dashboard.charts.controls import control_rows
from tumorlens.services.dashboard.charts.curves import learning_curves
from tumorlens.services.dashboard.charts.names import label_name, plain
from tumorlens.services.dashboard.studies import (
    HISTORY,
    KINDS,
    find_records,
    read_picture,
    read_record,
)
from tumorlens.services.dashboard.texts import Say

Record = Mapping[str, Any]
ACROSS = 4  # failures in a row


def show_failures(path: Path, record: Record, say: Say) -> None:
    """Show the scans that the bundle had most wrong, as far as they may be shown."""
    st.caption(say("performance.failures_what"))
    for kind, held in record["failures"].items():
        st.header(say(f"performance.{kind}", n=held["total"]), anchor=False)
        if held["with_conflict"]:
            st.caption(say("performance.with_conflict", n=held["with_conflict"]))
        if not held["worst"]:
            st.markdown(say("performance.none"))
        for start in range(0, len(held["worst"]), ACROSS):
            rows = held["worst"][start : start + ACROSS]
            for column, row in zip(st.columns(ACROSS), rows, strict=False):
                with column:
                    _failure(path, row, say)


def _failure(path: Path, row: Record, say: Say) -> None:
    label = label_name(row["label"], say)
    data = read_picture(path, row.get("picture"))
    if data:
        st.image(data, width="stretch", alt=label)
    elif row["hidden"]:
        st.caption(say("performance.hidden", why=row["hidden"]))
    st.caption(f"{label}: **{row['tumor_probability']:.3f}**, {say('decision.' + row['decision'])}",
               help=plain(row["case"]))  # fmt: skip


def show_comparison(_path: Path, record: Record, say: Say) -> None:
    """Show two bundles on the same scans, or two evaluations side by side."""
    against = record.get("against")
    if against:
        st.markdown(say("performance.against", own=record["bundle"], other=against["bundle"],
                        n=f"{against['n']:,}"))  # fmt: skip
        st.plotly_chart(comparison_dots(against, say), key="against")
    found = find_records(session.load_shared().settings.study_folders, KINDS["evaluation"].file)
    st.markdown(f"**{say('performance.side_by_side')}**")
    by_name = {item.name: item for item in found}
    name = st.selectbox(say("performance.other"), list(by_name), index=min(1, len(found) - 1),
                        key="other_evaluation")  # fmt: skip
    other = read_record(by_name[name].path, "evaluation")
    if not same_scans(record, other):
        st.warning(say("performance.not_same"), icon=":material/warning:")
    st.dataframe(pair_rows(record, other, say), hide_index=True)
    if not against:
        st.caption(say("performance.how_against"))


def show_controls(_path: Path, record: Record, say: Say) -> None:
    """Show what something that cannot know would reach."""
    st.markdown(say("performance.controls_what"))
    if not record.get("controls"):
        st.info(say("performance.no_controls"))
        return
    st.dataframe(control_rows(record["controls"], say), hide_index=True)


def show_learning(say: Say) -> None:
    """Show the learning curves of a training run in the study folders."""
    found = find_records(session.load_shared().settings.study_folders, HISTORY)
    if not found:
        st.info(say("learning.none"))
        return
    by_name = {item.name: item for item in found}
    name = st.selectbox(say("learning.run"), list(by_name), key="run")
    with by_name[name].path.open(newline="", encoding="utf-8") as file:
        history = [{key: float(value) for key, value in row.items() if value}
                   for row in csv.DictReader(file)]  # fmt: skip
    if not history:
        st.info(say("learning.no_epoch"))
        return
    loss, figures = learning_curves(history, say)
    left, right = st.columns(2)
    left.plotly_chart(loss, key="loss")
    right.plotly_chart(figures, key="figures")
    st.caption(say("learning.what"))
