"""One scan of the worklist: its answer on its scale, the review, the truth, the files."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import streamlit as st

from tumorlens.errors import TumorlensError
from tumorlens.files import table_text
from tumorlens.labels import TYPES, is_tumor
from tumorlens.language import translate, using_language
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import COLUMNS, table_row
from tumorlens.predictions.series_answer import SeriesPrediction
from tumorlens.records import Heatmap, Prediction
from tumorlens.reports.charts.texts import Translate, label_name
from tumorlens.reports.scan.content import Examined
from tumorlens.reports.scan.report import scan_html, scan_pdf
from tumorlens.reports.viewer.content import ViewedSlice, viewer_content
from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.charts import answers
from tumorlens.services.dashboard.charts.answers import BADGES
from tumorlens.services.dashboard.results import Result
from tumorlens.services.dashboard.texts import escape_markup
from tumorlens.services.dashboard.viewer import shown_slices
from tumorlens.services.dashboard.widgets import choose, draw_download
from tumorlens.services.store.reviews import Review

DECISIONS = ("tumor", "no tumor", "uncertain", "out of scope")


def draw(result: Result, review: Review | None, t: Translate) -> None:
    """Draw the answer of one result, what its reader says of it, and its files."""
    prediction = result.prediction
    if prediction.error:
        st.error(t("read.failed", error=translate(prediction.error)), icon=":material/error:")
        return
    bundle = session.load_shared().predictor.bundle
    st.header(escape_markup(result.name), anchor=False)
    if result.answer is None:
        _draw_answer(prediction, bundle, t)
        _draw_prepared(result.slices[0].heatmap, t)
    else:
        _draw_series(result, result.answer, t)
    _draw_review(result, review, t)
    if review and result.truth:
        _draw_truth(result, review, t)
    _draw_downloads(result, review, bundle, t)


def _draw_prepared(heatmap: Heatmap | None, t: Translate) -> None:
    """Draw in a fold what the network saw."""
    if heatmap is not None:
        with st.expander(t("read.prepared"), icon=":material/crop:"):
            st.image(answers.prepared_image(heatmap), alt=t("read.prepared"))
            st.caption(t("read.seen_help"))


def _draw_series(result: Result, answer: SeriesPrediction, t: Translate) -> None:
    """Draw the one answer of a series, and what keeps it open."""
    color, icon = BADGES[answer.decision]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(t(f"decision.{answer.decision}"), icon=icon, color=color)
        st.markdown(answers.series_text(answer, t), width="stretch")
    lost = [one.prediction.error for one in result.slices if not one.pixels]
    if lost:
        st.warning(
            t("series.lost", n=len(lost), error=translate(lost[0])), icon=":material/warning:"
        )
    if answer.reasons:
        reasons = "\n".join(f"- {translate(reason)}" for reason in answer.reasons)
        st.warning(f"{t('series.open')}\n{reasons}", icon=":material/block:")
    if answer.decision == "out of scope":
        st.markdown(t("read.out_of_scope"))
        return
    if not answer.is_calibrated:
        st.caption(t("series.uncalibrated"))


def _draw_answer(prediction: Prediction, bundle: Bundle, t: Translate) -> None:
    decision, type_text = (
        answers.decision_text(prediction, bundle, t),
        answers.type_text(prediction, t),
    )
    if prediction.decision == "out of scope":
        st.warning(f"{decision} {t('read.out_of_scope')}", icon=":material/block:")
        st.caption(answers.small_text(prediction, t))
        return
    left, right = st.columns([2, 1], gap="medium")
    with left:
        probability = t("read.probability", value=f"{prediction.tumor_probability:.3f}")
        st.markdown(f"**{probability}**", help=t("read.probability_help"))
        _draw_lines(answers.probability_scale(prediction, bundle.uncertainty_band, t))
    with right:
        st.markdown(f"**{t('read.type')}** {type_text}", help=t("read.type_help"))
        if prediction.type_probabilities:
            _draw_lines(answers.type_bars(prediction, t))
    st.markdown(decision)
    st.markdown(answers.similar_text(prediction, bundle, t))
    st.caption(answers.small_text(prediction, t))


def _draw_lines(drawing: answers.Drawing) -> None:
    """Draw SVG, which Streamlit takes as an image alone."""
    st.image(drawing.svg, width="stretch", alt=drawing.alt)


def _draw_review(result: Result, review: Review | None, t: Translate) -> None:
    """Ask whether the answer is right; the store keeps every review."""
    id = session.stored_id(result)
    with st.container(horizontal=True, vertical_alignment="center"):
        if id is None:
            st.caption(t("review.examples"))
            return
        with st.popover(t("review.correct_button"), icon=":material/edit:"):
            st.markdown(f"**{escape_markup(result.name)}**")
            _draw_correction(id, result.prediction, t)
        if review:
            time, decision = review.created_at[:16].replace("T", " "), f"decision.{review.decision}"
            text = t(f"review.latest_{review.verdict}", time=time, decision=t(decision))
            st.badge(text, icon=":material/rate_review:", color="green")


def _draw_truth(result: Result, review: Review, t: Translate) -> None:
    """Let a reader who has said what he sees uncover what the folder says."""
    with st.expander(t("truth.title"), icon=":material/visibility:"):
        facts = {"label": label_name(result.truth, t)}
        facts |= {
            who: t(f"truth.{truth_of(result.truth, decision)}")
            for who, decision in (
                ("reader", review.decision),
                ("network", result.prediction.decision),
            )
        }
        st.markdown(t("truth.text", **facts))
        if any(one.mask for one in result.slices):
            st.caption(t("truth.mask"))


def truth_of(label: str, decision: str) -> str:
    """Tell whether a decision is what a label says: right, wrong, or open.

    >>> truth_of("mri_glioma", "no tumor"), truth_of("healthy", "uncertain")
    ('wrong', 'open')
    """
    if decision not in ("tumor", "no tumor"):
        return "open"
    return "right" if is_tumor(label) == (decision == "tumor") else "wrong"


def _draw_correction(id: str, answer: Prediction, t: Translate) -> None:
    """Draw the form of one scan: preset from its answer, and its own in every field."""
    types = {"": t("review.no_type")} | {n: t(f"type.{n}") for n in (*TYPES, "undetermined")}
    decisions = {name: t(f"decision.{name}") for name in DECISIONS}
    with st.form(f"correct-{id}", border=False):
        decision = choose(
            t("review.decision"), list(decisions), f"own_decision-{id}",
            names=decisions.__getitem__, index=DECISIONS.index(answer.decision or "uncertain"),
        )  # fmt: skip
        tumor_type = choose(
            t("review.type"), list(types), f"own_type-{id}",
            names=types.__getitem__, index=list(types).index(answer.type),
        )  # fmt: skip
        reason = st.text_area(t("review.reason"), max_chars=2000, key=f"own_reason-{id}")
        if st.form_submit_button(t("review.store")):
            _store_correction(id, answer, decision, tumor_type, reason, t=t)


def _store_correction(
    id: str, answer: Prediction, decision: str, tumor_type: str, reason: str, *, t: Translate
) -> None:
    """Store what a reader sees instead; the same answer again is none."""
    tumor_type = "" if decision == "no tumor" else tumor_type  # the preset type goes with it
    if (decision, tumor_type) == (answer.decision, answer.type):
        st.error(t("review.same"))
        return
    try:
        session.review(id, "correct", decision=decision, tumor_type=tumor_type, reason=reason)
    except TumorlensError as error:
        st.error(f"{t('review.refused')} {translate(f'{error.fact}. {error.fix}')}")
    else:
        st.rerun()


def _draw_downloads(result: Result, review: Review | None, bundle: Bundle, t: Translate) -> None:
    """Draw the buttons for the reports of this scan."""
    stem = f"tumorlens-{result.key}"
    with st.container(horizontal=True):
        for kind, icon in (("pdf", "picture_as_pdf"), ("html", "description")):
            make = partial(
                report_of, result, review, bundle, format=kind, language=session.language()
            )
            draw_download(t(f"read.report_{kind}"), make, f"{stem}.{kind}", icon=icon)


def report_of(
    result: Result, review: Review | None, bundle: Bundle, *, format: str, language: str
) -> bytes | str:
    """Return the report of one result in a language, with the word of its reader."""
    with using_language(language):
        return _report_of(result, review, bundle, format=format)


def _report_of(
    result: Result, review: Review | None, bundle: Bundle, *, format: str
) -> bytes | str:
    answer, slices = result.answer, shown_slices(result)
    if answer is None:
        examined = [Examined(slices[0].answered, slices[0].scan, reader=reader_text(review))]
    else:  # the slice that spoke loudest stands for all; the viewer has every one
        peak = next(
            (s for s in slices if s.prediction.slice == answer.peak_slice), slices[len(slices) // 2]
        )
        examined = [Examined(peak.answered, peak.scan, reader=reader_text(review))]
    options: dict[str, Any] = {"made": datetime.now(UTC), "series": [answer] if answer else []}
    if format == "pdf":
        return scan_pdf(examined, bundle, **options)
    viewed = [ViewedSlice(s.scan, s.answered, s.orientation) for s in slices]
    content = viewer_content(viewed, name=result.name, answer=answer)
    return scan_html(examined, bundle, viewers=[content], **options)


def reader_text(review: Review | None) -> str:
    """Put the last review into words of a report. Nothing where there is none."""
    if review is None:
        return ""
    kind = f" ({translate(review.type)})" if review.type else ""
    said = translate("Agreed")
    if review.verdict != "agree":
        said = translate("Corrected to {decision}", decision=translate(review.decision) + kind)
    reason = f": {review.reason}" if review.reason else ""
    return f"{said}, {review.created_at[:16].replace('T', ' ')} UTC{reason}"


def predictions_csv(results: Sequence[Result]) -> bytes:
    """Write predictions.csv in memory, a row a slice, as UTF-8 that spreadsheets read."""
    rows = [
        one.prediction if result.answer else replace(one.prediction, path=result.name)
        for result in results
        for one in (result.slices or [result])
    ]
    return table_text(COLUMNS, map(table_row, rows)).encode("utf-8-sig")
