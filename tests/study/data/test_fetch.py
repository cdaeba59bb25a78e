"""A set is fetched once, resumed where it broke off, and never taken for good unverified."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.public_sets import LAYOUTS, write_archives, zip_bytes
from typer.testing import CliRunner

from tumorlens.cli import app
from tumorlens.errors import ArchiveError, DownloadError
from tumorlens.study.data.datasets import download as downloading
from tumorlens.study.data.datasets import fetch as fetching
from tumorlens.study.data.datasets.download import download
from tumorlens.study.data.datasets.fetch import Fetched, fetch, find_row
from tumorlens.study.data.index import read_cases
from tumorlens.study.data.registry import DATASETS

NAME = "navoneel"
ARCHIVE = DATASETS[NAME].archives[0].name


@dataclass
class Site:
    """Files behind an address on this machine, and how their server misbehaves."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)  # bytes after which a connection is closed
    statuses: list[int] = field(default_factory=list)  # answers before the real one
    has_ranges: bool = True
    skips: list[int] = field(default_factory=list)  # bytes by which a part starts too late
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, Range
    sent: list[int] = field(default_factory=list)  # bytes of each answer


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range", "")
        site.asked.append((self.path, wanted))
        data = site.files.get(self.path)
        status = site.statuses.pop(0) if site.statuses else 200 if data is not None else 404
        if data is None or status != 200:
            self.send_error(status)
            return
        same = self.headers.get("If-Range", site.headers.get("ETag")) == site.headers.get("ETag")
        start = int(wanted[6:-1]) if wanted and site.has_ranges and same else 0
        start += site.skips.pop(0) if start and site.skips else 0
        if start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        for name, value in {"Content-Length": str(len(data) - start), **site.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        rest = data[start:][: site.cuts.pop(0) if site.cuts else None]
        site.sent.append(len(rest))
        self.wfile.write(rest)

    def log_message(self, *_: object) -> None:
        """Keep the output of the tests clean."""


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()
    handler = type("SiteHandler", (Handler,), {"site": found})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    found.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def set_site(site: Site, tmp_path: Path) -> Site:
    """A site with the small archives of every set."""
    for name in LAYOUTS:
        for path in write_archives(name, tmp_path / "made"):
            site.files[f"/{path.name}"] = path.read_bytes()
    return site


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(downloading.time, "sleep", lambda _: None)


PIECE = downloading.PIECE
BODY = bytes(range(256)) * (8 * PIECE // 256)


def get(site: Site, tmp_path: Path, **options) -> Path:
    site.files.setdefault("/a.zip", BODY)
    options = {"sleep": lambda _: None, **options}
    return download(f"{site.address}/a.zip", tmp_path / "cache" / "a.zip", **options)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_file_arrives_whole(site, tmp_path):
    assert get(site, tmp_path, checksum=f"sha256:{sha256(BODY)}").read_bytes() == BODY
    assert left_in(tmp_path / "cache") == ["a.zip"], "no partial file, no note"


def test_a_broken_connection_is_resumed_and_only_the_rest_is_sent(site, tmp_path):
    site.cuts = [2 * PIECE, PIECE + 5]
    assert get(site, tmp_path).read_bytes() == BODY
    assert [wanted for _, wanted in site.asked] == [
        "",
        f"bytes={2 * PIECE}-",
        f"bytes={3 * PIECE}-",
    ]
    assert site.sent == [2 * PIECE, PIECE + 5, 5 * PIECE]


def test_another_run_goes_on_where_the_last_gave_up(site, tmp_path):
    site.cuts = [4 * PIECE]
    with pytest.raises(DownloadError, match="broke off after 262,144 bytes"):
        get(site, tmp_path, waits=())
    assert left_in(tmp_path / "cache") == ["a.zip.part", "a.zip.part.json"]
    assert get(site, tmp_path, waits=()).read_bytes() == BODY
    assert sum(site.sent) == len(BODY)


def test_a_server_without_ranges_is_asked_for_all_of_it_again(site, tmp_path):
    site.cuts, site.has_ranges = [2 * PIECE], False
    assert get(site, tmp_path).read_bytes() == BODY
    assert site.sent == [2 * PIECE, len(BODY)]


def test_a_file_that_changed_in_between_is_not_patched_together(site, tmp_path):
    site.cuts = [2 * PIECE]
    with pytest.raises(DownloadError, match="broke off"):
        get(site, tmp_path, waits=())
    site.files["/a.zip"], site.headers = BODY[::-1], {"ETag": '"two"'}
    assert get(site, tmp_path).read_bytes() == BODY[::-1]


def test_the_part_of_another_address_is_not_used(site, tmp_path):
    site.cuts = [2 * PIECE]
    with pytest.raises(DownloadError, match="broke off"):
        get(site, tmp_path, waits=())
    site.files["/b.zip"] = BODY[::-1]
    out = download(f"{site.address}/b.zip", tmp_path / "cache" / "a.zip")
    assert out.read_bytes() == BODY[::-1]
    assert site.asked[-1] == ("/b.zip", "")


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"ETag": '"one"'}, '"one"'),
        ({"ETag": 'W/"one"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
         "Mon, 01 Jan 2024 00:00:00 GMT"),
        ({}, ""),
    ],
)  # fmt: skip
def test_what_resuming_is_held_against_is_kept(site, tmp_path, headers, validator):
    site.cuts, site.headers = [PIECE], headers
    with pytest.raises(DownloadError, match="broke off"):
        get(site, tmp_path, waits=())
    note = json.loads((tmp_path / "cache" / "a.zip.part.json").read_text())
    assert note["validator"] == validator


