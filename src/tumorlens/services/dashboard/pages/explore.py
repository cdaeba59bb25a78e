"""Explore: what the classes of a set look like, and what separates them without a network."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from tumorlens.services.dashboard import session
from tumorlens.services.dashboard.charts.inventory import balance_bars, grey_levels, size_scatter
from tumorlens.services.dashboard.charts.names import label_name
from tumorlens.services.dashboard.pages.chooser import open_page
from tumorlens.services.dashboard.pages.explore_features import show_features
from tumorlens.services.dashboard.studies import read_picture
from tumorlens.services.dashboard.texts import Say

Record = Mapping[str, Any]


def show() -> None:
    """Draw the page."""
    say = session.speech()
    chosen = open_page("explore", "explore", say)
    if chosen is None:
        return
    path, record = chosen
    _counts(record, say)
    part = st.segmented_control(
        say("explore.part"), list(PARTS), key="explore_part", default="pictures", required=True,
        format_func=lambda name: say(f"explore.part_{name}"), label_visibility="collapsed",
        persist_state="session",
    )  # fmt: skip
    PARTS[part](path, record, say)


def _counts(record: Record, say: Say) -> None:
    columns = st.columns(4)
    found = (("scans", record["n"]), ("groups_metric", record["groups"]),
             ("labels", sum(row["label"] is not None for row in record["pictures"].values())),
             ("unreadable", record["unreadable"]))  # fmt: skip
    for column, (name, count) in zip(columns, found, strict=True):
        column.metric(say(f"explore.{name}"), f"{count:,}", help=say(f"explore.{name}_help"),
                      border=True)  # fmt: skip


def _pictures(path: Path, record: Record, say: Say) -> None:
    """Show mean, variability and montage of the chosen labels side by side."""
    rows = record["pictures"]
    known = [name for name, row in rows.items() if row["label"]]
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    names = left.pills(
        say("explore.labels_shown"), list(rows), selection_mode="multi", default=known[:4],
        format_func=lambda name: f"{label_name(name, say)} ({rows[name]['n']:,})",
        key="explore_labels", wrap=True,
    )  # fmt: skip
    kind = right.segmented_control(
        say("explore.kind"), ["mean", "variability", "montage"], default="mean", required=True,
        format_func=lambda name: say(f"explore.{name}"), key="explore_kind",
        help=say("explore.kind_help"), wrap=True,
    )  # fmt: skip
    st.caption(say(f"explore.{kind}_what"))
    width = 2 if kind == "montage" else 4
    for start in range(0, len(names), width):
        columns = st.columns(width)
        for column, name in zip(columns, names[start : start + width], strict=False):
            _picture(column, path, rows[name][kind], label_name(name, say), say)
    if names:
        st.plotly_chart(grey_levels({name: rows[name] for name in names}, say),
                        key="grey", alt=say("explore.histogram_alt"))  # fmt: skip


def _differences(path: Path, record: Record, say: Say) -> None:
    """Show two classes and what the one is brighter or darker in than the other."""
    found = record["differences"]
    if not found:
        st.info(say("explore.no_difference"))
        return
    at = st.selectbox(
        say("explore.pair"), range(len(found)), key="explore_pair",
        format_func=lambda i: say("explore.less", second=label_name(found[i]["second"], say),
                                  first=label_name(found[i]["first"], say)),
    )  # fmt: skip
    row = found[at]
    columns = st.columns(3)
    for column, name in zip(columns, (row["second"], row["first"]), strict=False):
        _picture(column, path, record["pictures"][name]["mean"], label_name(name, say), say)
    _picture(columns[2], path, row["picture"], say("explore.difference"), say)
    st.markdown(_test_in_words(row["test"], say), help=say("explore.difference_help"))


def _test_in_words(test: Mapping[str, Any] | None, say: Say) -> str:
    if test is None:
        return say("explore.untested")
    groups = test["n_groups_first"] + test["n_groups_second"]
    p, share = f"{test['p']:.3f}", f"{100 * test['significant_share']:.1f} %"
    if not test["significant_share"]:
        return say("explore.nowhere", p=p, groups=groups)
    ends = {name: f"{test[name]:+.0f}" for name in ("brightest", "darkest")}
    return say("explore.somewhere", p=p, groups=groups, share=share, **ends)


def _sets(_path: Path, record: Record, say: Say) -> None:
    """Show how many scans of what, and in which sizes."""
    left, right = st.columns(2)
    left.plotly_chart(balance_bars(record["balance"], say), key="balance")
    right.plotly_chart(size_scatter(record["sizes"]["points"], say), key="sizes")


def _picture(place: Any, path: Path, name: str | None, title: str, say: Say) -> None:
    data = read_picture(path, name)
    with place:
        if data is None:
            st.caption(f"{title}: {say('study.no_picture')}")
        else:
            st.image(data, width="stretch", alt=title)


PARTS: Mapping[str, Callable[[Path, Record, Say], None]] = {
    "pictures": _pictures,
    "differences": _differences,
    "sets": _sets,
    "features": show_features,
}
