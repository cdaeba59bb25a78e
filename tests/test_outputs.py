"""What a command may write over: what tumorlens made, and never what it reads."""

import os
import socket
from pathlib import Path

import pytest

from tumorlens.errors import OutputError
from tumorlens.files import write_file, write_table
from tumorlens.outputs import MARK, Outputs, mark_folder

COLUMNS = ("path", "decision", "notes")
NEEDED = ("path", "decision")


def claim(out: Path, *inputs: Path, overwrite: bool = False) -> None:
    Outputs(*inputs, overwrite=overwrite).claim_table(out, COLUMNS, NEEDED)


@pytest.mark.parametrize("columns", [COLUMNS, NEEDED])
def test_a_table_of_any_version_of_ours_may_be_written_over(tmp_path, columns):
    write_table(tmp_path / "t.csv", columns, [])
    claim(tmp_path / "t.csv")


FOREIGN = {
    "a table": b"path,decision,hospital\na.png,tumor,North\n",
    "a part of ours": b"path\na.png\n",
    "a text": b"notes of a year\n",
    "an image": b"\x89PNG\r\n\x1a\n\0\0",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN.keys())
def test_what_tumorlens_did_not_make_is_written_over_only_where_that_is_asked(tmp_path, content):
    out = tmp_path / "t.csv"
    out.write_bytes(content)
    with pytest.raises(OutputError, match="--overwrite"):
        claim(out)
    claim(out, overwrite=True)
    assert out.read_bytes() == content


def test_an_empty_file_is_nobodys(tmp_path):
    (tmp_path / "t.csv").touch()
    claim(tmp_path / "t.csv")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["t.csv", "hard.csv", "link.csv"])
def test_what_is_read_is_never_written_over(tmp_path, name, overwrite):
    write_table(tmp_path / "t.csv", COLUMNS, [])
    os.link(tmp_path / "t.csv", tmp_path / "hard.csv")
    (tmp_path / "link.csv").symlink_to("t.csv")
    with pytest.raises(OutputError, match="read"):
        claim(tmp_path / name, tmp_path / "t.csv", overwrite=overwrite)


def test_a_file_among_the_scans_is_never_written_over(tmp_path):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.png").write_bytes(b"a scan")
    with pytest.raises(OutputError, match="lies among"):
        claim(tmp_path / "scans" / "a.png", tmp_path / "scans", overwrite=True)


def test_a_link_is_not_followed(tmp_path):
    write_table(tmp_path / "t.csv", COLUMNS, [])
    (tmp_path / "link.csv").symlink_to("t.csv")
    with pytest.raises(OutputError, match="is a link"):
        claim(tmp_path / "link.csv")
    claim(tmp_path / "link.csv", overwrite=True)
    write_file(tmp_path / "link.csv", "new")
    assert (tmp_path / "t.csv").read_text().startswith("path")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(os.path.relpath(path))


def make_link_to_device(path: Path) -> None:
    path.symlink_to(os.devnull)


@pytest.mark.parametrize("make", [make_pipe, make_socket, make_link_to_device])
def test_a_pipe_or_device_is_never_written_over(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "t.csv")
    with pytest.raises(OutputError, match="pipe or a device"):
        claim(tmp_path / "t.csv", overwrite=True)


def test_a_folder_is_no_place_for_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="is a folder"):
        claim(Path(), overwrite=True)


def test_two_outputs_of_one_command_are_two_files(tmp_path):
    outputs = Outputs()
    outputs.claim_report(tmp_path / "a.json")
    with pytest.raises(OutputError, match="two outputs"):
        outputs.claim_table(tmp_path / "x" / ".." / "a.json", COLUMNS, NEEDED)


def test_a_place_below_a_file_is_refused_before_the_work(tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(OutputError, match="no folder"):
        claim(tmp_path / "a.txt" / "t.csv")


@pytest.mark.parametrize(
    "content",
    [
        b"<!doctype html>\n<html><head><title>Tumorlens: a.png</title>",
        b"%PDF-1.3\n/Creator (Tumorlens)\n",
        b'{"schema": 1, "predictions": []}',
    ],
)
def test_a_report_of_ours_may_be_written_over(tmp_path, content):
    (tmp_path / "r").write_bytes(content)
    Outputs().claim_report(tmp_path / "r")


@pytest.mark.parametrize("content", [b"<!doctype html>\n<title>Mine", b"%PDF-1.3", b"[1]", b"\xff"])
def test_a_report_of_somebody_is_not(tmp_path, content):
    (tmp_path / "r").write_bytes(content)
    with pytest.raises(OutputError):
        Outputs().claim_report(tmp_path / "r")


# --- folders --------------------------------------------------------------------------------


def test_a_new_or_empty_folder_is_marked_and_claimed_again(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        Outputs().claim_folder(tmp_path / name)
        assert [path.name for path in (tmp_path / name).iterdir()] == [MARK]
        (tmp_path / name / "audit.html").touch()
        Outputs().claim_folder(tmp_path / name)


def test_a_folder_of_somebody_is_used_only_where_that_is_asked_and_not_marked(tmp_path):
    (tmp_path / "theirs.txt").touch()
    with pytest.raises(OutputError, match="did not make"):
        Outputs().claim_folder(tmp_path)
    Outputs(overwrite=True).claim_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.txt"]


@pytest.mark.parametrize("names", [("audit.json", "files.csv"), ("bundle.json", "model.onnx")])
def test_a_folder_of_an_older_version_is_ours(tmp_path, names):
    for name in names:
        (tmp_path / name).touch()
    Outputs().claim_folder(tmp_path)


def test_a_folder_that_is_read_is_never_written_into(tmp_path):
    mark_folder(tmp_path / "scans")
    for out in (tmp_path / "scans", tmp_path):
        with pytest.raises(OutputError, match="what is read"):
            Outputs(tmp_path / "scans", overwrite=True).claim_folder(out)


def test_a_file_that_is_read_does_not_lie_in_a_folder_that_is_written(tmp_path):
    mark_folder(tmp_path)
    (tmp_path / "files.csv").touch()
    with pytest.raises(OutputError, match=r"files\.csv, what is read"):
        Outputs(tmp_path / "files.csv").claim_folder(tmp_path)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_or_a_broken_link_is_no_folder(tmp_path, overwrite):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(OutputError, match="no folder"):
            Outputs(overwrite=overwrite).claim_folder(tmp_path / name)
