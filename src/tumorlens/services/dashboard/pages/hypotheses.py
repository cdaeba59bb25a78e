"""Hypotheses: what people believe of a set, and what its figures say."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.charts.verdicts import (
    BADGES,
    ICONS,
    finding_rows,
    findings_figure,
    told,
)
from tumorlens.services.dashboard.pages.chooser import open_page
from tumorlens.services.dashboard.texts import Say, known


def show() -> None:
    """Draw the page."""
    say = session.speech()
    chosen = open_page("hypotheses", "explore", say)
    if chosen is None:
        return
    _, record = chosen
    _summary(record["hypotheses"], say)
    for row in record["hypotheses"]:
        _hypothesis(row, say)


def _summary(rows: list[Mapping[str, Any]], say: Say) -> None:
    columns = st.columns(len(BADGES))
    for column, verdict in zip(columns, BADGES, strict=True):
        count = sum(row["verdict"] == verdict for row in rows)
        column.metric(say(f"verdict.{verdict}"), say("hypotheses.of", n=count, total=len(rows)),
                      border=True, help=say(f"verdict.{verdict}_help"))  # fmt: skip


def _hypothesis(row: Mapping[str, Any], say: Say) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{row['id']}** {_text(row, 'statement', say)}", width="stretch")
            verdict = row["verdict"]
            st.badge(say(f"verdict.{verdict}"), icon=ICONS[verdict], color=BADGES[verdict])
        if row["reason"]:
            st.caption(row["reason"])
        measures = dict.fromkeys(f["measure"] for f in row["findings"] if f["value"] is not None)
        for number, measure in enumerate(measures):
            figure = findings_figure(row["findings"], measure, say)
            st.plotly_chart(figure, key=f"{row['id']}-{number}")
        for finding in row["findings"]:
            st.markdown(f"- {told(finding, say)}")
        with st.expander(say("hypotheses.how")):
            st.markdown(f"**{say('hypotheses.test')}** {row['test']}")
            st.markdown(f"**{say('hypotheses.rule')}** {row['rule']}")
            if row["findings"]:
                st.dataframe(finding_rows(row["findings"], say), hide_index=True)


def _text(row: Mapping[str, Any], name: str, say: Say) -> str:
    """Give a text of a hypothesis in the reader's language where there is one."""
    key = f"hypothesis.{row['id']}"
    return say(key) if known(key) else row[name]
