"""The viewer of slices on the page: what is changed in it never asks the server."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import streamlit as st

from tumorlens.reports.viewer.content import ViewedSlice, script, style, viewer_content
from tumorlens.services.dashboard.results import Result

MAX_PIXELS = 8_000_000  # sent to a browser at once
# Streamlit calls it at every run: the same slices keep window, zoom and place.
_MOUNT = """
export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".tl-root");
  if (root.dataset.shown === data.key) return;
  root.dataset.shown = data.key;
  if (root.tlViewer) root.tlViewer.destroy();
  root.tlViewer = mountViewer(root, data.content);
}
"""


@lru_cache(maxsize=1)
def _component() -> Callable[..., Any]:
    return st.components.v2.component(
        "tumorlens_viewer", html='<div class="tl-root"></div>', css=style(), js=script() + _MOUNT
    )


def draw_viewer(result: Result, queue: Sequence[Result]) -> None:
    """Draw a result among those of its series that lie in the queue, in order along the head."""
    stack = series_of(result, queue)
    key = " ".join(one.key for one in (result, *stack))
    kept_key, content = st.session_state.get("viewer", ("", {}))
    if key != kept_key:
        slices = [ViewedSlice(one.scan, one.prediction) for one in stack]
        content = viewer_content(slices, name=result.name, max_pixels=MAX_PIXELS)
        content["start"] = stack.index(result)
        st.session_state["viewer"] = (key, content)
    _component()(data={"key": key, "content": content}, key="viewer-of-slices")


def series_of(result: Result, queue: Sequence[Result]) -> list[Result]:
    """Return the readable results of one series, ordered along its normal; one alone is itself."""
    same = [
        one for one in queue
        if one.series and one.series == result.series and not one.prediction.error
    ]  # fmt: skip
    return sorted(same, key=lambda one: one.position or 0.0) or [result]