def test_a_part_that_is_whole_already_is_taken(site, tmp_path):
    site.cuts = [2 * PIECE]
    with pytest.raises(DownloadError, match="broke off"):
        get(site, tmp_path, waits=())
    (tmp_path / "cache" / "a.zip.part").write_bytes(BODY)
    assert get(site, tmp_path).read_bytes() == BODY
    assert sum(site.sent) == 2 * PIECE


def test_a_part_longer_than_the_file_is_thrown_away(site, tmp_path):
    site.cuts = [2 * PIECE]
    with pytest.raises(DownloadError, match="broke off"):
        get(site, tmp_path, waits=())
    (tmp_path / "cache" / "a.zip.part").write_bytes(BODY + b"more")
    assert get(site, tmp_path).read_bytes() == BODY


def test_another_part_than_was_asked_for_is_not_used(site, tmp_path):
    site.cuts, site.skips = [2 * PIECE], [7]
    assert get(site, tmp_path).read_bytes() == BODY


def test_a_file_without_a_stated_length_arrives_whole(site, tmp_path):
    site.headers = {"Content-Length": ""}
    assert get(site, tmp_path).read_bytes() == BODY


def test_tries_end_and_waits_grow(site, tmp_path):
    site.cuts, site.has_ranges = [PIECE] * 9, False
    waited: list[float] = []
    with pytest.raises(DownloadError, match="broke off after 65,536 bytes"):
        get(site, tmp_path, waits=(1, 2, 4), sleep=waited.append)
    assert waited == [1, 2, 4]
    assert len(site.asked) == 4


def test_a_connection_that_gets_on_each_time_is_not_given_up(site, tmp_path):
    site.cuts = [PIECE] * 7
    assert get(site, tmp_path, waits=(1,)).read_bytes() == BODY


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(site, tmp_path, status):
    site.statuses = [status, status]
    assert get(site, tmp_path).read_bytes() == BODY
    assert len(site.asked) == 3


@pytest.mark.parametrize("status", [202, 403, 404])
def test_an_answer_that_waiting_does_not_change_is_an_error_at_once(site, tmp_path, status):
    site.statuses = [status] * 5
    with pytest.raises(DownloadError, match=f"{status}") as caught:
        get(site, tmp_path)
    assert site.address in caught.value.subject
    assert "--from" in caught.value.fix
    assert len(site.asked) == 1
    assert left_in(tmp_path) == []


def test_a_web_page_is_not_taken_for_an_archive(site, tmp_path):
    site.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(DownloadError, match="web page"):
        get(site, tmp_path)
    assert left_in(tmp_path) == []


def test_another_checksum_is_an_error_and_leaves_nothing(site, tmp_path):
    with pytest.raises(DownloadError, match=sha256(BODY)):
        get(site, tmp_path, checksum=f"sha256:{sha256(b'other')}")
    assert left_in(tmp_path) == []


