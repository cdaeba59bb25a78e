"""Explore and Hypotheses: what classes look like, what separates them, which beliefs hold."""

import math
from collections.abc import Mapping

import streamlit as st

from tumorlens.json_records import Record
from tumorlens.records import figure_text
from tumorlens.reports.charts import exploration
from tumorlens.reports.charts.texts import Translate, label_name, term
from tumorlens.services.dashboard.charts import data_sets
from tumorlens.services.dashboard.pages.study import DrawPart, draw_part, open_page
from tumorlens.services.dashboard.widgets import (
    choose,
    columns_in_rows,
    draw_chart,
    draw_download,
    draw_image,
    draw_metrics,
    switch,
)

KINDS = ("mean", "variability", "montage")


def draw(t: Translate) -> None:
    """Draw the page."""
    record = open_page("explore", "explore", t)
    if record is None:
        return
    labels = sum(bool(row.text("label")) for row in record.table("pictures").values())
    figures = {
        "scans": record.count("n"),
        "groups_metric": record.count("groups"),
        "labels": labels,
        "unreadable": record.count("unreadable"),
    }
    draw_metrics("explore", figures, t)
    draw_part("explore", PARTS, record, t=t)


def _draw_images(record: Record, t: Translate) -> None:
    """Draw mean, variability or montage of the chosen labels side by side."""
    rows = record.table("pictures")
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    names = left.pills(
        t("explore.labels_shown"),
        list(rows),
        selection_mode="multi",
        default=[name for name, row in rows.items() if row.text("label")][:4],
        format_func=lambda name: f"{label_name(name, t)} ({rows[name].count('n'):,})",
        key="explore_labels",
        wrap=True,
    )
    with right:
        title, help = t("explore.kind"), t("explore.kind_help")
        kind = switch(title, KINDS, "explore_kind", names=lambda n: t(f"explore.{n}"), help=help)
    st.caption(t(f"explore.{kind}_what"))
    places = columns_in_rows(len(names), 2 if kind == "montage" else 4, key="images")
    for place, name in zip(places, names, strict=True):
        with place:
            _draw_image(rows[name], kind, label_name(name, t), t=t)
    if names:
        figure = exploration.gray_levels({name: rows[name] for name in names}, t)
        draw_chart(st, figure, key="gray", alt=t("explore.histogram_alt"))


def _draw_image(row: Record, kind: str, title: str, *, t: Translate) -> None:
    missing = f"{title}: {t('study.no_image')}"
    draw_image(row.image(kind), title, missing=missing, caption=title)


def _draw_differences(record: Record, t: Translate) -> None:
    """Draw two classes and what the one is brighter or darker in than the other."""
    found = record.rows("differences")
    if not found:
        st.info(t("explore.no_difference"))
        return
    sides = [{side: row.text(side) for side in ("second", "first")} for row in found]
    names = [{side: label_name(name, t) for side, name in pair.items()} for pair in sides]
    titles = [t("explore.less", **pair) for pair in names]
    at = choose(t("explore.pair"), range(len(found)), "explore_pair", names=titles.__getitem__)
    second, first, third = st.columns(3)
    for place, side in ((second, "second"), (first, "first")):
        with place:
            row = record.part("pictures").part(sides[at][side])
            _draw_image(row, "mean", names[at][side], t=t)
    with third:
        _draw_image(found[at], "picture", t("explore.difference"), t=t)
    st.markdown(_test_text(found[at].part("test"), t), help=t("explore.difference_help"))


def _test_text(test: Record, t: Translate) -> str:
    if not test:
        return t("explore.untested")
    groups = test.count("n_groups_first") + test.count("n_groups_second")
    p, share = figure_text(test.number("p")), test.number("significant_share")
    if not share:
        return t("explore.nowhere", p=p, groups=groups)
    ends = {name: _signed(test.number(name)) for name in ("brightest", "darkest")}
    return t("explore.somewhere", p=p, groups=groups, share=f"{100 * share:.1f} %", **ends)


def _signed(value: float) -> str:
    return f"{value:+.0f}" if math.isfinite(value) else "-"


def _draw_sets(record: Record, t: Translate) -> None:
    """Draw how many scans of what, and in which sizes."""
    left, right = st.columns(2)
    draw_chart(left, exploration.balance_bars(record.table("balance"), t), key="balance")
    draw_chart(right, exploration.size_scatter(record.part("sizes").rows("points"), t), key="sizes")


