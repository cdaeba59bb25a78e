"""Performance: how well a bundle did on scans that it was measured on."""

from collections.abc import Mapping

import streamlit as st

from tumorlens.files import read_table
from tumorlens.json_records import Record
from tumorlens.language import translate
from tumorlens.reports.charts.shapes import estimate_text, interval_text
from tumorlens.reports.charts.texts import Translate, label_name
from tumorlens.services.dashboard.charts import evaluation
from tumorlens.services.dashboard.charts.evaluation import Rates, rates_at, sweep_figure
from tumorlens.services.dashboard.pages.study import DrawPart, choose_record, draw_part, open_page
from tumorlens.services.dashboard.studies import HISTORY, KINDS, read_record
from tumorlens.services.dashboard.texts import escape_markup
from tumorlens.services.dashboard.widgets import (
    choose,
    columns_in_rows,
    draw_chart,
    draw_image,
    switch,
)

PREVALENCES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def draw(t: Translate) -> None:
    """Draw the page."""
    record = open_page("performance", "evaluation", t)
    if record is None:
        _draw_learning(t)
        return
    _draw_provenance(record, t)
    _draw_headline(record, t)
    draw_part("performance", PARTS, record, t=t)


def _draw_provenance(record: Record, t: Translate) -> None:
    """Write what was measured, and warn where figures flatter."""
    words = {name: record.words(name) for name in ("part", "intervals")}
    st.caption(t("performance.what", bundle=record.text("bundle"), **words))
    split = record.part("split")
    fingerprint, share = split.text("fingerprint"), split.number("share")
    if share > 0:
        st.error(t("performance.leaks", share=f"{100 * share:.1f} %"))
    elif record.text("part") == "all" or not fingerprint:
        st.warning(t("performance.maybe_seen"), icon=":material/warning:")
    elif record.text("trained_on_split") != fingerprint:
        st.info(t("performance.other_split"), icon=":material/info:")
    earlier = record.part("looks")
    if earlier and earlier.count("same_scans") > 1:
        st.caption(t("performance.looks", n=earlier.count("same_scans")))


def _draw_headline(record: Record, t: Translate) -> None:
    """Draw what matters of each modality, each figure with interval and n."""
    measures = (*evaluation.MEASURES, "accuracy")
    rows = [
        {t("performance.rows"): t(f"rows.{name}")}
        | {t(f"performance.{m}"): evaluation.measure_text(found, m) for m in measures}
        for name, found in _read_rows(record).items()
    ]
    st.dataframe(rows, hide_index=True)
    types = record.part("type")
    if types:
        accuracy, f1 = (estimate_text(types.estimate(name)) for name in ("accuracy", "macro_f1"))
        st.markdown(t("performance.type_line", accuracy=accuracy, f1=f1))


def _read_rows(record: Record) -> dict[str, Record]:
    return {n: found for n, found in record.table("detection").items() if found.count("n")}


# --- threshold ------------------------------------------------------------------------------


@st.fragment
def _draw_threshold(record: Record, t: Translate) -> None:
    """Draw sliders, the figures they give, and where that is on the ROC curve."""
    sweeps = {name: sweep for name, sweep in record.table("sweep").items() if sweep.count("n")}
    if not sweeps:
        st.info(t("performance.no_sweep"))
        draw_chart(st, evaluation.roc_curves(record, t), key="roc")
        return
    controls, figures = st.columns([2, 3], gap="large")
    with controls:
        title = t("performance.rows")
        name = switch(title, list(sweeps), "sweep_rows", names=lambda row: t(f"rows.{row}"))
        own = record.part("detection").part(name).number("threshold")
        threshold, prevalence = _choose_threshold(sweeps[name], name, own=own, t=t)
    rates = rates_at(sweeps[name], threshold, prevalence=prevalence)
    with figures:
        _draw_rates(rates, t)
    st.markdown(_people_text(rates, prevalence, t))
    specificity, sensitivity = rates.specificity.value, rates.sensitivity.value
    marked = None if specificity is None or sensitivity is None else (specificity, sensitivity)
    left, right = st.columns(2)
    draw_chart(left, evaluation.roc_curves(record, t, marked=marked), key="roc")
    draw_chart(right, sweep_figure(sweeps[name], threshold, own=own, t=t), key="sweep")