def test_a_cached_file_with_another_checksum_is_downloaded_again(site, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "a.zip").write_bytes(b"altered")
    assert get(site, tmp_path, checksum=f"sha256:{sha256(BODY)}").read_bytes() == BODY


@pytest.mark.parametrize("checksum", [None, f"md5:{hashlib.md5(BODY).hexdigest()}"])
def test_a_cached_file_is_not_asked_for_again(site, tmp_path, checksum):
    get(site, tmp_path, checksum=checksum)
    get(site, tmp_path, checksum=checksum)
    assert len(site.asked) == 1


def test_a_server_that_is_not_there_is_an_error_that_names_it_and_the_way_around(tmp_path):
    url = "http://127.0.0.1:9/a.zip"  # the discard port: nothing listens
    with pytest.raises(DownloadError, match="cannot be downloaded") as caught:
        download(url, tmp_path / "a.zip", waits=())
    assert caught.value.subject == url
    assert "--from" in caught.value.fix


def test_an_address_that_makes_no_sense_is_an_error(tmp_path):
    with pytest.raises(DownloadError, match="cannot be downloaded"):
        download("http://[", tmp_path / "a.zip", waits=())


def test_a_disk_without_room_is_told_before_it_is_filled(site, tmp_path, monkeypatch):
    usage = downloading.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: usage._replace(free=1))
    with pytest.raises(DownloadError, match="free"):
        get(site, tmp_path)
    assert left_in(tmp_path) == []


def test_progress_never_goes_back(site, tmp_path):
    site.cuts = [2 * PIECE]
    told: list[tuple[int, int]] = []
    get(site, tmp_path, progress=lambda *now: told.append(now))
    assert told == [(done * PIECE, len(BODY)) for done in range(1, 9)]


def fetched(site: Site, tmp_path: Path, name: str = NAME, **options) -> Fetched:
    row = replace(
        find_row(name),
        archives=tuple(replace(a, checksum=None) for a in find_row(name).archives),
    )
    options = {"mirror": site.address, "cache": tmp_path / "cache", **options}
    return fetch(row, options.pop("to", tmp_path / name), **options)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_set_is_fetched_to_a_folder_that_the_index_reads(set_site, tmp_path, name):
    found = fetched(set_site, tmp_path, name)
    expected = sorted(place[0] for place in LAYOUTS[name].values() if place)
    assert sorted(case.label for case in read_cases(found.folder)) == expected
    assert len(set_site.asked) == len(DATASETS[name].archives)


def test_a_second_fetch_asks_nothing_of_the_network(set_site, tmp_path):
    first = fetched(set_site, tmp_path)
    again = fetched(set_site, tmp_path)
    assert len(set_site.asked) == 1
    assert (first.is_new, again.is_new) == (True, False)
    assert again.arranged == first.arranged


def test_a_fetch_to_another_folder_takes_what_was_downloaded(set_site, tmp_path):
    fetched(set_site, tmp_path)
    found = fetched(set_site, tmp_path, to=tmp_path / "deep" / "other")
    assert len(set_site.asked) == 1
    assert len(read_cases(found.folder)) == 3


def test_the_note_says_what_was_fetched(set_site, tmp_path):
    found = fetched(set_site, tmp_path, today=date(2025, 2, 3))
    note = json.loads((found.folder / "fetch.json").read_text())
    assert note["name"] == NAME
    assert note["fetched"] == "2025-02-03"
    assert note["archives"][0]["sha256"] == sha256(set_site.files[f"/{ARCHIVE}"])
    assert note["license"] == DATASETS[NAME].license
    assert note["cases"] == {"mri_healthy": 1, "mri_tumor": 2}


