"""The viewer of slices on the page: what is changed in it never asks the server."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from tumorlens.reports.viewer.content import ViewedSlice, script, style, viewer_content
from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.results import Result

KEY = "viewer-of-slices"
MAX_PIXELS = 8_000_000  # sent to a browser at once
# Streamlit calls it at every run: the same slices keep window, zoom and place. Presses of A are
# counted here and the sum is sent, so that none is lost while the server is at work.
_MOUNT = """
export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".tl-root");
  root.tlAgreed = Math.max(root.tlAgreed || 0, data.agreed);
  root.tlSend = setStateValue;
  if (!root.tlListens) {
    root.tlListens = true;
    const listen = (event) => {
      if (!root.isConnected) { document.removeEventListener("keydown", listen); return; }
      const at = event.composedPath()[0];
      const isText = at.isContentEditable || /^(TEXTAREA|SELECT)$/.test(at.tagName) ||
        (at.tagName === "INPUT" && !/^(radio|checkbox|range|button)$/.test(at.type));
      if (isText || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      if (event.key.toLowerCase() === "a") root.tlSend("agreed", ++root.tlAgreed);
    };
    document.addEventListener("keydown", listen);
  }
  if (root.dataset.shown === data.key) return;
  root.dataset.shown = data.key;
  if (root.tlViewer) root.tlViewer.destroy();
  root.tlViewer = data.content ? mountViewer(root, data.content) : null;
}
"""


@lru_cache(maxsize=1)
def _component() -> Callable[..., Any]:
    return component(
        "tumorlens_viewer", html='<div class="tl-root"></div>', css=style(), js=script() + _MOUNT
    )


def draw_viewer(result: Result, queue: Sequence[Result]) -> None:
    """Draw a result among those of its series that lie in the queue, in order along the head.

    Of one that could not be read nothing is drawn, but its keys are heard.
    """
    session.set_order(queue)
    stack = [] if result.prediction.error else series_of(result, queue)
    key = " ".join(one.key for one in (result, *stack))
    kept_key, content = st.session_state.get("viewer", ("", None))
    if key != kept_key:
        content = _content(result, stack) if stack else None
        st.session_state["viewer"] = (key, content)
    data = {"key": key, "content": content, "agreed": session.agreed()}
    _component()(data=data, key=KEY, default={"agreed": session.agreed()}, on_agreed_change=_agree)


def _content(result: Result, stack: Sequence[Result]) -> dict[str, Any]:
    slices = [ViewedSlice(one.scan, one.prediction) for one in stack]
    content = viewer_content(slices, name=result.name, max_pixels=MAX_PIXELS)
    return {**content, "start": list(stack).index(result)}


def _agree() -> None:
    """Agree to as many scans, one after the other, as there were presses since the last run."""
    session.agree_up_to(int(st.session_state[KEY]["agreed"]))


def series_of(result: Result, queue: Sequence[Result]) -> list[Result]:
    """Return the readable results of one series, ordered along its normal; one alone is itself."""
    same = [
        one for one in queue
        if one.series and one.series == result.series and not one.prediction.error
    ]  # fmt: skip
    return sorted(same, key=lambda one: one.position or 0.0) or [result]