def _choose_threshold(sweep: Record, name: str, *, own: float, t: Translate) -> tuple[float, float]:
    grid = sweep.items("threshold")
    threshold: float = st.select_slider(  # pyright: ignore[reportAssignmentType]
        t("performance.threshold"),
        grid,
        value=min(grid, key=lambda at: abs(at - own)),
        format_func="{:.4g}".format,
        key=f"threshold-{name}",
        help=t("performance.threshold_help", own=f"{own:.4f}"),
    )
    prevalence = st.select_slider(
        t("performance.prevalence"),
        PREVALENCES,
        value=0.1,
        format_func=lambda p: f"{100 * p:g} %",
        key="prevalence",
        help=t("performance.prevalence_help"),
    )
    return threshold, prevalence


def _draw_rates(rates: Rates, t: Translate) -> None:
    names = ("sensitivity", "specificity", "ppv", "npv")
    for column, name in zip(columns_in_rows(4, 2), names, strict=True):
        rate = getattr(rates, name)
        figure = "-" if rate.value is None else f"{rate.value:.3f}"
        key = f"performance.{name}"
        column.metric(t(key), figure, border=True, help=t(f"{key}_help"))
        interval = ", ".join(filter(None, [interval_text(rate), f"n={rate.n:,}"]))
        column.caption(t("performance.interval", text=interval))


def _people_text(rates: Rates, prevalence: float, t: Translate) -> str:
    """Count people in a thousand, which is easier to think in than shares."""
    sensitivity, specificity = rates.sensitivity.value, rates.specificity.value
    if sensitivity is None or specificity is None:
        return t("performance.one_class")
    tumors = round(1000 * prevalence)
    found, alarms = round(tumors * sensitivity), round((1000 - tumors) * (1 - specificity))
    counts = {"tumors": tumors, "found": found, "missed": tumors - found, "alarms": alarms}
    return t("performance.thousand", **counts)


# --- confusion, calibration, subgroups ------------------------------------------------------


def _draw_confusion(record: Record, t: Translate) -> None:
    st.caption(t("performance.confusion_what"))
    rows = _read_rows(record)
    for column, (name, found) in zip(st.columns(len(rows)), rows.items(), strict=True):
        column.markdown(f"**{t(f'rows.{name}')}**")
        draw_chart(column, evaluation.detection_matrix(found, t), key=f"two-{name}")
    left, right = st.columns([3, 2])
    draw_chart(left, evaluation.class_matrix(record.part("classes"), t), key="classes")
    if record.part("type"):
        draw_chart(right, evaluation.type_matrix(record.part("type"), t), key="types")


def _draw_calibration(record: Record, t: Translate) -> None:
    found = record.part("calibration")
    figures = {name: estimate_text(found.estimate(name)) for name in ("ece", "brier", "slope")}
    text = t("performance.ece", **figures)
    if found.estimate("slope").value is not None:
        text += t("performance.slope", **figures)
    left, right = st.columns(2)
    draw_chart(left, evaluation.reliability(found, t), key="calibration")
    left.markdown(text, help=t("performance.ece_help"))
    benefit = record.part("decision").part("net_benefit")
    if benefit:
        draw_chart(right, evaluation.net_benefit(benefit, t), key="benefit")
        right.caption(t("performance.benefit_what"))
    draw_chart(st, evaluation.precision_curves(record, t), key="precision")


