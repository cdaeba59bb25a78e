"""What pages are made of: choices by name, figures in a row, images, downloads."""

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from tumorlens.reports.charts.texts import Translate
from tumorlens.services.dashboard.texts import escape_markup

TOP = 12  # pixels over a chart
MIME_TYPES = {".csv": "text/csv", ".html": "text/html", ".pdf": "application/pdf"}
Value = TypeVar("Value")


def choose(
    title: str,
    options: Sequence[Value],
    key: str,
    *,
    names: Callable[[Value], str] = str,
    help: str | None = None,
    index: int = 0,
    persists: bool = False,
) -> Value:
    """Let people choose from a list; `persists` keeps the choice while pages change."""
    return st.selectbox(
        title,
        options,
        index=min(index, len(options) - 1),
        format_func=names,
        key=key,
        help=help,
        persist_state="session" if persists else None,
    )


def switch(
    title: str,
    options: Sequence[str],
    key: str,
    *,
    names: Callable[[str], str] = str,
    help: str | None = None,
    persists: bool = False,
    is_titled: bool | None = None,
) -> str:
    """Let people choose one of a few side by side; one that persists has no title over it."""
    return st.segmented_control(
        title,
        options,
        default=options[0],
        required=True,
        format_func=names,
        key=key,
        help=help,
        label_visibility="visible"
        if (not persists if is_titled is None else is_titled)
        else "collapsed",
        wrap=True,
        persist_state="session" if persists else None,
    )


def draw_metrics(section: str, figures: Mapping[str, str | int], t: Translate) -> None:
    """Draw figures in a row, each with its name and help; counts get commas."""
    with st.container(key=f"figures-{section}"):  # a phone has them below the images
        columns = st.columns(len(figures))
    for column, (name, figure) in zip(columns, figures.items(), strict=True):
        key = f"{section}.{name}"
        text = f"{figure:,}" if isinstance(figure, int) else figure
        column.metric(t(key), text, help=t(f"{key}_help"), border=True)


def draw_chart(place: Any, figure: go.Figure, **options: Any) -> None:
    """Draw a chart under its title, with title and axes as alt text.

    The title is one of the page, so that it breaks into lines where there is little room.
    """
    layout = figure.layout
    title = layout.title.text
    parts = (title, layout.xaxis.title.text, layout.yaxis.title.text)
    options.setdefault("alt", "; ".join(filter(None, parts)) or None)
    if title:
        place.markdown(f"**{escape_markup(title)}**")
        figure.update_layout(title=None, margin_t=TOP)
    place.plotly_chart(figure, **options)


def draw_hidden_title(text: str) -> None:
    """Draw the title of a page for screen readers alone, where the menu names it already."""
    st.html(f'<h1 class="tl-title">{html.escape(text)}</h1>')


def draw_image(image: bytes | None, title: str, *, missing: str, caption: str = "") -> None:
    """Draw an image that lies beside a record, or words where it does not."""
    if image is not None:
        if caption:
            st.markdown(f"**{escape_markup(caption)}**")
        st.image(image, width="stretch", alt=title)
    elif missing:
        st.caption(missing)


def columns_in_rows(count: int, across: int, *, key: str = "") -> list[DeltaGenerator]:
    """Return places for some things, so many in a row; with a `key` two on a narrow page."""
    with st.container(key=f"grid-{key}" if key else None):
        return [c for _ in range(0, count, across) for c in st.columns(across)][:count]


def draw_download(title: str, make: Callable[[], bytes | str], file: str, *, icon: str) -> None:
    """Draw a button for a file that is made when it is asked for."""
    mime, icon = MIME_TYPES[Path(file).suffix], f":material/{icon}:"
    st.download_button(title, make, file, mime, key=file, icon=icon, on_click="ignore")
