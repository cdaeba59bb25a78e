"""Audit: what is wrong with a set before anything is trained on it."""

from collections.abc import Mapping, Sequence

import streamlit as st

from tumorlens.json_records import Record
from tumorlens.language import translate
from tumorlens.records import figure_text
from tumorlens.reports.charts.texts import Translate, label_name
from tumorlens.services.dashboard.charts import data_sets
from tumorlens.services.dashboard.pages.study import DrawPart, draw_part, open_page
from tumorlens.services.dashboard.texts import escape_markup
from tumorlens.services.dashboard.widgets import (
    columns_in_rows,
    draw_chart,
    draw_image,
    draw_metrics,
    switch,
)

VERDICT_BOXES = {"leaks": st.warning, "clean": st.success, "none": st.info}


def draw(t: Translate) -> None:
    """Draw the page."""
    record = open_page("audit", "audit", t)
    if record is None:
        return
    text, kind = data_sets.split_verdict(record, t)
    VERDICT_BOXES[kind](text, icon=":material/content_copy:")
    figures = {
        "files": record.count("n"),
        "images": record.count("pictures"),
        "groups": record.count("groups"),
        "contradictory": record.part("conflicts").part("pictures").count("contradictory"),
        "text": record.part("privacy").count("with_text"),
    }
    draw_metrics("audit", figures, t)
    draw_part("audit", PARTS, record, t=t)


def _draw_copies(record: Record, t: Translate) -> None:
    rows = data_sets.leak_rows(record, t)
    if rows:
        st.markdown(f"**{t('audit.leak_table')}**", help=t("audit.leak_help"))
        share = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)
        st.dataframe(rows, hide_index=True, column_config={t("audit.share"): share})
    n = record.count("n")
    for column, kind in zip(st.columns(2), ("by_split", "by_dataset"), strict=True):
        shared = record.part("copies").table(kind)
        draw_chart(column, data_sets.shared_map(shared, t(f"audit.{kind}", n=n), t), key=kind)
    groups = record.part("gallery").rows("groups")
    st.header(t("audit.groups_shown", n=len(groups)), anchor=False)
    if not groups:
        st.caption(t("audit.no_groups"))
    for group in groups:
        parts = ", ".join(
            f"{t('chart.no_split') if part == '-' else part}: {n}"
            for part, n in group.names("parts").items()
        )
        labels = ", ".join(label_name(label, t) for label in group.items("labels"))
        st.markdown(t("audit.group", n=group.count("n"), parts=parts, labels=labels))
        _draw_members(group.rows("members"), t)


def _draw_conflicts(record: Record, t: Translate) -> None:
    st.markdown(t("audit.conflict_what"))
    rows = [
        {
            t("audit.kind"): t(f"audit.{row.text('kind')}"),
            t("audit.labels"): " / ".join(label_name(name, t) for name in row.items("labels")),
            t("audit.pairs"): row.count("pairs"),
        }
        for row in record.part("conflicts").rows("by_labels")
    ]
    if not rows:
        st.success(t("audit.no_conflicts"), icon=":material/check:")
        return
    st.dataframe(rows, hide_index=True)
    for row in record.part("gallery").rows("conflicts"):
        kind, score = t(f"audit.{row.text('kind')}"), figure_text(row.number("score"))
        st.markdown(t("audit.conflict", kind=kind, score=score))
        _draw_members(row.rows("members"), t)


def _draw_members(members: Sequence[Record], t: Translate) -> None:
    """Draw small images in a row, each with its label and part."""
    for column, member in zip(st.columns(8), members, strict=False):
        label, part = label_name(member.text("label"), t), member.text("part")
        with column:
            draw_image(member.image("picture"), label, missing="")
            name = escape_markup(member.text("name"))
            st.caption(f"{label} · {part}" if part else label, help=name)


def _draw_shortcuts(record: Record, t: Translate) -> None:
    st.markdown(t("audit.shortcut_what"))
    shortcuts = record.rows("shortcuts")
    tasks = list(dict.fromkeys(row.text("task") for row in shortcuts))
    if not tasks:
        st.info(t("audit.no_shortcuts"))
        return
    task = switch(t("audit.task"), tasks, "audit_task", names=translate)
    figure, reasons = data_sets.shortcut_dots(shortcuts, task, t)
    draw_chart(st, figure, key="shortcuts")
    for reason in reasons:
        st.caption(reason)


def _draw_files(record: Record, t: Translate) -> None:
    tables = {"datasets": "by_set", "labels": "by_label"}
    places = columns_in_rows(2, 2, key="tables")
    for column, (key, title) in zip(places, tables.items(), strict=True):
        column.markdown(f"**{t(f'audit.{title}')}**")
        column.dataframe(data_sets.set_rows(record.table(key), t), hide_index=True)
    privacy, quality = record.part("privacy"), record.part("quality")
    counts = {"text": "with_text", "head": "over_head", "fields": "with_fields"}
    found = {name: privacy.count(key) for name, key in counts.items()}
    st.markdown(t("audit.privacy", **found, n=record.count("n")))
    for kind in ("unreadable", "odd", "unusual"):
        with st.expander(t(f"audit.list_{kind}", n=quality.count(kind)), expanded=False):
            st.caption(t(f"audit.list_{kind}_what"))
            rows = quality.part("listed").items(kind)
            if rows:
                st.dataframe(rows, hide_index=True)


PARTS: Mapping[str, DrawPart] = {
    "copies": _draw_copies,
    "conflicts": _draw_conflicts,
    "shortcuts": _draw_shortcuts,
    "files": _draw_files,
}
