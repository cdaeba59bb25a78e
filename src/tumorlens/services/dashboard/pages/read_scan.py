"""One scan of the queue: three pictures, the answer on its scale, and the reader's word."""

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator

from tumorlens.errors import TumorlensError
from tumorlens.labels import TYPES
from tumorlens.models.bundle import Bundle
from tumorlens.records import Prediction
from tumorlens.services.dashboard import history, session
from tumorlens.services.dashboard.charts.answers import in_words
from tumorlens.services.dashboard.charts.colors import BADGES, ICONS
from tumorlens.services.dashboard.charts.names import plain
from tumorlens.services.dashboard.charts.pictures import (
    heat_picture,
    prepared_picture,
    squared,
    windowed,
)
from tumorlens.services.dashboard.charts.scale import probability_scale, type_bars
from tumorlens.services.dashboard.pages import read_downloads
from tumorlens.services.dashboard.results import Reading, kept_pixels
from tumorlens.services.dashboard.texts import Say

DECISIONS = ("tumor", "no tumor", "uncertain", "out of scope")


def show(reading: Reading, queue: tuple[Reading, ...], say: Say) -> None:
    """Draw one reading and the buttons that go on to the next."""
    _move(reading, queue, say)
    prediction = reading.prediction
    if prediction.error:
        st.error(say("read.failed", error=prediction.error), icon=":material/error:")
        return
    bundle = session.load_shared().predictor.bundle
    _pictures(reading, say)
    _answer(prediction, bundle, say)
    _review(reading, say)
    read_downloads.show(reading, say)


def _move(reading: Reading, queue: tuple[Reading, ...], say: Say) -> None:
    position = [other.key for other in queue].index(reading.key)

    def go(step: int) -> None:
        st.session_state["current"] = queue[(position + step) % len(queue)].key

    decision = reading.prediction.decision
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(plain(reading.name), anchor=False, width="stretch")
        if decision:
            st.badge(say(f"decision.{decision}"), icon=ICONS[decision], color=BADGES[decision])
        st.caption(say("read.position", at=position + 1, of=len(queue)), width="content")
        st.button(say("read.previous"), icon=":material/arrow_back:", shortcut="Left",
                  on_click=go, args=(-1,))  # fmt: skip
        st.button(say("read.next"), icon=":material/arrow_forward:", shortcut="Right",
                  on_click=go, args=(1,))  # fmt: skip


@st.fragment
def _pictures(reading: Reading, say: Say) -> None:
    """Draw the three pictures; their sliders draw nothing else again."""
    heatmap = reading.prediction.heatmap
    one, two, three = st.columns(3, gap="small")
    first, second, third = one.container(), two.container(), three.container()
    low, high = one.slider(
        say("read.window"), 0, 100, (0, 100), format="%d %%", key="window",
        help=say("read.window_help"), persist_state="session",
    )  # fmt: skip
    pixels = windowed(kept_pixels(reading.untouched), darkest=low / 100, brightest=high / 100)
    _picture(first, squared(pixels), say("read.untouched"))
    if heatmap is None:
        return
    _picture(second, prepared_picture(heatmap), say("read.prepared"))
    two.caption(say("read.seen_help"))
    opacity = three.slider(
        say("read.opacity"), 0, 100, 55, format="%d %%", key="opacity",
        help=say("read.opacity_help"), persist_state="session",
    )  # fmt: skip
    _picture(third, heat_picture(heatmap, opacity=opacity / 100), say("read.heatmap"))


def _picture(place: DeltaGenerator, pixels: NDArray[np.uint8], title: str) -> None:
    place.markdown(f"**{title}**")
    place.image(pixels, width="stretch", alt=title)


def _answer(prediction: Prediction, bundle: Bundle, say: Say) -> None:
    said = in_words(prediction, bundle, say)
    if prediction.decision == "out of scope":
        st.warning(said.decision, icon=":material/block:")
    left, right = st.columns([2, 1], gap="medium")
    probability = f"{prediction.tumor_probability:.3f}"
    with left:
        st.markdown(f"**{say('read.probability', value=probability)}**",
                    help=say("read.probability_help"))  # fmt: skip
        figure = probability_scale(prediction, bundle.abstention, say, ink=session.ink())
        st.plotly_chart(figure, key="scale",
                        config={"displayModeBar": False}, alt=said.decision)  # fmt: skip
    with right:
        st.markdown(f"**{say('read.type')}** {said.type}", help=say("read.type_help"))
        if prediction.type_probabilities:
            st.plotly_chart(type_bars(prediction, say), key="types", alt=said.type,
                            config={"displayModeBar": False})  # fmt: skip
    if prediction.decision != "out of scope":
        st.markdown(said.decision)
    st.markdown(said.similar)
    st.caption(said.small)


def _review(reading: Reading, say: Say) -> None:
    """Ask what the reader thinks; the store keeps every word of it."""
    id = history.stored_id(reading)
    review = history.review_of(reading)
    with st.container(horizontal=True, vertical_alignment="center"):
        if id is None:
            st.caption(say("review.examples"))
            return
        if st.button(say("review.agree_button"), icon=":material/thumb_up:", shortcut="A",
                     key="agree"):  # fmt: skip
            history.agree(id)
            st.rerun()
        with st.popover(say("review.correct_button"), icon=":material/edit:"):
            _correction(id, reading.prediction, say)
        if review:
            st.badge(
                say(f"review.said_{review.verdict}", time=review.created_at[:16].replace("T", " "),
                    decision=say(f"decision.{review.decision}")),
                icon=":material/rate_review:", color="green",
            )  # fmt: skip


def _correction(id: str, prediction: Prediction, say: Say) -> None:
    with st.form(f"correct-{id}", border=False):
        decision = st.selectbox(say("review.decision"), DECISIONS, key="own_decision",
                                format_func=lambda name: say(f"decision.{name}"))  # fmt: skip
        tumor_type = st.selectbox(
            say("review.type"), ("", *TYPES, "undetermined"), key="own_type",
            format_func=lambda name: say(f"type.{name}") if name else say("review.no_type"),
        )  # fmt: skip
        reason = st.text_area(say("review.reason"), max_chars=2000, key="own_reason")
        if st.form_submit_button(say("review.store")):
            try:
                history.correct(id, decision, tumor_type, reason)
            except TumorlensError as error:
                st.error(f"{say('review.refused')} {error.fact}. {error.fix}")
            else:
                st.rerun()
