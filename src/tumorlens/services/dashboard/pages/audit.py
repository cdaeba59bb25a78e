"""Audit: what is wrong with a set before anything is trained on it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.charts.leaks import (
    leak_rows,
    set_rows,
    shared_map,
    shortcut_dots,
    verdict,
)
from tumorlens.services.dashboard.charts.names import label_name, plain
from tumorlens.services.dashboard.pages.chooser import open_page
from tumorlens.services.dashboard.studies import read_picture
from tumorlens.services.dashboard.texts import Say

Record = Mapping[str, Any]
SHOWN_AS = {"leaks": st.warning, "clean": st.success, "none": st.info}


def show() -> None:
    """Draw the page."""
    say = session.speech()
    chosen = open_page("audit", "audit", say)
    if chosen is None:
        return
    path, record = chosen
    text, kind = verdict(record, say)
    SHOWN_AS[kind](text, icon=":material/content_copy:")
    _counts(record, say)
    part = st.segmented_control(
        say("explore.part"), ["copies", "conflicts", "shortcuts", "files"], default="copies",
        key="audit_part", required=True, label_visibility="collapsed", persist_state="session",
        format_func=lambda name: say(f"audit.part_{name}"),
    )  # fmt: skip
    {"copies": _copies, "conflicts": _conflicts, "shortcuts": _shortcuts, "files": _files}[part](
        path, record, say
    )


def _counts(record: Record, say: Say) -> None:
    conflicts, privacy = record["conflicts"]["pictures"], record["privacy"]
    found = (
        ("files", record["n"]),
        ("pictures", record["pictures"]),
        ("groups", record["groups"]),
        ("contradictory", conflicts["contradictory"]),
        ("text", privacy["with_text"]),
    )
    for column, (name, count) in zip(st.columns(len(found)), found, strict=True):
        column.metric(say(f"audit.{name}"), f"{count:,}", help=say(f"audit.{name}_help"),
                      border=True)  # fmt: skip


def _copies(path: Path, record: Record, say: Say) -> None:
    rows = leak_rows(record, say)
    if rows:
        st.markdown(f"**{say('audit.leak_table')}**", help=say("audit.leak_help"))
        share = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)
        st.dataframe(rows, hide_index=True, column_config={say("audit.share"): share})
    left, right = st.columns(2)
    n = f"{record['n']:,}"
    left.plotly_chart(
        shared_map(record["copies"]["by_split"], say("audit.by_split", n=n), say), key="by_split"
    )
    right.plotly_chart(
        shared_map(record["copies"]["by_dataset"], say("audit.by_dataset", n=n), say),
        key="by_dataset",
    )
    groups = record.get("gallery", {}).get("groups", ())
    st.header(say("audit.groups_shown", n=len(groups)), anchor=False)
    if not groups:
        st.caption(say("audit.no_groups"))
    for group in groups:
        parts = ", ".join(f"{say('explore.no_split') if p == '-' else p}: {n}"
                          for p, n in group["parts"].items())  # fmt: skip
        labels = ", ".join(label_name(label, say) for label in group["labels"])
        st.markdown(say("audit.group", n=group["n"], parts=parts, labels=labels))
        _members(path, group["members"], say)


def _conflicts(path: Path, record: Record, say: Say) -> None:
    st.markdown(say("audit.conflict_what"))
    found = record["conflicts"]
    rows = [
        {
            say("audit.kind"): say(f"audit.{row['kind']}"),
            say("audit.labels"): " / ".join(label_name(name, say) for name in row["labels"]),
            say("audit.pairs"): row["pairs"],
        }
        for row in found["by_labels"]
    ]
    if not rows:
        st.success(say("audit.no_conflicts"), icon=":material/check:")
        return
    st.dataframe(rows, hide_index=True)
    for row in record.get("gallery", {}).get("conflicts", ()):
        st.markdown(say("audit.conflict", kind=say(f"audit.{row['kind']}"),
                        score=f"{row['score']:.3f}"))  # fmt: skip
        _members(path, row["members"], say)


def _members(path: Path, members: Sequence[Mapping[str, str]], say: Say) -> None:
    """Show small pictures in a row, each with its label and part."""
    for column, member in zip(st.columns(8), members, strict=False):
        data = read_picture(path, member["picture"])
        with column:
            if data:
                st.image(data, width="stretch", alt=label_name(member["label"], say))
            part = f" · {member['part']}" if member["part"] else ""
            st.caption(f"{label_name(member['label'], say)}{part}", help=plain(member["name"]))


def _shortcuts(_path: Path, record: Record, say: Say) -> None:
    st.markdown(say("audit.shortcut_what"))
    tasks = list(dict.fromkeys(row["task"] for row in record["shortcuts"]))
    if not tasks:
        st.info(say("audit.no_shortcuts"))
        return
    task = st.segmented_control(say("audit.task"), tasks, default=tasks[0], required=True,
                                key="audit_task")  # fmt: skip
    figure, reasons = shortcut_dots(record["shortcuts"], task, say)
    st.plotly_chart(figure, key="shortcuts")
    for reason in reasons:
        st.caption(reason)


def _files(_path: Path, record: Record, say: Say) -> None:
    left, right = st.columns(2)
    with left:
        st.markdown(f"**{say('audit.by_set')}**")
        st.dataframe(set_rows(record["datasets"], say), hide_index=True)
    with right:
        st.markdown(f"**{say('audit.by_label')}**")
        st.dataframe(set_rows(record["labels"], say), hide_index=True)
    privacy, quality = record["privacy"], record["quality"]
    st.markdown(say("audit.privacy", text=privacy["with_text"], head=privacy["over_head"],
                    fields=privacy["with_fields"], n=f"{record['n']:,}"))  # fmt: skip
    for kind in ("unreadable", "odd", "unusual"):
        rows = quality["listed"][kind]
        with st.expander(say(f"audit.list_{kind}", n=quality[kind]), expanded=False):
            st.caption(say(f"audit.list_{kind}_what"))
            if rows:
                st.dataframe(rows, hide_index=True)
