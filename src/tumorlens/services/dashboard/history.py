"""The history of one browser: kept in the store, shown on the page, taken home as CSV."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import streamlit as st

from tumorlens.predictions.table import COLUMNS, table_row
from tumorlens.records import Prediction
from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.results import Reading
from tumorlens.services.dashboard.texts import Say
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

SHOWN = 50  # rows on the page; the CSV has them all
REVIEW = ("review", "reviewed_at", "reader_decision", "reader_type", "reason")
HISTORY = ("created_at", *COLUMNS, *REVIEW, "input_sha256", "id")


def save(readings: Sequence[Reading]) -> None:
    """Write new answers into the store, in this browser's history."""
    shared = session.load_shared()
    keeps_names = shared.settings.keep_names
    new = [
        NewPrediction(
            reading.prediction if keeps_names else _unnamed(reading),
            input_sha256=reading.digest,
            bundle_sha256=shared.predictor.bundle.sha256,
            owner=session.reader(),
            source="dashboard",
        )
        for reading in readings
        if not reading.is_example
    ]
    ids = save_predictions(shared.store, new)
    held = st.session_state.setdefault("stored_ids", {})
    held.update(zip((item.input_sha256 for item in new), ids, strict=True))


def _unnamed(reading: Reading) -> Prediction:
    return replace(reading.prediction, path=anonymous_name(reading.digest, reading.name))


def stored_id(reading: Reading) -> str | None:
    """Give the name of a reading's answer in the store; None for the phantoms."""
    return st.session_state.get("stored_ids", {}).get(reading.digest)


def review_of(reading: Reading) -> Review | None:
    """Give what the reader last said of a reading."""
    id = stored_id(reading)
    return latest_reviews(session.load_shared().store, [id]).get(id) if id else None


def agree(id: str) -> None:
    """Store that the reader agrees."""
    who = session.reader()
    save_review(session.load_shared().store, Review(id, who, "agree"), owner=who)


def correct(id: str, decision: str, tumor_type: str, reason: str) -> None:
    """Store the reader's own decision; raises ReviewError for one without a reason."""
    who = session.reader()
    review = Review(id, who, "correct", decision, tumor_type, reason)
    save_review(session.load_shared().store, review, owner=who)


def show(say: Say) -> None:
    """Draw the newest rows of the history, and the whole of it as a file."""
    store, selection = session.load_shared().store, Selection(owner=session.reader())
    newest, names = find_predictions(store, selection, limit=SHOWN), session.names()
    with st.expander(say("history.title"), icon=":material/history:", expanded=False):
        st.caption(say("history.what"))
        if not newest:
            st.markdown(say("history.empty"))
            return
        st.download_button(
            say("history.csv"),
            lambda: history_csv(_all_reviewed(iter_predictions(store, selection)), names),
            file_name="tumorlens-history.csv", mime="text/csv", key="history-csv",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        # Below the button, which would else move away while the table is being drawn.
        st.dataframe(
            [_shown(row, review, names, say) for row, review in _reviewed(newest)],
            hide_index=True,
        )


def history_csv(
    rows: Iterable[tuple[StoredPrediction, Review | None]], names: Mapping[str, str]
) -> bytes:
    """Write answers with their times and reviews, newest first, as UTF-8 that spreadsheets read.

    `names` are those of files by their digest, where the store keeps none.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, HISTORY)
    writer.writeheader()
    for stored, review in rows:
        said = (review.verdict, review.created_at, review.decision, review.type, review.reason) \
            if review else ("",) * len(REVIEW)  # fmt: skip
        writer.writerow({
            "created_at": stored.created_at,
            **table_row(stored.prediction),
            "path": names.get(stored.input_sha256, stored.prediction.path),
            **dict(zip(REVIEW, said, strict=True)),
            "input_sha256": stored.input_sha256,
            "id": stored.id,
        })  # fmt: skip
    return text.getvalue().encode("utf-8-sig")


def _reviewed(rows: Sequence[StoredPrediction]) -> Iterator[tuple[StoredPrediction, Review | None]]:
    reviews = latest_reviews(session.load_shared().store, [row.id for row in rows])
    for row in rows:
        yield row, reviews.get(row.id)


def _all_reviewed(
    rows: Iterator[StoredPrediction],
) -> Iterator[tuple[StoredPrediction, Review | None]]:
    """Look reviews up a page of rows at a time."""
    while page := [row for row, _ in zip(rows, range(500), strict=False)]:
        yield from _reviewed(page)


def _shown(
    row: StoredPrediction, review: Review | None, names: Mapping[str, str], say: Say
) -> dict[str, object]:
    answer = row.prediction
    decision = say(f"decision.{answer.decision}") if answer.decision else answer.error
    said = ""
    if review:
        own = "" if review.verdict == "agree" else f": {say('decision.' + review.decision)}"
        said = say(f"review.{review.verdict}") + own
    return {
        say("history.time"): row.created_at[:19].replace("T", " "),
        say("history.file"): names.get(row.input_sha256, answer.path),
        say("history.decision"): decision,
        say("history.probability"): answer.tumor_probability,
        say("history.type"): say(f"type.{answer.type}") if answer.type else "",
        say("history.review"): said,
    }
