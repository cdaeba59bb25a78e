"""About: what this is and is not, the model card, where data came from, what is kept."""

import streamlit as st

from tumorlens import __version__
from tumorlens.models.bundle import CARD, Bundle
from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.charts.names import label_name
from tumorlens.services.dashboard.texts import Say

PARTS = ("is", "is_not", "domain", "words", "data", "privacy", "keys")


def show() -> None:
    """Draw the page."""
    say = session.speech()
    bundle = session.load_shared().predictor.bundle
    st.title(say("page.about"), anchor=False)
    for part in PARTS:
        with st.container(border=True):
            st.header(say(f"about.{part}"), anchor=False)
            st.markdown(say(f"about.{part}_text"))
    with st.container(border=True):
        _bundle(bundle, say)
    st.caption(f"tumorlens {__version__} · Apache License 2.0")


def _bundle(bundle: Bundle, say: Say) -> None:
    """Show what the network is and what its makers say of it."""
    st.header(say("about.bundle"), anchor=False)
    choice = bundle.threshold_choice
    st.markdown(say(
        "about.bundle_text", version=bundle.version, side=bundle.spec.side,
        threshold=f"{bundle.threshold:.3f}", aim=choice["aim"], part=choice["part"],
        sensitivity=f"{choice['sensitivity']:.3f} (n={choice['n_tumor']:,})",
        specificity=f"{choice['specificity']:.3f} (n={choice['n'] - choice['n_tumor']:,})",
        low=f"{bundle.abstention.low:.3f}", high=f"{bundle.abstention.high:.3f}",
    ))  # fmt: skip
    _measured(bundle, say)
    card = bundle.folder / CARD
    if card.is_file():
        with st.expander(say("about.card"), icon=":material/description:"):
            st.markdown(card.read_text(encoding="utf-8"))


def _measured(bundle: Bundle, say: Say) -> None:
    """Show how the bundle did on validation, where it says so."""
    if not bundle.measured:
        st.caption(say("words.not_recorded"))
        return
    st.markdown(f"**{say('about.measured')}**", help=say("about.measured_help"))
    st.dataframe(
        [
            {
                say("performance.rows"): label_name(f"all {name}", say) if name != "all"
                else say("rows.all"),
                "AUC": str(row.auc),
                say("performance.sensitivity"): str(row.sensitivity),
                say("performance.specificity"): str(row.specificity),
            }
            for name, row in bundle.measured.items()
        ],
        hide_index=True,
    )  # fmt: skip
