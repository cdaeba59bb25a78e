"""What one browser has open and has kept, and what all of them share."""

import hashlib
import re
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from tumorlens.errors import NotStoredError
from tumorlens.language import LANGUAGES
from tumorlens.predictions.predictor import Predictor, load_predictor
from tumorlens.reports.charts.texts import Translate
from tumorlens.services.dashboard.process_runner import ProcessRunner
from tumorlens.services.dashboard.results import Result
from tumorlens.services.dashboard.texts import translator
from tumorlens.services.dashboard.uploads import predict_examples
from tumorlens.services.dashboard.worklists import Lease, Worklist, Worklists
from tumorlens.services.scan_reader import ScanReader
from tumorlens.services.store.audit_log import check_signed, days_ago
from tumorlens.services.store.database import Store, open_store
from tumorlens.services.store.export import history_table
from tumorlens.services.store.history import (
    NewPrediction,
    Selection,
    anonymous_name,
    expire_predictions,
    iter_predictions,
    save_predictions,
)
from tumorlens.services.store.reviews import Review, latest_reviews, save_review
from tumorlens.settings import Settings, load_settings

COOKIE = "tumorlens_reader"  # a random token
LANGUAGE_COOKIE = "tumorlens_language"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,64}")
_loading, _following = threading.Lock(), threading.Lock()


@dataclass(frozen=True)
class Shared:
    """One network, one store, the phantoms and the running commands, for all browsers."""

    settings: Settings
    predictor: Predictor
    store: Store
    examples: tuple[Result, ...]
    runner: ProcessRunner
    worklists: Worklists
    reader: ScanReader


def load_shared() -> Shared:
    """Return what all browsers share, made at the first call; raises what a broken part raises."""
    with _loading:
        return _load()


@lru_cache(maxsize=1)
def _load() -> Shared:
    settings = load_settings()
    predictor = load_predictor(settings.bundle, settings)
    store = open_store(settings.store, audit_key=settings.audit_key)
    check_signed(store)
    worklists = Worklists(settings.worklist_folder)
    return Shared(
        settings, predictor, store, predict_examples(predictor), ProcessRunner(), worklists,
        ScanReader(settings.read_limits),
    )  # fmt: skip


def expire(shared: Shared) -> int:
    """Remove answers and kept worklists that are too old; return the number of answers.

    Worklists that no tab has open any more are let go, too.
    """
    shared.worklists.forget_idle()
    days = shared.settings.retention_days
    if not days:
        return 0
    shared.worklists.forget_unused(days)
    return expire_predictions(shared.store, before=days_ago(days), actor="dashboard")


def is_token(text: str) -> bool:
    """Whether a cookie has the shape of those that are set here."""
    return bool(_TOKEN.fullmatch(text))


def owner_name(token: str) -> str:
    """Return what the store calls the owner of a cookie, without the cookie to be stolen."""
    return "browser-" + hashlib.sha256(token.encode()).hexdigest()[:20]


def owner() -> str:
    """Return whose history this is: a name of the browser by its cookie, else of this tab alone."""
    token = st.context.cookies.get(COOKIE, "")
    if isinstance(token, str) and is_token(token):
        return owner_name(token)
    return st.session_state.setdefault("owner", owner_name(secrets.token_urlsafe(32)))


def language() -> str:
    """Return the language chosen here or in this browser before, else the browser's own."""
    preferred = str(st.context.locale or "en").split("-")[0]
    kept = st.context.cookies.get(LANGUAGE_COOKIE)
    wanted = (st.session_state.get("language"), kept, preferred)
    return next((str(one) for one in wanted if one in LANGUAGES), "en")


def translation() -> Translate:
    """Return the texts in the language of this browser."""
    return translator(language())


# --- the worklist of a tab ------------------------------------------------------------------


def worklists() -> list[Worklist]:
    """Return the worklists of this browser, the last used first."""
    return load_shared().worklists.of(owner())


def worklist() -> Worklist:
    """Return the worklist that this tab has open: at first the one that was used last."""
    held, id = load_shared().worklists, st.session_state.get("worklist", "")
    found = held.get(owner(), id) or held.of(owner())[0]
    if found.id != st.session_state.get("worklist") or "lease" not in st.session_state:
        open_worklist(found.id)
    return found


def open_worklist(id: str) -> None:
    """Open a worklist in this tab, which keeps it from being forgotten while the tab is open."""
    st.session_state["worklist"], st.session_state["lease"] = id, Lease()
    held = load_shared().worklists
    held.use(owner(), id, st.session_state["lease"])
    if "place" in st.session_state:
        st.session_state["place"].current = held.place_in(id)


def queue() -> tuple[Result, ...]:
    """Return the results of this tab; the phantoms until there are any."""
    return own_results() or load_shared().examples


def own_results() -> tuple[Result, ...]:
    """Return the results of what was dropped in."""
    return worklist().results


def names() -> dict[str, str]:
    """Return the names of the files of this tab by their digest, for a store that keeps none."""
    return {result.digest: result.name for result in own_results()}