def test_a_checksum_found_at_first_is_told_and_held_against_later(set_site, tmp_path):
    first = fetched(set_site, tmp_path)
    assert first.first_seen == {ARCHIVE: sha256(set_site.files[f"/{ARCHIVE}"])}
    (tmp_path / "cache" / "downloads" / NAME / ARCHIVE).unlink()
    set_site.files[f"/{ARCHIVE}"] = zip_bytes({"yes/1.jpg": b"another version"})
    with pytest.raises(DownloadError, match="has the checksum"):
        fetched(set_site, tmp_path, to=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_new_version_is_taken_if_it_is_pinned(set_site, tmp_path):
    fetched(set_site, tmp_path)
    other = set_site.files[f"/{DATASETS['br35h'].archives[0].name}"]  # yes/ and no/ too
    set_site.files[f"/{ARCHIVE}"] = other
    found = fetched(set_site, tmp_path, to=tmp_path / "other", sha256=sha256(other).upper())
    assert found.first_seen == {}
    assert fetched(set_site, tmp_path, to=tmp_path / "third").is_new, "the pin is remembered"


def test_a_published_checksum_stands_above_what_was_seen(set_site, tmp_path):
    with pytest.raises(DownloadError, match="instead of md5:74b949ad"):
        fetch(
            find_row("figshare"), tmp_path / "f", cache=tmp_path / "cache", mirror=set_site.address
        )
    assert left_in(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("name", "pin", "fact"),
    [(NAME, "0" * 63, "is not a sha256"), ("figshare", "0" * 64, "has 4 archives")],
)
def test_a_pin_that_cannot_be_meant_is_refused(tmp_path, name, pin, fact):
    with pytest.raises(DownloadError, match=fact):
        fetch(find_row(name), tmp_path / "f", cache=tmp_path, sha256=pin)


def test_a_folder_made_from_another_archive_than_the_pinned_one_is_refused(set_site, tmp_path):
    fetched(set_site, tmp_path)
    with pytest.raises(DownloadError, match="was made from"):
        fetched(set_site, tmp_path, sha256="0" * 64)


def test_what_is_no_archive_is_not_kept_for_the_next_time(set_site, tmp_path):
    whole = set_site.files[f"/{ARCHIVE}"]
    set_site.files[f"/{ARCHIVE}"] = whole[:-100]
    with pytest.raises(ArchiveError, match="cut short"):
        fetched(set_site, tmp_path)
    assert left_in(tmp_path / "cache") == []
    assert not (tmp_path / NAME).exists()
    set_site.files[f"/{ARCHIVE}"] = whole
    assert fetched(set_site, tmp_path).is_new


def test_an_interrupted_unpacking_leaves_nothing_that_looks_whole(set_site, tmp_path, monkeypatch):
    def stop(_row: object, _paths: object, partial: Path, **_: object) -> None:
        (partial / "yes").mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fetching, "arrange", stop)
        with pytest.raises(KeyboardInterrupt):
            fetched(set_site, tmp_path)
    assert not list(tmp_path.glob(f"{NAME}*"))
    assert fetched(set_site, tmp_path).is_new
    assert len(set_site.asked) == 1, "the download was kept"


def test_what_a_kill_left_is_not_taken_for_the_set(set_site, tmp_path):
    (tmp_path / f"{NAME}.partial").mkdir()
    (tmp_path / f"{NAME}.partial" / "cases.csv").write_text("path,label\n")
    assert len(read_cases(fetched(set_site, tmp_path).folder)) == 3
    assert (tmp_path / f"{NAME}.partial" / "cases.csv").exists(), "it may be the user's own"


def test_a_folder_with_other_things_is_left_as_it_is(set_site, tmp_path):
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "thesis.txt").write_text("mine")
    with pytest.raises(DownloadError, match="not a data set fetched before"):
        fetched(set_site, tmp_path)
    assert left_in(tmp_path / NAME) == ["thesis.txt"]
    assert set_site.asked == []


def test_the_folder_of_another_set_is_refused(set_site, tmp_path):
    fetched(set_site, tmp_path)
    with pytest.raises(DownloadError, match="holds the data set 'navoneel', not br35h"):
        fetched(set_site, tmp_path, "br35h", to=tmp_path / NAME)


def test_a_folder_that_lost_files_is_told(set_site, tmp_path):
    found = fetched(set_site, tmp_path)
    read_cases(found.folder)[0].path.unlink()
    with pytest.raises(DownloadError, match="no longer whole"):
        fetched(set_site, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "navoneel"}'])
def test_an_altered_note_is_an_error(set_site, tmp_path, text):
    found = fetched(set_site, tmp_path)
    (found.folder / "fetch.json").write_text(text)
    with pytest.raises(DownloadError, match="not a note of a fetch"):
        fetched(set_site, tmp_path)


