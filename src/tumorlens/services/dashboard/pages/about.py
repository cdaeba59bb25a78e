"""About: what this is and is not, the model card, where data came from, what is kept."""

import re

import streamlit as st

from tumorlens import __version__
from tumorlens.models.bundle import CARD, Bundle
from tumorlens.reports.charts.texts import Translate, label_name
from tumorlens.services.dashboard import session

PARTS = ("is", "is_not", "domain", "words", "data", "privacy", "keys")


def draw(t: Translate) -> None:
    """Draw the page."""
    bundle = session.load_shared().predictor.bundle
    st.title(t("page.about"), anchor=False)
    for part in PARTS:
        with st.container(border=True):
            st.header(t(f"about.{part}"), anchor=False)
            st.markdown(t(f"about.{part}_text"))
    with st.container(border=True):
        _draw_bundle(bundle, t)
    st.caption(f"tumorlens {__version__} · Apache License 2.0")


def _draw_bundle(bundle: Bundle, t: Translate) -> None:
    """Draw what the network is and what its makers write of it."""
    st.header(t("about.bundle"), anchor=False)
    chosen = bundle.operating_point
    text = t(
        "about.bundle_text",
        version=bundle.version,
        side=bundle.spec.side,
        threshold=f"{bundle.threshold:.3f}",
        aim=chosen.aim,
        part=chosen.part,
        sensitivity=str(chosen.sensitivity),
        specificity=str(chosen.specificity),
        low=f"{bundle.uncertainty_band.low:.3f}",
        high=f"{bundle.uncertainty_band.high:.3f}",
    )
    st.markdown(text)
    _draw_measured(bundle, t)
    card = bundle.folder / CARD
    if card.is_file():
        with st.expander(t("about.card"), icon=":material/description:"):
            text = card.read_text(encoding="utf-8")
            text = re.sub(r"(?s)\A---\n.*?\n---\n", "", text)  # what hubs read of it
            st.markdown(re.sub(r"(?m)^# ", "## ", text))  # a page has one title


def _draw_measured(bundle: Bundle, t: Translate) -> None:
    """Draw how the bundle did on validation, where that is recorded."""
    if not bundle.performance:
        st.caption(t("words.not_recorded"))
        return
    st.markdown(f"**{t('about.measured')}**", help=t("about.measured_help"))
    rows = [
        {
            t("performance.rows"): label_name(f"all {name}", t) if name != "all" else t("rows.all"),
            "AUC": str(row.auc),
            t("performance.sensitivity"): str(row.sensitivity),
            t("performance.specificity"): str(row.specificity),
        }
        for name, row in bundle.performance.items()
    ]
    st.dataframe(rows, hide_index=True)
