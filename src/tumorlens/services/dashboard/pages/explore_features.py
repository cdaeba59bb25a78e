"""The features part of Explore."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from tumorlens.services.dashboard.charts.features import (
    correlation_map,
    effect_rows,
    feature_boxes,
    feature_name,
    frame_dots,
    importance_dots,
    modalities,
    model_dots,
    single_dots,
)
from tumorlens.services.dashboard.charts.names import label_name, term
from tumorlens.services.dashboard.texts import Say, known


def show_features(path: Path, record: Mapping[str, Any], say: Say) -> None:
    """Show the 13 features of one modality."""
    studies = record["features"]
    names = modalities(studies)
    if not names:
        st.info(say("explore.no_features"))
        return
    modality = st.segmented_control(
        say("explore.modality"), names, default=names[0], required=True, key="explore_modality",
        format_func=lambda name: term("rows", name, say),
    )  # fmt: skip
    study = studies[modality]
    _one(study, say)
    left, right = st.columns(2)
    left.plotly_chart(single_dots(study, say), key="single")
    right.plotly_chart(correlation_map(study, say), key="correlation")
    if study["models"]:
        _models(study, say)
    frames = record.get("frames", {}).get(modality)
    if frames:
        st.markdown(say("explore.frames_what"))
        st.plotly_chart(frame_dots(frames, say), key="frames")
    table = path.parent / record["features_table"]
    if table.is_file():
        st.download_button(say("explore.table"), table.read_bytes(), file_name=table.name,
                           mime="text/csv", icon=":material/table:", on_click="ignore")  # fmt: skip


def _one(study: Mapping[str, Any], say: Say) -> None:
    """Show one feature by class beside the effect sizes of two classes."""
    left, right = st.columns(2)
    with left:
        feature = st.selectbox(
            say("explore.feature_column"), study["features"], key="explore_feature",
            format_func=lambda name: feature_name(name, say),
        )  # fmt: skip
        if known(f"feature.{feature}_what"):
            st.caption(say(f"feature.{feature}_what"))
        st.plotly_chart(feature_boxes(study, feature, say), key="boxes")
    contrasts = study["contrasts"]
    if not contrasts:
        return
    with right:
        at = st.selectbox(
            say("explore.contrast"), range(len(contrasts)), key="explore_contrast",
            format_func=lambda i: f"{label_name(contrasts[i]['a'], say)} / "
            f"{label_name(contrasts[i]['b'], say)}",
            help=say("explore.contrast_help"),
        )  # fmt: skip
        row = contrasts[at]
        st.caption(say("explore.contrast_n", a=row["n_groups_a"], b=row["n_groups_b"]))
        st.dataframe(effect_rows(row, say), hide_index=True, height=360)


def _models(study: Mapping[str, Any], say: Say) -> None:
    left, right = st.columns(2)
    left.plotly_chart(model_dots(study, say), key="models")
    with right:
        model = st.selectbox(
            say("explore.model"), list(study["models"]), key="explore_model",
            format_func=lambda name: term("model", name, say),
        )  # fmt: skip
        st.plotly_chart(
            importance_dots(study, model or next(iter(study["models"])), say), key="importance"
        )
