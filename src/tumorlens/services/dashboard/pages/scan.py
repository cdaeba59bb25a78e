"""One scan of the queue: three images, the answer on its scale, the review, the files."""

from datetime import UTC, datetime
from functools import partial

import streamlit as st

from tumorlens.errors import TumorlensError
from tumorlens.files import table_text
from tumorlens.labels import TYPES
from tumorlens.models.bundle import Bundle
from tumorlens.predictions.document import COLUMNS, table_row
from tumorlens.records import Prediction
from tumorlens.reports.scan.content import Examined
from tumorlens.reports.scan.report import scan_html, scan_pdf
from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.charts import answers
from tumorlens.services.dashboard.charts.shapes import BADGES
from tumorlens.services.dashboard.results import Result
from tumorlens.services.dashboard.texts import Translate, escape_markup
from tumorlens.services.dashboard.viewer import draw_viewer
from tumorlens.services.dashboard.widgets import choose, draw_download

DECISIONS = ("tumor", "no tumor", "uncertain", "out of scope")
STEPS = (
    ("previous", ":material/arrow_back:", "Left", -1),
    ("next", ":material/arrow_forward:", "Right", 1),
)
PLAIN = {"displayModeBar": False}  # a chart without Plotly's buttons


def draw(result: Result, queue: tuple[Result, ...], t: Translate) -> None:
    """Draw one result and the buttons that go on to the next."""
    _draw_head(result, queue, t)
    prediction = result.prediction
    draw_viewer(result, queue)
    if prediction.error:
        st.error(t("read.failed", error=prediction.error), icon=":material/error:")
        return
    bundle = session.load_shared().predictor.bundle
    _draw_prepared(prediction, t)
    _draw_answer(prediction, bundle, t)
    _draw_review(result, t)
    _draw_downloads(result, bundle, t)


def _draw_head(result: Result, queue: tuple[Result, ...], t: Translate) -> None:
    position = [other.key for other in queue].index(result.key)

    def go(step: int) -> None:
        st.session_state["current"] = queue[(position + step) % len(queue)].key

    decision = result.prediction.decision
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(escape_markup(result.name), anchor=False, width="stretch")
        if decision:
            color, icon = BADGES[decision]
            st.badge(t(f"decision.{decision}"), icon=icon, color=color)
        st.caption(t("read.position", at=position + 1, of=len(queue)), width="content")
        for name, icon, key, step in STEPS:
            st.button(t(f"read.{name}"), icon=icon, shortcut=key, on_click=go, args=(step,))


def _draw_prepared(prediction: Prediction, t: Translate) -> None:
    """Draw in a fold what the network saw."""
    if prediction.heatmap is not None:
        with st.expander(t("read.prepared"), icon=":material/crop:"):
            st.image(answers.prepared_image(prediction.heatmap), alt=t("read.prepared"))
            st.caption(t("read.seen_help"))


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
        color = session.text_color()
        figure = answers.probability_scale(prediction, bundle.uncertainty_band, t, text_color=color)
        st.plotly_chart(figure, key="scale", config=PLAIN, alt=decision)
    with right:
        st.markdown(f"**{t('read.type')}** {type_text}", help=t("read.type_help"))
        if prediction.type_probabilities:
            figure = answers.type_bars(prediction, t)
            st.plotly_chart(figure, key="types", config=PLAIN, alt=type_text)
    st.markdown(decision)
    st.markdown(answers.similar_text(prediction, bundle, t))
    st.caption(answers.small_text(prediction, t))


def _draw_review(result: Result, t: Translate) -> None:
    """Ask whether the answer is right; the store keeps every review."""
    id = session.stored_id(result)
    with st.container(horizontal=True, vertical_alignment="center"):
        if id is None:
            st.caption(t("review.examples"))
            return
        st.button(
            t("review.agree_button"), icon=":material/thumb_up:", key="agree", help="A",
            on_click=session.agree,
        )  # fmt: skip
        with st.popover(t("review.correct_button"), icon=":material/edit:"):
            _draw_correction(id, result.prediction, t)
        review = session.latest_review(id)
        if review:
            time, decision = review.created_at[:16].replace("T", " "), f"decision.{review.decision}"
            text = t(f"review.latest_{review.verdict}", time=time, decision=t(decision))
            st.badge(text, icon=":material/rate_review:", color="green")


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
        st.error(f"{t('review.refused')} {error.fact}. {error.fix}")
    else:
        st.rerun()


def _draw_downloads(result: Result, bundle: Bundle, t: Translate) -> None:
    """Draw the buttons for the reports of this scan and the table of the queue."""
    examined = [Examined(result.prediction, result.scan, reader=_reader_text(result))]
    predictions = [item.prediction for item in session.queue()]
    stem, now = f"tumorlens-{result.key}", datetime.now(UTC)
    pdf = partial(scan_pdf, examined, bundle, made=now)
    html = partial(scan_html, examined, bundle, made=now)
    table = partial(predictions_csv, predictions)
    with st.container(horizontal=True):
        draw_download(t("read.report_pdf"), pdf, f"{stem}.pdf", icon="picture_as_pdf")
        draw_download(t("read.report_html"), html, f"{stem}.html", icon="description")
        draw_download(t("read.queue_csv"), table, "tumorlens-queue.csv", icon="table")


def _reader_text(result: Result) -> str:
    """Put the last review into words; reports are in English. Nothing where there is none."""
    id = session.stored_id(result)
    review = session.latest_review(id) if id else None
    if review is None:
        return ""
    kind = f" ({review.type})" if review.type else ""
    said = "Agreed" if review.verdict == "agree" else f"Corrected to {review.decision}{kind}"
    reason = f": {review.reason}" if review.reason else ""
    return f"{said}, {review.created_at[:16].replace('T', ' ')} UTC{reason}"


def predictions_csv(predictions: list[Prediction]) -> bytes:
    """Write predictions.csv in memory, as UTF-8 that spreadsheets read."""
    return table_text(COLUMNS, map(table_row, predictions)).encode("utf-8-sig")