@dataclass
class Place:
    """Where a tab is. It is changed in place: Streamlit may end a run at any look at its state."""

    current: str = ""  # key of the result that is shown
    followed: dict[str, int] = field(default_factory=dict)  # last event, by the tab that sent it


def place() -> Place:
    """Return where this tab is; a new tab begins where the reader was last."""
    if "place" not in st.session_state:
        st.session_state["place"] = Place(load_shared().worklists.place_in(worklist().id))
    return st.session_state["place"]


def show(key: str) -> None:
    """Choose the result that is shown."""
    place().current = key
    load_shared().worklists.set_place(worklist().id, key)


def forget_uploads(files: Sequence[Any]) -> None:
    """Take uploads out of the server's memory: what is drawn of them has been made."""
    context = get_script_run_ctx()
    # Streamlit's manager in memory has this; another one, of tests, may not.
    remove = getattr(context and context.uploaded_file_mgr, "remove_file", None)
    if context is not None and remove is not None:
        for file in files:
            remove(context.session_id, file.file_id)


# --- the history of a browser ----------------------------------------------------------------


def add_results(results: Sequence[Result], id: str) -> int:
    """Put results into a worklist and their answers into the history.

    Returns how many found no room.
    """
    ids = save_results(results)
    return load_shared().worklists.add_results(owner(), id, results, ids)


def save_results(results: Sequence[Result]) -> dict[str, str]:
    """Write new answers into the store, in this browser's history; return their ids by digest."""
    shared = load_shared()
    new = [
        NewPrediction(
            _named(result, keep_names=shared.settings.keep_names),
            input_sha256=result.digest,
            bundle_sha256=shared.predictor.bundle.sha256,
            owner=owner(),
            source="dashboard",
        )
        for result in results
        if not result.is_example
    ]
    ids = save_predictions(shared.store, new)
    return dict(zip((item.input_sha256 for item in new), ids, strict=True))


def _named(result: Result, *, keep_names: bool) -> Any:
    """Return an answer as the store keeps it: with the evidence of a slice, and names if wanted."""
    alone = result.slices[0] if result.slices and result.answer is None else None
    answer = replace(result.prediction, heatmap=alone.heatmap if alone else None)
    if keep_names:
        return answer
    name = anonymous_name(result.digest, result.name)
    return replace(answer, path=name, series=name if answer.series else "")


def stored_id(result: Result) -> str | None:
    """Return the id of a result's answer in the store; None for the phantoms."""
    return worklist().stored_ids.get(result.digest)


def queue_reviews(results: Sequence[Result]) -> dict[str, Review]:
    """Return the last review of each result that has one, by the result's digest."""
    held = worklist().stored_ids
    ids = {id: one.digest for one in results if (id := held.get(one.digest)) is not None}
    found = latest_reviews(load_shared().store, list(ids)) if ids else {}
    return {ids[id]: review for id, review in found.items()}


def latest_review(id: str) -> Review | None:
    """Return the last review of an answer."""
    return latest_reviews(load_shared().store, [id]).get(id)


def is_reviewed(owner: str, result: Result) -> bool:
    """Whether a reader has said anything of a result, in any worklist."""
    shared = load_shared()
    ids = [id for one in shared.worklists.of(owner) if (id := one.stored_ids.get(result.digest))]
    return bool(ids) and bool(latest_reviews(shared.store, ids))


def review(
    id: str, verdict: str, *, decision: str = "", tumor_type: str = "", reason: str = ""
) -> None:
    """Store what a person makes of an answer; raises ReviewError for a change without a reason."""
    written = Review(id, owner(), verdict, decision, tumor_type, reason)
    save_review(load_shared().store, written, owner=written.reader)


def agree(key: str) -> None:
    """Agree to a result; to one that was agreed to, or has no answer, nothing is added."""
    held = worklist()
    result = next((one for one in held.results if one.key == key), None)
    id = held.stored_ids.get(result.digest) if result else None
    if result is None or id is None or result.prediction.error:
        return
    latest = latest_review(id)
    if latest is not None and latest.verdict == "agree":
        return
    try:
        review(id, "agree")
    except NotStoredError:  # the history was emptied since: the answer goes into it again
        ids = save_results([result])
        load_shared().worklists.add_results(owner(), held.id, [result], ids)
        review(ids[result.digest], "agree")


def follow(events: Mapping[str, Any]) -> None:
    """Do what was asked for in the browser since the last run, each event once and in order.

    A browser sends its events again until it is told that they were followed: `followed`.
    """
    tab, at = str(events.get("tab", "")), place()
    with _following:  # Streamlit starts a run while the one before it still ends
        for event in events.get("list", ()):
            number = int(event["n"])
            if number <= at.followed.get(tab, 0):
                continue
            if event["act"] == "agree":
                agree(str(event["key"]))
            at.current, at.followed[tab] = str(event["next"]), number
    show(at.current)


def history_csv(owner: str, names: Mapping[str, str]) -> bytes:
    """Write all answers of an owner with their reviews, as UTF-8 that spreadsheets read.

    `names` are those of files by their digest, where the store keeps none.
    """
    store = load_shared().store
    rows = iter_predictions(store, Selection(owner=owner))
    return "".join(history_table(store, rows, names=names)).encode("utf-8-sig")