def _draw_subgroups(record: Record, t: Translate) -> None:
    st.markdown(t("performance.subgroups_what"))
    kinds = [kind for kind, held in record.table("subgroups").items() if held]
    if not kinds:
        st.info(t("performance.no_subgroups"))
        return
    left, right = st.columns(2)
    with left:
        title = t("performance.by")
        kind = choose(title, kinds, "subgroup_kind", names=subgroup_name)
    with right:
        title, key = t("performance.measure"), "subgroup_measure"
        measure = choose(
            title, evaluation.MEASURES, key, names=lambda name: t(f"performance.{name}")
        )
    draw_chart(st, evaluation.subgroup_dots(record, kind, measure, t=t), key="subgroups")


def subgroup_name(kind: str) -> str:
    """Return what scans are parted by, in the language of the page."""
    return translate(kind.replace("_", " "))


# --- failures, comparison, controls, training -----------------------------------------------


def _draw_failures(record: Record, t: Translate) -> None:
    """Draw the scans that the bundle had most wrong, as far as they may be shown."""
    st.caption(t("performance.failures_what"))
    for kind, held in record.table("failures").items():
        st.header(t(f"performance.{kind}", n=held.count("total")), anchor=False)
        if held.count("with_conflict"):
            st.caption(t("performance.with_conflict", n=held.count("with_conflict")))
        worst = held.rows("worst")
        if not worst:
            st.markdown(t("performance.none"))
        for place, row in zip(columns_in_rows(len(worst), 4, key=kind), worst, strict=True):
            with place:
                _draw_failure(row, t)


def _draw_failure(row: Record, t: Translate) -> None:
    label, hidden = label_name(row.text("label"), t), row.text("hidden")
    missing = t("performance.hidden", why=translate(hidden)) if hidden else ""
    draw_image(row.image("picture"), label, missing=missing)
    probability, decision = row.number("tumor_probability"), t(f"decision.{row.text('decision')}")
    st.caption(f"{label}: **{probability:.3f}**, {decision}", help=escape_markup(row.text("case")))


def _draw_comparison(record: Record, t: Translate) -> None:
    """Draw two bundles on the same scans, or two evaluations side by side."""
    against = record.part("against")
    if against:
        own, other, n = record.text("bundle"), against.text("bundle"), f"{against.count('n'):,}"
        st.markdown(t("performance.against", own=own, other=other, n=n))
        draw_chart(st, evaluation.comparison_dots(against, t), key="against")
    st.markdown(f"**{t('performance.side_by_side')}**")
    path = choose_record(
        KINDS["evaluation"].file, t("performance.other"), "other_evaluation", index=1
    )
    other = read_record(path or record.path, "evaluation")
    if not evaluation.same_scans(record, other):
        st.warning(t("performance.not_same"), icon=":material/warning:")
    st.dataframe(evaluation.pair_rows(record, other, t), hide_index=True)
    if not against:
        st.caption(t("performance.how_against"))


def _draw_controls(record: Record, t: Translate) -> None:
    """Draw what something that cannot know would reach."""
    st.markdown(t("performance.controls_what"))
    controls = record.rows("controls")
    if controls:
        st.dataframe(evaluation.control_rows(controls, t), hide_index=True)
    else:
        st.info(t("performance.no_controls"))


def _draw_learning(t: Translate) -> None:
    """Draw the learning curves of a training run in the study folders."""
    path = choose_record(HISTORY, t("learning.run"), "run")
    if path is None:
        st.info(t("learning.none"))
        return
    rows = read_table(path)
    history = [{key: float(value) for key, value in row.items() if value} for row in rows]
    if not history:
        st.info(t("learning.no_epoch"))
        return
    for column, figure in zip(st.columns(2), evaluation.learning_curves(history, t), strict=True):
        draw_chart(column, figure)
    st.caption(t("learning.what"))


PARTS: Mapping[str, DrawPart] = {
    "threshold": _draw_threshold,
    "confusion": _draw_confusion,
    "calibration": _draw_calibration,
    "subgroups": _draw_subgroups,
    "failures": _draw_failures,
    "compare": _draw_comparison,
    "controls": _draw_controls,
    "learning": lambda _record, t: _draw_learning(t),
}
