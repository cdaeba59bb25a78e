"""Read: drop scans in, look at each beside what the network saw, agree or correct."""

from collections import Counter
from collections.abc import Mapping
from functools import partial

import streamlit as st

from tumorlens.images.readers import readable_suffixes
from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.charts.shapes import BADGES
from tumorlens.services.dashboard.pages import scan
from tumorlens.services.dashboard.results import (
    MAX_RESULTS,
    ORDERS,
    Result,
    add_results,
    cases_csv,
    ordered,
    predict_files,
)
from tumorlens.services.dashboard.texts import Translate, escape_markup
from tumorlens.services.dashboard.widgets import choose, draw_download, switch
from tumorlens.services.store.history import Selection, StoredPrediction, find_predictions
from tumorlens.services.store.reviews import Review, latest_reviews

QUEUE_HEIGHT = 520
MAX_ROWS = 50  # of the history on the page; its CSV has them all


def draw(t: Translate) -> None:
    """Draw the page."""
    _draw_uploader(t)
    results = session.queue()
    if not session.own_results():
        st.info(t("read.examples"), icon=":material/category:")
    left, right = st.columns([1.1, 3.2], gap="medium")
    reviews = session.queue_reviews(results)
    with left:
        queue = _sort(_filter(results, t), reviews, t)
        _draw_progress(results, reviews, t)
        current = _choose(queue, reviews, t)
    with right:
        if current is None:
            st.info(t("read.none_left"))
        else:
            scan.draw(current, queue, t)
    _draw_history(t)


def _draw_uploader(t: Translate) -> None:
    """Take files or a folder, answer them, and forget the uploads."""
    is_folder = st.session_state.get("drop_kind") == "folder"
    box, kind = st.columns([5, 1], vertical_alignment="center")
    upload = st.session_state.get("upload", 0)
    with kind:
        switch(
            t("read.drop_kind"), ["files", "folder"], "drop_kind", names=lambda n: t(f"read.{n}")
        )
    files = box.file_uploader(
        t("read.drop"),
        type=list(readable_suffixes()),
        accept_multiple_files="directory" if is_folder else True,
        key=f"drop-{is_folder}-{upload}",
        help=t("read.drop_help", most=MAX_RESULTS),
    )
    for text in st.session_state.get("warnings", ()):
        st.warning(text)
    if files:
        _predict(files, t)
        st.session_state["upload"] = upload + 1
        st.rerun()


def _predict(files: list, t: Translate) -> None:
    shared = session.load_shared()
    bar = st.progress(0.0, text=t("read.reading", done=0, total=len(files)))

    def report(done: int, total: int) -> None:
        bar.progress(done / total, text=t("read.reading", done=done, total=total))

    taken = [(file.name, file.getvalue) for file in files[:MAX_RESULTS]]
    limits = shared.settings.read_limits
    added = list(predict_files(taken, shared.predictor, limits=limits, progress=report))
    session.forget_uploads(files)
    results, lost = add_results(session.own_results(), added)
    session.save_results(added)
    session.set_results(results)
    lost += len(files) - len(taken)
    full = (t("read.full", most=MAX_RESULTS, lost=lost),) if lost else ()
    st.session_state["warnings"] = full
    if added:
        st.session_state["current"] = added[0].key


def _filter(results: tuple[Result, ...], t: Translate) -> tuple[Result, ...]:
    """Let people narrow the queue to some decisions."""
    counts = Counter(result.prediction.decision for result in results)
    wanted = st.pills(
        t("read.queue", n=len(results)),
        [name for name in BADGES if counts[name]],
        selection_mode="multi",
        format_func=lambda name: f"{_decision(name, t)} {counts[name]}",
        key="wanted",
        wrap=True,
    )
    return tuple(r for r in results if not wanted or r.prediction.decision in wanted)


def _decision(name: str, t: Translate) -> str:
    return f"{BADGES[name][1]} {t(f'decision.{name}') if name else t('read.unreadable')}"


def _sort(
    results: tuple[Result, ...], reviews: Mapping[str, Review], t: Translate
) -> tuple[Result, ...]:
    order = choose(t("read.sort"), list(ORDERS), "sort", names=lambda n: t(f"sort.{n}"),
                   persists=True)  # fmt: skip
    return ordered(results, order, reviews)


def _draw_progress(
    results: tuple[Result, ...], reviews: Mapping[str, Review], t: Translate
) -> None:
    """Draw how many of the own scans were reviewed, and what was seen as labels."""
    if not session.own_results():
        return
    done = len(reviews)
    st.progress(done / len(results), text=t("read.done", done=done, of=len(results)))
    if reviews:
        make = partial(cases_csv, results, dict(reviews))
        draw_download(t("read.cases"), make, "cases.csv", icon="label")


def _choose(
    results: tuple[Result, ...], reviews: Mapping[str, Review], t: Translate
) -> Result | None:
    """List the queue with a badge for each decision; arrow keys move in it."""
    by_key = {result.key: result for result in results}
    if not by_key:
        return None
    if st.session_state.get("current") not in by_key:
        st.session_state["current"] = results[0].key
    with st.container(height=QUEUE_HEIGHT, border=True, key="queue"):
        chosen = st.radio(
            t("read.choose"),
            list(by_key),
            format_func=lambda key: _queue_row(by_key[key], by_key[key].digest in reviews, t),
            key="current",
            label_visibility="collapsed",
        )
    if session.own_results() and st.button(t("read.clear"), icon=":material/delete_sweep:"):
        session.set_results(())
        st.rerun()
    return by_key[chosen]


def _queue_row(result: Result, is_done: bool, t: Translate) -> str:
    decision = result.prediction.decision
    is_shown = decision != "out of scope"
    probability = result.prediction.tumor_probability if is_shown else None
    badge = f":{BADGES[decision][0]}-badge[{_decision(decision, t)}]"
    figure = "" if probability is None else f" {probability:.2f}"
    mark = " :material/check:" if is_done else ""
    return f"{badge}{figure}{mark}  \n{escape_markup(result.name)}"


def _draw_history(t: Translate) -> None:
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
        make = partial(session.history_csv, owner, names)
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
