"""What one browser has open, and what all of them share."""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from tumorlens.predictions.predictor import Predictor, load_predictor
from tumorlens.services.dashboard.middleware import COOKIE, is_token, reader_name
from tumorlens.services.dashboard.process_runner import ProcessRunner
from tumorlens.services.dashboard.results import Reading, read_examples
from tumorlens.services.dashboard.texts import LANGUAGES, Say, speak
from tumorlens.services.store.audit_log import days_ago
from tumorlens.services.store.database import Store, open_store
from tumorlens.services.store.history import expire_predictions
from tumorlens.settings import Settings, load_settings

_loading = threading.Lock()


@dataclass(frozen=True)
class Shared:
    """One network, one store, the phantoms and the running commands, for all browsers."""

    settings: Settings
    predictor: Predictor
    store: Store
    examples: tuple[Reading, ...]
    runner: ProcessRunner


def load_shared() -> Shared:
    """Give what all browsers share, made at the first call; raises what a broken part raises."""
    with _loading:
        return _load()


@lru_cache(maxsize=1)
def _load() -> Shared:
    settings = load_settings()
    predictor = load_predictor(settings.bundle, settings)
    store = open_store(settings.store)
    return Shared(settings, predictor, store, read_examples(predictor), ProcessRunner())


def expire(shared: Shared) -> int:
    """Remove answers older than the settings wish, and give their number."""
    days = shared.settings.retention_days
    return expire_predictions(shared.store, before=days_ago(days), actor="dashboard") if days else 0


def reader() -> str:
    """Name whose history this is: the browser's by its cookie, else this tab's alone."""
    token = st.context.cookies.get(COOKIE, "")
    if isinstance(token, str) and is_token(token):
        return reader_name(token)
    return st.session_state.setdefault("reader", reader_name(secrets.token_urlsafe(32)))


def language() -> str:
    """Give the language chosen, at first the browser's own where it is spoken here."""
    preferred = str(st.context.locale or "en").split("-")[0]
    return st.session_state.get("language") or (preferred if preferred in LANGUAGES else "en")


def speech() -> Say:
    """Give the texts in the language of this browser."""
    return speak(language())


def ink() -> str:
    """Give the color of the page's text, for charts that write on colors of their own."""
    return "#e6ebf0" if st.context.theme.type == "dark" else "#1c2733"


def queue() -> tuple[Reading, ...]:
    """Give the readings of this tab; the phantoms until there are any."""
    return own_readings() or load_shared().examples


def names() -> dict[str, str]:
    """Give the names of the files of this tab by their digest, for a store that keeps none."""
    return {reading.digest: reading.name for reading in own_readings()}


def own_readings() -> tuple[Reading, ...]:
    """Give the readings of what was dropped in."""
    return st.session_state.get("readings", ())


def keep(readings: Sequence[Reading]) -> None:
    """Replace the queue."""
    st.session_state["readings"] = tuple(readings)


def forget_uploads(files: Sequence[Any]) -> None:
    """Take uploads out of the server's memory: what is shown of them has been made."""
    context = get_script_run_ctx()
    # Streamlit's manager in memory has this; another one, of tests, may not.
    remove = getattr(context and context.uploaded_file_mgr, "remove_file", None)
    if context is not None and remove is not None:
        for file in files:
            remove(context.session_id, file.file_id)
