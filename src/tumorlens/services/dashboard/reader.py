"""The worklist with the viewer beside it: one component, whose keys never wait for the server."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from tumorlens.language import translate
from tumorlens.reports.charts.texts import Translate
from tumorlens.reports.viewer.content import script, style
from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.charts.answers import BADGES
from tumorlens.services.dashboard.results import Result
from tumorlens.services.dashboard.viewer import PATH, shown_slices
from tumorlens.services.store.reviews import Review

KEY = "reader"
TEXTS = ("previous", "next", "agree", "choose", "done", "reviewed", "loading", "lost", "slices")
_FOLDER = Path(__file__).parent


@lru_cache(maxsize=1)
def _component() -> Callable[..., Any]:
    own = (_FOLDER / "reader.js").read_text(encoding="utf-8")
    css = style() + (_FOLDER / "reader.css").read_text(encoding="utf-8")
    # One module: the viewer exports a function, the reader the default.
    js = script().replace("export function", "function") + own
    return component("tumorlens_reader", html='<div class="tl-reader"></div>', css=css, js=js)


def follow() -> None:
    """Do what the browser has asked for since the last run."""
    session.follow(st.session_state.get(KEY, {}).get("events") or {})


def draw_reader(results: Sequence[Result], reviews: Mapping[str, Review], t: Translate) -> None:
    """Draw results in the order given, and the one that is chosen in the viewer."""
    data = {
        "rows": [_row(one, reviews.get(one.digest), t) for one in results],
        "current": session.place().current,
        "followed": session.place().followed,
        "source": f"{PATH}/{session.load_shared().worklists.token(session.owner())}",
        "uncovered": sorted(one.key for one in results if one.truth and one.digest in reviews),
        "isOwn": bool(session.own_results()),
        "language": session.language(),
        "texts": {name: t(f"reader.{name}") for name in TEXTS},
    }
    _component()(data=data, key=KEY, default={"events": {}}, on_events_change=follow)


def _row(result: Result, review: Review | None, t: Translate) -> dict[str, Any]:
    """Return what the list shows of a result; out of scope has no figure."""
    decision = result.prediction.decision
    is_shown = bool(decision) and decision != "out of scope" and result.value > 0
    return {
        "key": result.key,
        "name": result.name,
        "badge": t(f"decision.{decision}") if decision else t("read.unreadable"),
        "color": BADGES[decision][0],
        "figure": f"{result.value:.2f}" if is_shown else "",
        "slices": len(result.slices),
        "isDone": review is not None,
        "word": t(f"decision.{review.decision}") if review and review.verdict != "agree" else "",
        "canShow": bool(shown_slices(result)),
        "canAgree": not result.is_example and not result.prediction.error,
        "error": translate(result.prediction.error),
    }
