"""What every page of the bench begins with: which record, what it is of, how to make it again."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import streamlit as st

from tumorlens.errors import TumorlensError
from tumorlens.services.dashboard import process_runner, session
from tumorlens.services.dashboard.charts.names import plain
from tumorlens.services.dashboard.studies import KINDS, Found, find_records, read_record
from tumorlens.services.dashboard.texts import Say


def open_page(page: str, kind: str, say: Say) -> tuple[Path, dict[str, Any]] | None:
    """Draw the head of a page, and let a reader choose the record that it shows."""
    st.title(say(f"page.{page}"), anchor=False)
    st.markdown(say(f"{page}.lead"))
    return _choose(kind, say)


def _choose(kind: str, say: Say) -> tuple[Path, dict[str, Any]] | None:
    """Let a reader choose a record; None, with words on how to make one, where there is none."""
    folders = session.load_shared().settings.study_folders
    found = find_records(folders, KINDS[kind].file)
    chosen = _select(found, kind, say)
    _maker(kind, say)
    if chosen is None:
        st.info(say("study.none", command=KINDS[kind].command), icon=":material/folder_open:")
        st.code(f"tumorlens demo\ntumorlens dashboard --study demo\n\n"
                f"tumorlens {KINDS[kind].command} scans/ --out study/{kind}\n"
                "tumorlens dashboard --study study", language="bash")  # fmt: skip
        return None
    record = read_record(chosen.path, kind)
    made = datetime.fromisoformat(record["created"]).astimezone(UTC)
    sets = ", ".join(record.get("folders") or record.get("datasets") or ())
    st.caption(say("study.what", sets=plain(sets), n=f"{record['n']:,}",
                   time=f"{made:%Y-%m-%d %H:%M}"))  # fmt: skip
    return chosen.path, record


def _select(found: list[Found], kind: str, say: Say) -> Found | None:
    if not found:
        return None
    by_name = {record.name: record for record in found}
    name = st.selectbox(say("study.choose"), list(by_name), key=f"study-{kind}",
                        help=say("study.choose_help"), persist_state="session")  # fmt: skip
    return by_name[name]


def _maker(kind: str, say: Say) -> None:
    """Offer to run the command of the bench, where that can be."""
    settings = session.load_shared().settings
    folders = settings.study_folders
    if not folders:
        return
    out = folders[0] / kind
    run = session.load_shared().runner.find(kind, out)
    with st.expander(say("bench.title", command=KINDS[kind].command), expanded=run is not None,
                     icon=":material/play_circle:"):  # fmt: skip
        if not process_runner.is_installed():
            st.markdown(say("bench.missing", command=process_runner.INSTALL))
        elif not settings.bench_folders:
            st.markdown(say("bench.no_data"))
        elif run is None:
            _start(kind, out, say)
        else:
            _watch(kind, out, say)


def _start(kind: str, out: Path, say: Say) -> None:
    shared = session.load_shared()
    data = st.selectbox(say("bench.data"), shared.settings.bench_folders, key=f"data-{kind}",
                        format_func=str)  # fmt: skip
    if st.button(say("bench.start"), icon=":material/play_arrow:", key=f"start-{kind}"):
        try:
            shared.runner.start(kind, data, out)
        except TumorlensError as error:
            st.error(f"{error.fact}. {error.fix}")
        else:
            st.rerun()


@st.fragment(run_every=1.0)
def _watch(kind: str, out: Path, say: Say) -> None:
    """Show how far a run is, every second, until it has ended."""
    run = session.load_shared().runner.find(kind, out)
    if run is None:
        st.rerun()
    output = process_runner.read_output(run)
    if run.is_running:
        at = output.progress
        share = at.done / at.total if at and at.total else 0.0
        label = f"{at.step}: {at.done:,} / {at.total:,}" if at else say("bench.running")
        st.progress(min(1.0, share), text=label)
        if st.button(say("bench.stop"), icon=":material/stop_circle:", key=f"stop-{kind}"):
            process_runner.stop(run)
    else:
        _tell_end(run.status or 0, say)
        if st.button(say("bench.done"), icon=":material/refresh:", key=f"done-{kind}"):
            session.load_shared().runner.forget(run)
            st.rerun()
    if output.text:
        st.code("\n".join(output.text.splitlines()[-8:]), language=None)


def _tell_end(status: int, say: Say) -> None:
    if status == 0:
        st.success(say("bench.ended"))
    elif status < 0:
        st.warning(say("bench.stopped"))
    else:
        st.error(say("bench.failed", status=status))
