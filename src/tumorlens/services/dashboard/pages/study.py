"""What every page of a study begins with: which record, what it is of, how to make it again."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from tumorlens.errors import TumorlensError
from tumorlens.json_records import Record
from tumorlens.language import translate
from tumorlens.reports.charts.texts import Translate
from tumorlens.services.dashboard import process_runner, session
from tumorlens.services.dashboard.studies import (
    KINDS,
    SPLIT,
    find_records,
    new_folder,
    read_record,
)
from tumorlens.services.dashboard.texts import escape_markup
from tumorlens.services.dashboard.widgets import choose, switch

DrawPart = Callable[[Record, Translate], None]


def open_page(page: str, kind: str, t: Translate) -> Record | None:
    """Draw the head of a page, and let people choose the record that it shows.

    None, with words on how to make one, where there is none.
    """
    st.title(t(f"page.{page}"), anchor=False)
    with st.container(key="study-lead"):  # a phone has these three below the images
        st.markdown(t(f"{page}.lead"))
    title, help = t("study.choose"), t("study.choose_help")
    path = choose_record(KINDS[kind].file, title, f"study-{kind}", help=help)
    with st.container(key="study-runner"):
        _draw_runner(kind, t)
    command = KINDS[kind].command
    if path is None:
        st.info(t("study.none", command=command), icon=":material/folder_open:")
        demo = "tumorlens demo\ntumorlens dashboard --study demo\n\n"
        own = f"tumorlens {command} scans/ --out study/{kind}\ntumorlens dashboard --study study"
        st.code(demo + own, language="bash")
        return None
    record = read_record(path, kind)
    made = datetime.fromisoformat(record.text("created")).astimezone(UTC)
    sets = escape_markup(", ".join(record.items("folders") or record.names("datasets")))
    n = record.count("n")
    with st.container(key="study-facts"):
        st.caption(t("study.what", sets=sets, n=n, time=f"{made:%Y-%m-%d %H:%M}"))
    return record


def choose_record(
    file: str, title: str, key: str, *, index: int = 0, help: str | None = None
) -> Path | None:
    """Let people choose one of the files of a name in the study folders, newest first."""
    paths = find_records(session.load_shared().settings.study_folders, file)
    if not paths:
        return None
    return paths[choose(title, list(paths), key, index=index, help=help, persists=True)]


def draw_part(page: str, parts: Mapping[str, DrawPart], record: Record, *, t: Translate) -> None:
    """Let people choose a part of a page, and draw it."""
    part = switch(
        t("explore.part"),
        list(parts),
        f"{page}_part",
        names=lambda name: t(f"{page}.part_{name}"),
        persists=True,
    )
    parts[part](record, t)


def _draw_runner(kind: str, t: Translate) -> None:
    """Offer to run the command that makes a record, where that can be."""
    shared = session.load_shared()
    folders = shared.settings.study_folders
    if not folders:
        return
    run = shared.runner.find_in(kind, folders[0])
    title = t("bench.title", command=KINDS[kind].command)
    with st.expander(title, expanded=run is not None, icon=":material/play_circle:"):
        if not process_runner.is_installed():
            st.markdown(t("bench.missing", command=process_runner.INSTALL))
        elif not shared.settings.bench_folders:
            st.markdown(t("bench.no_data"))
        elif run is None:
            _start(kind, new_folder(folders[0], kind), t)
        else:
            _watch(kind, run.out, t)


def _start(kind: str, out: Path, t: Translate) -> None:
    shared = session.load_shared()
    data = choose(t("bench.data"), shared.settings.bench_folders, f"data-{kind}")
    splits = {"": None} | find_records(shared.settings.study_folders, SPLIT)
    name = choose(t("bench.split"), list(splits), f"split-{kind}",
                  names=lambda one: f"{one}/{SPLIT}" if one else t("bench.no_split"))  # fmt: skip
    st.caption(t("bench.writes", out=out))
    if st.button(t("bench.start"), icon=":material/play_arrow:", key=f"start-{kind}"):
        try:
            shared.runner.start(kind, data, out, split=splits[name], language=session.language())
        except TumorlensError as error:
            st.error(translate(f"{error.fact}. {error.fix}"))
        else:
            st.rerun()


@st.fragment(run_every=1.0)
def _watch(kind: str, out: Path, t: Translate) -> None:
    """Show how far a run is, every second, until it has ended."""
    runner = session.load_shared().runner
    run = runner.find(kind, out)
    if run is None:
        st.rerun()
    output = process_runner.read_output(run)
    if run.status is None:
        at = output.progress
        share = at.done / at.total if at and at.total else 0.0
        label = f"{at.step}: {at.done:,} / {at.total:,}" if at else t("bench.running")
        st.progress(min(1.0, share), text=label)
        if st.button(t("bench.stop"), icon=":material/stop_circle:", key=f"stop-{kind}"):
            process_runner.stop(run)
    else:
        _draw_end(run.status, t)
        if st.button(t("bench.done"), icon=":material/refresh:", key=f"done-{kind}"):
            runner.forget(run)
            st.rerun()
    if output.text:
        st.code("\n".join(output.text.splitlines()[-8:]), language=None)


def _draw_end(status: int, t: Translate) -> None:
    if status == 0:
        st.success(t("bench.ended"))
    elif status < 0:
        st.warning(t("bench.stopped"))
    else:
        st.error(t("bench.failed", status=status))
