"""What stands around every page: its name, the line on research use, the language, the menu."""

from collections.abc import Callable, Mapping

import streamlit as st

from tumorlens.errors import TumorlensError
from tumorlens.services.dashboard.pages import (
    about,
    audit,
    explore,
    hypotheses,
    performance,
    read,
)
from tumorlens.services.dashboard.session import language, speech
from tumorlens.services.dashboard.texts import LANGUAGES, Say

PAGES: Mapping[str, tuple[Callable[[], None], str]] = {
    "read": (read.show, ":material/radiology:"),
    "explore": (explore.show, ":material/grid_view:"),
    "audit": (audit.show, ":material/content_copy:"),
    "performance": (performance.show, ":material/monitoring:"),
    "hypotheses": (hypotheses.show, ":material/balance:"),
    "about": (about.show, ":material/info:"),
}
# The line stays in sight while a page scrolls; captions are dark enough to be read (WCAG 2 AA).
STYLE = """<style>
.stMainBlockContainer { padding-top: 4.2rem; padding-bottom: 3rem; max-width: 92rem; }
.st-key-research-line { position: sticky; top: 3.75rem; z-index: 90; padding: .3rem .2rem;
  border-bottom: 1px solid #8884; backdrop-filter: blur(12px); }
.st-key-queue [role="radiogroup"] { gap: .6rem; }
[data-testid="stCaptionContainer"] { color: inherit; opacity: .8; }
</style>"""


def draw() -> None:
    """Draw the page that was asked for inside its frame."""
    st.set_page_config(page_title="Tumorlens", page_icon=":material/radiology:", layout="wide")
    say = speech()
    chosen = st.navigation(
        [
            st.Page(_guarded(show), title=say(f"page.{name}"), icon=icon, url_path=name,
                    default=name == "read")
            for name, (show, icon) in PAGES.items()
        ],
        position="top",
    )  # fmt: skip
    st.html(STYLE)
    _research_line(say)
    chosen.run()


def show_alone(name: str) -> None:
    """Draw one page with its frame and no menu."""
    st.html(STYLE)
    _research_line(speech())
    _guarded(PAGES[name][0])()


def _guarded(show: Callable[[], None]) -> Callable[[], None]:
    """Show what a reader can mend as words."""

    def page() -> None:
        try:
            show()
        except TumorlensError as error:
            st.error(f"**{error.subject}**: {error.fact}. {error.fix}")

    return page


def _research_line(say: Say) -> None:
    with st.container(key="research-line", horizontal=True, vertical_alignment="center"):
        text = f":material/science: **{say('frame.research')}** {say('frame.not_device')}"
        st.markdown(text, width="stretch")
        st.segmented_control(
            say("frame.language"), list(LANGUAGES), format_func=str.upper, default=language(),
            key="language", required=True, label_visibility="collapsed", width="content",
            persist_state="session",
        )  # fmt: skip
