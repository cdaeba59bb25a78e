"""Read: drop scans in, look at each beside what the network saw, agree or correct."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import streamlit as st

from tumorlens.images.readers import readable_suffixes
from tumorlens.language import translate
from tumorlens.reports.charts.texts import Translate
from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.charts.answers import BADGES
from tumorlens.services.dashboard.pages import scan
from tumorlens.services.dashboard.reader import draw_reader
from tumorlens.services.dashboard.results import (
    ORDERS,
    Result,
    cases_csv,
    ordered,
    tumor_series,
)
from tumorlens.services.dashboard.texts import escape_markup
from tumorlens.services.dashboard.uploads import BATCH, Fetch, arrived_series, predict_files
from tumorlens.services.dashboard.widgets import (
    choose,
    draw_download,
    draw_hidden_title,
    switch,
)
from tumorlens.services.dashboard.worklists import MAX_RESULTS, Worklist
from tumorlens.services.spool import SLICES
from tumorlens.services.store.history import Selection, StoredPrediction, find_predictions
from tumorlens.services.store.reviews import Review, latest_reviews

MAX_ROWS = 50  # of the history on the page; its CSV has them all
MAX_FILES = 2000  # taken in at once


def draw(t: Translate) -> None:
    """Draw the page."""
    draw_hidden_title(t("page.read"))
    with st.container(key="intake"):
        left, right = st.columns([2, 3], gap="medium")
        with left:
            _draw_worklists(t)
        with right:
            _draw_uploader(t)
    results = session.queue()
    if not session.own_results():
        st.info(t("read.examples"), icon=":material/category:")
    reviews = session.queue_reviews(results)
    with st.container(key="order"):
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        with left:
            filtered = _filter(results, t)
        with right:
            queue = _sort(filtered, reviews, t)
    current = _chosen(queue)
    draw_reader(queue, reviews, t)
    if current is None:
        st.info(t("read.none_left"))
    else:
        scan.draw(current, reviews.get(current.digest), t)
    _draw_files(results, reviews, t)
    _draw_history(t)


# --- worklists ------------------------------------------------------------------------------


def _draw_worklists(t: Translate) -> None:
    """Let people choose a worklist, name it, keep it, begin another and remove it."""
    found, open_ = session.worklists(), session.worklist()
    names = {one.id: _worklist_name(one, t) for one in found}
    st.session_state["worklist_choice"] = open_.id

    def change() -> None:
        session.open_worklist(st.session_state["worklist_choice"])

    st.selectbox(
        t("worklist.choose"), list(names), format_func=names.__getitem__,
        key="worklist_choice", on_change=change,
    )  # fmt: skip
    with st.container(horizontal=True):
        with st.popover(t("worklist.manage"), icon=":material/folder_managed:"):
            _draw_worklist(open_, t)
        st.button(t("worklist.new"), icon=":material/add:", on_click=_begin_worklist)
        _draw_node(t)


def _worklist_name(worklist: Worklist, t: Translate) -> str:
    """Return the name of a worklist with the number of its scans, and whether it is kept."""
    kept = f", {t('worklist.kept')}" if worklist.is_kept else ""
    name = worklist.name or t("worklist.unnamed")
    return f"{name} ({t('worklist.scans', n=len(worklist.results))}{kept})"


def _begin_worklist() -> None:
    held = session.load_shared().worklists
    session.open_worklist(held.add(session.owner(), "").id)


def _draw_worklist(worklist: Worklist, t: Translate) -> None:
    """Draw what can be changed of a worklist."""
    held, owner = session.load_shared().worklists, session.owner()
    name = st.text_input(
        t("worklist.name"), worklist.name, key=f"name-{worklist.id}", max_chars=80
    ).strip()
    if name != worklist.name:
        held.change(owner, worklist.id, name=name)
        st.rerun()
    kept = st.toggle(
        t("worklist.keep"),
        worklist.is_kept,
        key=f"keep-{worklist.id}",
        help=t("worklist.keep_help"),
    )
    st.caption(t("worklist.keep_help"))
    if kept != worklist.is_kept:
        held.change(owner, worklist.id, kept=kept)
        st.rerun()
    if st.button(t("worklist.remove"), icon=":material/delete_sweep:", key="remove-worklist"):
        held.remove(owner, worklist.id)
        st.session_state.pop("worklist", None)
        st.rerun()


def _draw_uploader(t: Translate) -> None:
    """Take files or a folder, answer them, and forget the uploads."""
    is_folder = st.session_state.get("drop_kind") == "folder"
    upload = st.session_state.get("upload", 0)
    files = st.file_uploader(
        t("read.drop"),
        type=[*readable_suffixes(), ".gz", ".csv"],  # of cases.csv; "" names no suffix of DICOM
        accept_multiple_files="directory" if is_folder else True,
        key=f"drop-{is_folder}-{upload}",
        help=t("read.drop_help", most=MAX_RESULTS),
    )
    switch(t("read.drop_kind"), ["files", "folder"], "drop_kind", names=lambda n: t(f"read.{n}"),
           is_titled=False)  # fmt: skip
    for text in st.session_state.get("warnings", ()):
        st.warning(text)
    if files:
        _predict(files, t)
        st.session_state["upload"] = upload + 1
        st.rerun()


def _predict(files: list, t: Translate) -> None:
    taken = [(file.name, file.getvalue) for file in files[:MAX_FILES]]
    _take(taken, t, lost=len(files) - len(taken))
    session.forget_uploads(files)


def _take(files: Sequence[tuple[str, Fetch]], t: Translate, *, lost: int = 0) -> None:
    """Answer files and put them into the worklist; `lost` found no room before."""
    shared, id, first = session.load_shared(), session.worklist().id, ""
    bar = st.progress(0.0, text=t("read.reading", done=0, total=len(files)))

    def report(done: int, total: int) -> None:
        bar.progress(done / total, text=t("read.reading", done=done, total=total))

    limits = shared.settings.read_limits
    found = predict_files(
        files, shared.predictor, limits=limits, reader=shared.reader, progress=report
    )
    while some := list(islice(found, BATCH)):
        lost += session.add_results(some, id)
        first = first or some[0].key
    full = (t("read.full", most=MAX_RESULTS, lost=lost),) if lost else ()
    st.session_state["warnings"] = full
    if first:
        session.show(first)


def _draw_node(t: Translate) -> None:
    """Let people take series into the worklist that arrived at the DICOM node."""
    settings = session.load_shared().settings
    if not settings.spool:
        return
    with st.popover(t("node.title"), icon=":material/lan:"):
        found = arrived_series(Path(settings.spool), session.load_shared().store)
        if not found:
            st.caption(t("node.none"))
            return
        names = {one.folder: t("node.row", what=one.name, n=one.slices) for one in found}
        wanted = st.multiselect(t("node.choose"), list(names), format_func=names.__getitem__)
        if st.button(t("node.take"), disabled=not wanted):
            files = [path for folder in wanted for path in sorted((folder / SLICES).iterdir())]
            _take([(path.name, path.read_bytes) for path in files[:MAX_FILES]], t)
            st.rerun()


# --- the order ------------------------------------------------------------------------------


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
    order = choose(
        t("read.sort"), list(ORDERS), "sort", names=lambda n: t(f"sort.{n}"), persists=True
    )
    return ordered(results, order, reviews)


def _chosen(queue: tuple[Result, ...]) -> Result | None:
    """Return the result that is shown: the first where the last one is not there any more."""
    by_key = {result.key: result for result in queue}
    if by_key and session.place().current not in by_key:
        session.show(queue[0].key)
    return by_key.get(session.place().current)


# --- files to take home ---------------------------------------------------------------------


def _draw_files(results: tuple[Result, ...], reviews: Mapping[str, Review], t: Translate) -> None:
    """Draw the table of the worklist, and what was seen as labels."""
    with st.container(horizontal=True):
        table = partial(scan.predictions_csv, results)
        draw_download(t("read.queue_csv"), table, "tumorlens-queue.csv", icon="table")
        if reviews:
            make = partial(cases_csv, results, dict(reviews))
            draw_download(t("read.cases"), make, "cases.csv", icon="label")
    if seen := tumor_series(results, reviews):
        names = ", ".join(escape_markup(one.name) for one in seen)
        st.info(t("read.tumor_series", names=names), icon=":material/label:")


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
        else translate(answer.error),
        t("history.probability"): None
        if answer.decision == "out of scope"
        else answer.tumor_probability,
        t("history.type"): t(f"type.{answer.type}") if answer.type else "",
        t("history.review"): _review_text(review, t) if review else "",
    }


def _review_text(review: Review, t: Translate) -> str:
    verdict = t(f"review.{review.verdict}")
    own = "" if review.verdict == "agree" else f": {t(f'decision.{review.decision}')}"
    return verdict + own
