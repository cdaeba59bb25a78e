"""The history of one browser: kept in the store, drawn on the page, downloaded as CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from tumorlens.records import Prediction
from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.results import Result
from tumorlens.services.dashboard.texts import Translate
from tumorlens.services.dashboard.widgets import draw_download
from tumorlens.services.store.export import history_table
from tumorlens.services.store.history import (
    NewPrediction,
    Selection,
    StoredPrediction,
    anonymous_name,
    find_predictions,
    iter_predictions,
    save_predictions,
)
from tumorlens.services.store.reviews import Review, latest_reviews, save_review

MAX_ROWS = 50  # on the page; the CSV has them all


def save(results: Sequence[Result]) -> None:
    """Write new answers into the store, in this browser's history."""
    shared = session.load_shared()
    keeps_names = shared.settings.keep_names
    new = [
        NewPrediction(
            result.prediction if keeps_names else _unnamed(result),
            input_sha256=result.digest,
            bundle_sha256=shared.predictor.bundle.sha256,
            owner=session.owner(),
            source="dashboard",
        )
        for result in results
        if not result.is_example
    ]
    ids = save_predictions(shared.store, new)
    held = st.session_state.setdefault("stored_ids", {})
    held.update(zip((item.input_sha256 for item in new), ids, strict=True))


def _unnamed(result: Result) -> Prediction:
    return replace(result.prediction, path=anonymous_name(result.digest, result.name))


def stored_id(result: Result) -> str | None:
    """Return the id of a result's answer in the store; None for the phantoms."""
    return st.session_state.get("stored_ids", {}).get(result.digest)


def latest_review(id: str) -> Review | None:
    """Return the last review of an answer."""
    return latest_reviews(session.load_shared().store, [id]).get(id)


def agree(id: str) -> None:
    """Store that a person agrees."""
    _save_review(Review(id, session.owner(), "agree"))


def correct(id: str, decision: str, *, tumor_type: str, reason: str) -> None:
    """Store a person's own decision; raises ReviewError for one without a reason."""
    _save_review(Review(id, session.owner(), "correct", decision, tumor_type, reason))


def _save_review(review: Review) -> None:
    save_review(session.load_shared().store, review, owner=session.owner())


def history_csv(owner: str, names: Mapping[str, str]) -> bytes:
    """Write all answers of an owner with their reviews, as UTF-8 that spreadsheets read.

    `names` are those of files by their digest, where the store keeps none.
    """
    store = session.load_shared().store
    rows = iter_predictions(store, Selection(owner=owner))
    return "".join(history_table(store, rows, names=names)).encode("utf-8-sig")


def draw(t: Translate) -> None:
    """Draw the newest rows of the history, and the whole of it as a file."""
    store, owner, names = session.load_shared().store, session.owner(), session.names()
    newest = find_predictions(store, Selection(owner=owner), limit=MAX_ROWS)
    reviews = latest_reviews(store, [row.id for row in newest])
    with st.expander(t("history.title"), icon=":material/history:", expanded=False):
        st.caption(t("history.what"))
        if not newest:
            st.markdown(t("history.empty"))
            return
        title, file = t("history.csv"), "tumorlens-history.csv"
        make = partial(history_csv, owner, names)
        draw_download(title, make, file, icon="download")
        # Below the button, which would else move away while the table is being drawn.
        rows = [_table_row(row, reviews.get(row.id), names, t=t) for row in newest]
        st.dataframe(rows, hide_index=True)


def _table_row(
    row: StoredPrediction, review: Review | None, names: Mapping[str, str], *, t: Translate
) -> dict[str, object]:
    answer = row.prediction
    return {
        t("history.time"): row.created_at[:19].replace("T", " "),
        t("history.file"): names.get(row.input_sha256, answer.path),
        t("history.decision"): t(f"decision.{answer.decision}")
        if answer.decision
        else answer.error,
        t("history.probability"): answer.tumor_probability,
        t("history.type"): t(f"type.{answer.type}") if answer.type else "",
        t("history.review"): _review_text(review, t) if review else "",
    }


def _review_text(review: Review, t: Translate) -> str:
    verdict = t(f"review.{review.verdict}")
    own = "" if review.verdict == "agree" else f": {t(f'decision.{review.decision}')}"
    return verdict + own
