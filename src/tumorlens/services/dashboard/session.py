"""What one browser has open and has kept, and what all of them share."""

import hashlib
import re
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from tumorlens.predictions.predictor import Predictor, load_predictor
from tumorlens.services.dashboard.process_runner import ProcessRunner
from tumorlens.services.dashboard.results import Result, predict_examples
from tumorlens.services.dashboard.texts import LANGUAGES, Translate, translator
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
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,64}")
_loading = threading.Lock()


@dataclass(frozen=True)
class Shared:
    """One network, one store, the phantoms and the running commands, for all browsers."""

    settings: Settings
    predictor: Predictor
    store: Store
    examples: tuple[Result, ...]
    runner: ProcessRunner


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
    return Shared(settings, predictor, store, predict_examples(predictor), ProcessRunner())


def expire(shared: Shared) -> int:
    """Remove answers older than the settings allow, and return their number."""
    days = shared.settings.retention_days
    return expire_predictions(shared.store, before=days_ago(days), actor="dashboard") if days else 0


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
    """Return the language chosen, at first the browser's own where there is one."""
    preferred = str(st.context.locale or "en").split("-")[0]
    return st.session_state.get("language") or (preferred if preferred in LANGUAGES else "en")


def translation() -> Translate:
    """Return the texts in the language of this browser."""
    return translator(language())


def text_color() -> str:
    """Return the color of the page's text, for charts that write on colors of their own."""
    return "#e6ebf0" if st.context.theme.type == "dark" else "#1c2733"


def queue() -> tuple[Result, ...]:
    """Return the results of this tab; the phantoms until there are any."""
    return own_results() or load_shared().examples


def names() -> dict[str, str]:
    """Return the names of the files of this tab by their digest, for a store that keeps none."""
    return {result.digest: result.name for result in own_results()}


def own_results() -> tuple[Result, ...]:
    """Return the results of what was dropped in."""
    return st.session_state.get("results", ())


def set_results(results: Sequence[Result]) -> None:
    """Replace the queue."""
    st.session_state["results"] = tuple(results)


def forget_uploads(files: Sequence[Any]) -> None:
    """Take uploads out of the server's memory: what is drawn of them has been made."""
    context = get_script_run_ctx()
    # Streamlit's manager in memory has this; another one, of tests, may not.
    remove = getattr(context and context.uploaded_file_mgr, "remove_file", None)
    if context is not None and remove is not None:
        for file in files:
            remove(context.session_id, file.file_id)


# --- the history of a browser ----------------------------------------------------------------


def save_results(results: Sequence[Result]) -> None:
    """Write new answers into the store, in this browser's history."""
    shared = load_shared()
    new = [
        NewPrediction(
            result.prediction
            if shared.settings.keep_names
            else replace(result.prediction, path=anonymous_name(result.digest, result.name)),
            input_sha256=result.digest,
            bundle_sha256=shared.predictor.bundle.sha256,
            owner=owner(),
            source="dashboard",
        )
        for result in results
        if not result.is_example
    ]
    ids = save_predictions(shared.store, new)
    held = st.session_state.setdefault("stored_ids", {})
    held.update(zip((item.input_sha256 for item in new), ids, strict=True))


def stored_id(result: Result) -> str | None:
    """Return the id of a result's answer in the store; None for the phantoms."""
    return st.session_state.get("stored_ids", {}).get(result.digest)


def queue_reviews(results: Sequence[Result]) -> dict[str, Review]:
    """Return the last review of each result that has one, by the result's digest."""
    ids = {id: one.digest for one in results if (id := stored_id(one)) is not None}
    found = latest_reviews(load_shared().store, list(ids)) if ids else {}
    return {ids[id]: review for id, review in found.items()}


def latest_review(id: str) -> Review | None:
    """Return the last review of an answer."""
    return latest_reviews(load_shared().store, [id]).get(id)


def review(
    id: str, verdict: str, *, decision: str = "", tumor_type: str = "", reason: str = ""
) -> None:
    """Store what a person makes of an answer; raises ReviewError for a change without a reason."""
    written = Review(id, owner(), verdict, decision, tumor_type, reason)
    save_review(load_shared().store, written, owner=written.reader)


def set_order(queue: Sequence[Result]) -> None:
    """Keep in which order the queue is read, for keys that are pressed before the next run."""
    st.session_state["order"] = [one.key for one in queue]


def agreed() -> int:
    """Return how many presses of the key that agrees were followed in this tab."""
    return st.session_state.get("agreed", 0)


def agree_up_to(presses: int) -> None:
    """Agree to the current scan and go on, once for each press that was not followed yet."""
    for _ in range(presses - agreed()):
        agree()
    st.session_state["agreed"] = max(presses, agreed())


def agree() -> None:
    """Agree to the current scan and go on to the next; the last is agreed to once."""
    by_key = {one.key: one for one in queue()}
    order = [key for key in st.session_state.get("order", ()) if key in by_key]
    current = str(st.session_state.get("current"))
    if current not in order:
        return
    result, at = by_key[current], order.index(current)
    id = stored_id(result)
    is_last = at == len(order) - 1
    if id and not result.prediction.error and not (is_last and latest_review(id)):
        review(id, "agree")
    st.session_state["current"] = order[min(at + 1, len(order) - 1)]


def history_csv(owner: str, names: Mapping[str, str]) -> bytes:
    """Write all answers of an owner with their reviews, as UTF-8 that spreadsheets read.

    `names` are those of files by their digest, where the store keeps none.
    """
    store = load_shared().store
    rows = iter_predictions(store, Selection(owner=owner))
    return "".join(history_table(store, rows, names=names)).encode("utf-8-sig")
