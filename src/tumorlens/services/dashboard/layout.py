"""What stands around every page: its name, the line on research use, the language, the menu."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import streamlit as st
from PIL import Image
from streamlit.components.v2 import component

from tumorlens.errors import TumorlensError
from tumorlens.language import LANGUAGES, translate, using_language
from tumorlens.reports.charts.texts import Translate
from tumorlens.services.dashboard.pages import about, audit, explore, performance, read
from tumorlens.services.dashboard.session import LANGUAGE_COOKIE, language, translation

PAGES: Mapping[str, tuple[Callable[[Translate], None], str]] = {
    "read": (read.draw, ":material/radiology:"),
    "explore": (explore.draw, ":material/grid_view:"),
    "audit": (audit.draw, ":material/content_copy:"),
    "performance": (performance.draw, ":material/monitoring:"),
    "hypotheses": (explore.draw_hypotheses, ":material/balance:"),
    "about": (about.draw, ":material/info:"),
}
# The line stays in sight while a page scrolls; captions are dark enough to be read (WCAG 2 AA).
STYLE = """<style>
.stMainBlockContainer { padding-top: 4.2rem; padding-bottom: 3rem; max-width: 92rem; }
.st-key-research-line { position: sticky; top: 3.75rem; z-index: 90; padding: .3rem .2rem;
  border-bottom: 1px solid #8884; backdrop-filter: blur(12px); }
[data-testid="stElementContainer"]:has(.tl-title),
[data-testid="stLayoutWrapper"]:has(> .st-key-page-facts) { position: absolute; }
.tl-title { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
[data-testid="stCaptionContainer"] { color: inherit; opacity: .85; }
/* Words around a chart follow the theme, also when it changes; those on its own colors stay. */
.js-plotly-plot :is(.xtitle, .ytitle, .legendtext, .annotation-text, .bartext),
.js-plotly-plot :is(.xtick, .ytick) text { fill: currentColor !important; }
[data-testid="stMetricLabel"] :is(div, p) { white-space: normal; overflow: visible; }
.stApp :focus-visible { outline: 3px solid #d55e00 !important; outline-offset: 2px; }
@media (prefers-color-scheme: dark) { .stApp [data-testid="stImage"] img { background: #fff; } }
@media (max-width: 60rem) {
  [class*="st-key-grid-"] [data-testid="stHorizontalBlock"] { flex-wrap: wrap; }
  [class*="st-key-grid-"] [data-testid="stColumn"] { min-width: 44%; flex: 1 1 44%; }
  .st-key-grid-tables [data-testid="stColumn"] { min-width: 100%; }
}
@media (max-width: 40rem) {
  [data-testid="stLayoutWrapper"]:has(> .st-key-intake) { order: 2; }
  [data-testid="stLayoutWrapper"]:has(> .st-key-order) { order: 1; }
  [data-testid="stLayoutWrapper"]:has(> [class*="st-key-figures-"]),
  [data-testid="stLayoutWrapper"]:has(> .st-key-study-lead),
  [data-testid="stLayoutWrapper"]:has(> .st-key-study-runner),
  [data-testid="stLayoutWrapper"]:has(> .st-key-study-facts) { order: 3; }
  [class*="st-key-figures-"] [data-testid="stHorizontalBlock"] { flex-wrap: wrap; }
  [class*="st-key-figures-"] [data-testid="stColumn"] { min-width: 44%; flex: 1 1 44%; }
  .stMainBlockContainer { padding-left: .8rem; padding-right: .8rem; }
}
</style>"""
# Streamlit's own words of the box for files stand in no table: CSS writes others over them.
STYLE_ES = """<style>
[data-testid="stFileUploaderDropzone"] button p { font-size: 0; }
[data-testid="stFileUploaderDropzone"] button p::after { content: "Elegir"; font-size: .95rem; }
[data-testid="stFileUploaderDropzoneInstructions"] span { font-size: 0; }
[data-testid="stFileUploaderDropzoneInstructions"]::after { font-size: .85rem;
  content: "64 MB por archivo • DICOM, NIfTI, PNG, JPEG, BMP, TIFF, WebP, GIF, CSV"; }
</style>"""
# What a page's script cannot set: the language of the document, for screen readers, and the cookie
# that keeps the choice.
_PAGE_JS = """
export default function ({ data }) {
  document.documentElement.lang = data.language;
  const year = 31536000, kept = `${data.cookie}=${data.language}`;
  if (data.isChosen && !document.cookie.includes(kept)) {
    document.cookie = `${kept}; path=/; max-age=${year}; SameSite=Strict`;
  }
}
"""


def draw() -> None:
    """Draw the page that was asked for, with all that stands around it."""
    st.set_page_config(page_title="Tumorlens", page_icon=_icon(), layout="wide")
    t = translation()
    pages = [
        st.Page(
            _guarded(draw_page, t),
            title=t(f"page.{name}"),
            icon=icon,
            url_path=name,
            default=name == "read",
        )
        for name, (draw_page, icon) in PAGES.items()
    ]
    chosen = st.navigation(pages, position="top")
    st.html(STYLE)
    _research_line(t)
    _tell_browser()
    with using_language(language()):  # of what records and rules say
        chosen.run()


@lru_cache(maxsize=1)
def _page_component() -> Callable[..., Any]:
    return component("tumorlens_page", html="<span></span>", js=_PAGE_JS)


def _tell_browser() -> None:
    """Set what the document says of its language, and keep a language that was chosen."""
    data = {"language": language(), "cookie": LANGUAGE_COOKIE,
            "isChosen": "language" in st.session_state}  # fmt: skip
    if language() == "es":
        st.html(STYLE_ES)
    with st.container(key="page-facts", height=1, border=False):
        _page_component()(data=data, key="page")


@lru_cache(maxsize=1)
def _icon() -> Image.Image:
    """Draw a lens: a named icon would be asked of a font server."""
    icon = np.zeros((32, 32, 4), np.uint8)
    cv2.circle(icon, (13, 13), 10, (43, 108, 163, 255), 4, cv2.LINE_AA)
    cv2.line(icon, (21, 21), (29, 29), (43, 108, 163, 255), 5, cv2.LINE_AA)
    return Image.fromarray(icon)


def draw_alone(name: str) -> None:
    """Draw one page without the menu."""
    t = translation()
    st.html(STYLE)
    _research_line(t)
    _guarded(PAGES[name][0], t)()


def _guarded(draw_page: Callable[[Translate], None], t: Translate) -> Callable[[], None]:
    """Return the page, with errors that people can fix drawn as words."""

    def page() -> None:
        try:
            draw_page(t)
        except TumorlensError as error:
            st.error(f"**{error.subject}**: {translate(f'{error.fact}. {error.fix}')}")

    return page


def _research_line(t: Translate) -> None:
    with st.container(key="research-line", horizontal=True, vertical_alignment="center"):
        text = f":material/science: **{t('layout.research')}** {t('layout.not_device')}"
        st.markdown(text, width="stretch")
        st.segmented_control(
            t("layout.language"),
            list(LANGUAGES),
            format_func=str.upper,
            default=language(),
            key="language",
            required=True,
            label_visibility="collapsed",
            width="content",
            persist_state="session",
        )


if __name__ == "__main__":  # as Streamlit runs it, at every interaction
    draw()
