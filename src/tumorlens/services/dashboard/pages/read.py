"""Read: drop scans in, look at each beside what the network saw, say what you think of it."""

from collections import Counter

import streamlit as st

from tumorlens.images.readers import readable_suffixes
from tumorlens.services.dashboard import history, session
from tumorlens.services.dashboard.charts.colors import BADGES, ICONS
from tumorlens.services.dashboard.charts.names import plain
from tumorlens.services.dashboard.pages import read_scan
from tumorlens.services.dashboard.results import MOST, Reading, add_readings, read_files
from tumorlens.services.dashboard.texts import Say

QUEUE_HEIGHT = 520


def show() -> None:
    """Draw the page."""
    say = session.speech()
    _drop(say)
    readings = session.queue()
    if not session.own_readings():
        st.info(say("read.examples"), icon=":material/category:")
    left, right = st.columns([1.1, 3.2], gap="medium")
    with left:
        shown = _filter(readings, say)
        current = _choose(shown, say)
    with right:
        if current is None:
            st.info(say("read.none_left"))
        else:
            read_scan.show(current, shown, say)
    history.show(say)


def _drop(say: Say) -> None:
    """Take files or a folder, answer them, and forget the uploads."""
    is_folder = st.session_state.get("drop_kind") == "folder"
    box, kind = st.columns([5, 1], vertical_alignment="center")
    turn = st.session_state.get("turn", 0)
    with kind:
        st.segmented_control(
            say("read.drop_kind"), ["files", "folder"], key="drop_kind", default="files",
            required=True, format_func=lambda name: say(f"read.{name}"),
        )  # fmt: skip
    with box:
        files = st.file_uploader(
            say("read.drop"),
            type=list(readable_suffixes()),
            accept_multiple_files="directory" if is_folder else True,
            key=f"drop-{is_folder}-{turn}",
            help=say("read.drop_help", most=MOST),
        )
    for text in st.session_state.get("told", ()):
        st.warning(text)
    if files:
        _take(files, say)
        st.session_state["turn"] = turn + 1
        st.rerun()


def _take(files: list, say: Say) -> None:
    shared = session.load_shared()
    bar = st.progress(0.0, text=say("read.reading", done=0, total=len(files)))

    def report(done: int, total: int) -> None:
        bar.progress(done / total, text=say("read.reading", done=done, total=total))

    room = files[:MOST]
    limits = shared.settings.read_limits
    added = list(read_files(
        [(file.name, file.getvalue) for file in room], shared.predictor,
        limits=limits, progress=report,
    ))  # fmt: skip
    session.forget_uploads(files)
    readings, lost = add_readings(session.own_readings(), added)
    history.save(added)
    session.keep(readings)
    lost += len(files) - len(room)
    st.session_state["told"] = (say("read.full", most=MOST, lost=lost),) if lost else ()
    if added:
        st.session_state["current"] = added[0].key


def _filter(readings: tuple[Reading, ...], say: Say) -> tuple[Reading, ...]:
    """Let a reader narrow the queue to some decisions."""
    counts = Counter(reading.prediction.decision for reading in readings)
    wanted = st.pills(
        say("read.queue", n=len(readings)),
        [name for name in BADGES if counts[name]],
        selection_mode="multi",
        format_func=lambda name: f"{ICONS[name]} {_decision(name, say)} {counts[name]}",
        key="wanted",
        wrap=True,
    )
    return tuple(r for r in readings if not wanted or r.prediction.decision in wanted)


def _decision(name: str, say: Say) -> str:
    return say(f"decision.{name}") if name else say("read.unreadable")


def _choose(readings: tuple[Reading, ...], say: Say) -> Reading | None:
    """List the queue with a chip for each verdict; arrow keys move in it."""
    by_key = {reading.key: reading for reading in readings}
    if not by_key:
        return None
    if st.session_state.get("current") not in by_key:
        st.session_state["current"] = readings[0].key
    with st.container(height=QUEUE_HEIGHT, border=True, key="queue"):
        chosen = st.radio(
            say("read.choose"), list(by_key), key="current", label_visibility="collapsed",
            format_func=lambda key: _row(by_key[key], say),
        )  # fmt: skip
    if session.own_readings() and st.button(say("read.clear"), icon=":material/delete_sweep:"):
        session.keep(())
        st.rerun()
    return by_key[chosen]


def _row(reading: Reading, say: Say) -> str:
    decision = reading.prediction.decision
    probability = reading.prediction.tumor_probability
    chip = f":{BADGES[decision]}-badge[{ICONS[decision]} {_decision(decision, say)}]"
    figure = "" if probability is None else f" {probability:.2f}"
    return f"{chip}{figure}  \n{plain(reading.name)}"