def _draw_features(record: Record, t: Translate) -> None:
    """Draw the 13 features of one modality."""
    studies = {n: study for n, study in record.table("features").items() if study.count("n")}
    if not studies:
        st.info(t("explore.no_features"))
        return
    modality = switch(
        t("explore.modality"), list(studies), "explore_modality", names=lambda n: term("rows", n, t)
    )
    study = studies[modality]
    _draw_feature(study, t)
    left, right = st.columns(2)
    draw_chart(left, exploration.single_dots(study, t), key="single")
    draw_chart(right, exploration.correlation_map(study, t), key="correlation")
    has_models, frames = bool(study.table("models")), record.part("frames").part(modality)
    if has_models:
        draw_chart(left, exploration.model_dots(study, t), key="models")
    left, right = st.columns(2) if has_models and frames else (st, st)
    if has_models:
        draw_chart(left, exploration.importance_dots(study, t), key="importance")
    if frames:
        draw_chart(right, exploration.frame_dots(frames, t), key="frames")
        right.caption(t("explore.frames_what"))
    table = record.path.parent / record.text("features_table")
    if table.is_file():
        draw_download(t("explore.table"), table.read_bytes, table.name, icon="table")


def _draw_feature(study: Record, t: Translate) -> None:
    """Draw one feature by class beside the effect sizes of two classes."""
    left, right = st.columns(2)
    with left:
        title, features = t("explore.feature_column"), study.items("features")
        feature = choose(title, features, "explore_feature", names=lambda n: term("feature", n, t))
        if what := t(f"feature.{feature}_what", ""):
            st.caption(what)
        draw_chart(st, exploration.feature_boxes(study, feature, t), key="boxes")
    contrasts = study.rows("contrasts")
    if not contrasts:
        return
    titles = [" / ".join(label_name(row.text(side), t) for side in "ab") for row in contrasts]
    with right:
        title, help = t("explore.contrast"), t("explore.contrast_help")
        numbers, key = range(len(contrasts)), "explore_contrast"
        at = choose(title, numbers, key, names=titles.__getitem__, help=help)
        groups = {side: contrasts[at].count(f"n_groups_{side}") for side in "ab"}
        st.caption(t("explore.contrast_n", **groups))
        st.dataframe(data_sets.effect_rows(contrasts[at], t), hide_index=True, height=360)


PARTS: Mapping[str, DrawPart] = {
    "pictures": _draw_images,
    "differences": _draw_differences,
    "sets": _draw_sets,
    "features": _draw_features,
}


def draw_hypotheses(t: Translate) -> None:
    """Draw the page of hypotheses."""
    record = open_page("hypotheses", "explore", t)
    if record is None:
        return
    rows = record.rows("hypotheses")
    found = [row.text("verdict") for row in rows]
    counts = {
        verdict: t("hypotheses.of", n=found.count(verdict), total=len(rows))
        for verdict in data_sets.VERDICTS
    }
    draw_metrics("verdict", counts, t)
    for row in rows:
        with st.container(border=True):
            _draw_hypothesis(row, t)


def _draw_hypothesis(row: Record, t: Translate) -> None:
    id, verdict = row.text("id"), row.text("verdict")
    color, icon, _ = data_sets.VERDICTS[verdict]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{id}** {row.words('statement')}", width="stretch")
        st.badge(t(f"verdict.{verdict}"), icon=icon, color=color)
    if row.text("reason"):
        st.caption(row.words("reason"))
    findings = row.rows("findings")
    measures = dict.fromkeys(f.text("measure") for f in findings if data_sets.has_value(f))
    for number, measure in enumerate(measures):
        draw_chart(st, data_sets.findings_figure(findings, measure, t), key=f"{id}-{number}")
    for finding in findings:
        st.markdown(f"- {data_sets.finding_text(finding, t)}")
    with st.expander(t("hypotheses.how")):
        st.markdown(f"**{t('hypotheses.test')}** {row.words('test')}")
        st.markdown(f"**{t('hypotheses.rule')}** {row.words('rule')}")
        if findings:
            st.dataframe(data_sets.finding_rows(findings, t), hide_index=True)