@pytest.mark.parametrize("mirror", ["made", f"made/{ARCHIVE}"], ids=["folder", "archive"])
def test_a_mirror_on_this_machine_needs_no_network(set_site, tmp_path, mirror):
    found = fetched(set_site, tmp_path, mirror=str(tmp_path / mirror))
    assert len(read_cases(found.folder)) == 3
    assert set_site.asked == []
    assert left_in(tmp_path / "cache") == [], "nothing is copied"


def test_what_lay_in_a_mirror_is_not_held_against_a_download(set_site, tmp_path):
    own = tmp_path / "own.zip"
    own.write_bytes(zip_bytes({"yes/1.jpg": b"a picture of mine"}))
    fetched(set_site, tmp_path, to=tmp_path / "mine", mirror=str(own))
    assert fetched(set_site, tmp_path).is_new


def test_what_was_downloaded_is_held_against_a_mirror(set_site, tmp_path):
    fetched(set_site, tmp_path)
    own = tmp_path / "own.zip"
    own.write_bytes(zip_bytes({"yes/1.jpg": b"a picture of mine"}))
    with pytest.raises(DownloadError, match="has not the checksum"):
        fetched(set_site, tmp_path, to=tmp_path / "mine", mirror=str(own))


def test_the_address_of_an_archive_itself_is_a_mirror(set_site, tmp_path):
    set_site.files["/renamed.zip"] = set_site.files[f"/{ARCHIVE}"]
    assert fetched(set_site, tmp_path, mirror=f"{set_site.address}/renamed.zip").is_new


def test_a_mirror_without_the_archive_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DownloadError, match="does not exist") as caught:
        fetch(find_row(NAME), tmp_path / "n", cache=tmp_path / "c", mirror=str(tmp_path))
    assert ARCHIVE in caught.value.fix


def test_an_archive_in_a_mirror_with_another_checksum_is_refused_and_kept(set_site, tmp_path):
    with pytest.raises(DownloadError, match="has not the checksum"):
        fetched(set_site, tmp_path, mirror=str(tmp_path / "made"), sha256="0" * 64)
    assert (tmp_path / "made" / ARCHIVE).is_file()


def test_the_empty_working_folder_can_be_filled(set_site, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    fetched(set_site, tmp_path, to=Path("."))
    assert len(read_cases(tmp_path / "here")) == 3


def test_an_unknown_name_is_an_error_with_the_known_ones():
    with pytest.raises(DownloadError, match="sartaj"):
        find_row("nobody")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("TUMORLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["data", "fetch", *words])


def test_the_command_tells_what_it_fetches_and_prints_the_folder(set_site, run):
    result = run(NAME, "--from", set_site.address)
    assert result.exit_code == 0
    assert result.stdout == f"{NAME}\n"
    for part in (DATASETS[NAME].license, DATASETS[NAME].citation, "mri_tumor 2",
                 "no checksum is published"):  # fmt: skip
        assert part in " ".join(result.stderr.split())


def test_the_command_says_that_a_set_is_there_already(set_site, run):
    run(NAME, "--from", set_site.address, "--to", "sets/n")
    again = run(NAME, "--to", "sets/n")
    assert again.exit_code == 0
    assert "nothing was downloaded" in again.stderr
    assert len(set_site.asked) == 1


def test_the_command_has_an_example_that_names_a_known_set(run):
    found = re.search(r"tumorlens data fetch (\w+)", run("--help").stdout.split("Example")[1])
    assert found is not None
    assert found[1] in DATASETS


def test_on_a_terminal_nothing_is_fetched_after_a_no(set_site, run, monkeypatch):
    from tumorlens.cli import data

    asked: list[str] = []

    def answer_no(question: str, **options: object) -> None:
        asked.append(question)
        raise data.typer.Abort

    monkeypatch.setattr(data, "_is_terminal", lambda: True)
    monkeypatch.setattr(data.typer, "confirm", answer_no)
    assert run(NAME, "--from", set_site.address).exit_code == 1
    assert len(asked) == 1
    assert set_site.asked == []
    assert run(NAME, "--from", set_site.address, "--yes").exit_code == 0
    assert len(asked) == 1
