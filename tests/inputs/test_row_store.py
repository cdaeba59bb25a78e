"""Rows of arrays are found again by key, whole or not at all."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from support.interruption import stop_before_rename

from tumorlens.inputs import row_store as chunks
from tumorlens.inputs.row_store import Rows, hash_files, in_chunks, load_index, write_chunk

RECORD = np.dtype([("name", np.uint8, 2), ("views", np.int8, (3, 2, 2))])


def numbered(*numbers: int) -> np.ndarray:
    """Rows of which each shows its number everywhere."""
    return np.array(numbers, np.uint8)[:, None, None] * np.ones((1, 2, 3), np.uint8)


def taken(folder: Path, keys: list[str], *, empty: int = 0) -> list[int]:
    """The number of each key's row; `empty` where there is none."""
    index = load_index(folder)
    out = np.full((len(keys), 2, 3), empty, np.uint8)
    found = Rows([index.get(key) for key in keys]).take(np.arange(len(keys)), out)
    assert (found == found[:, :1, :1]).all(), "a row is whole"
    return found[:, 0, 0].tolist()


def test_rows_of_several_chunks_come_in_the_order_asked_for(tmp_path):
    write_chunk(tmp_path, ["a", "b", "c"], numbered(1, 2, 3))
    write_chunk(tmp_path, ["d", "e"], numbered(4, 5))
    assert taken(tmp_path, ["e", "a", "d", "c", "a"]) == [5, 1, 4, 3, 1]


def test_a_key_without_a_row_leaves_its_place_as_it_was(tmp_path):
    write_chunk(tmp_path, ["a"], numbered(1))
    assert taken(tmp_path, ["x", "a", ""], empty=77) == [77, 1, 77]


def test_an_empty_folder_has_no_rows(tmp_path):
    assert load_index(tmp_path) == {}
    assert taken(tmp_path, ["a", "b"]) == [0, 0]
    assert taken(tmp_path, []) == []


def test_take_fills_and_returns_the_array_it_was_given(tmp_path):
    write_chunk(tmp_path, ["a", "b"], numbered(1, 2))
    index = load_index(tmp_path)
    out = np.zeros((1, 2, 3), np.uint8)
    assert Rows([index["a"], index["b"]]).take(np.array([1]), out) is out
    assert (out == 2).all()


def test_one_field_of_a_record_is_taken_and_one_part_of_it(tmp_path):
    rows = np.zeros(3, RECORD)
    rows["name"] = [[1, 1], [2, 2], [3, 3]]
    rows["views"] = np.arange(36).reshape(3, 3, 2, 2)
    write_chunk(tmp_path, ["a", "b", "c"], rows)
    index = load_index(tmp_path)
    opened, positions = Rows([index[key] for key in "abc"]), np.array([2, 0, 2])
    names = opened.take(positions, np.zeros((3, 2), np.uint8), field="name")
    assert names[:, 0].tolist() == [3, 1, 3]
    parts = np.array([0, 2, 1])
    views = opened.take(positions, np.zeros((3, 2, 2), np.int8), field="views", part=parts)
    np.testing.assert_array_equal(views, rows["views"][positions, parts])


def test_two_runs_share_a_folder(tmp_path):
    """Both add the same key at the same time; either row is right, and no other is lost."""
    write_chunk(tmp_path, ["a", "b"], numbered(1, 2))
    write_chunk(tmp_path, ["b", "c"], numbered(2, 3))
    assert taken(tmp_path, ["a", "b", "c"]) == [1, 2, 3]


def test_rows_that_are_open_stay_when_others_are_added(tmp_path):
    write_chunk(tmp_path, ["a"], numbered(1))
    opened = Rows([load_index(tmp_path)["a"]])
    write_chunk(tmp_path, ["a"], numbered(9))
    assert (opened.take(np.array([0]), np.zeros((1, 2, 3), np.uint8)) == 1).all()


@pytest.mark.parametrize("renamed", [0, 1])
def test_a_chunk_that_was_interrupted_is_not_seen(tmp_path, monkeypatch, renamed):
    """Stop before the rows have their name, then before the keys have theirs."""
    write_chunk(tmp_path, ["a"], numbered(1))
    with monkeypatch.context() as patch:
        stop_before_rename(patch, done=renamed)
        with pytest.raises(KeyboardInterrupt):
            write_chunk(tmp_path, ["b"], numbered(2))
    assert list(load_index(tmp_path)) == ["a"]
    write_chunk(tmp_path, ["b"], numbered(2))
    assert taken(tmp_path, ["a", "b"]) == [1, 2]


def test_half_written_rows_are_not_seen(tmp_path, monkeypatch):
    def failing(file, rows):
        file.write(b"\x93NUMPY half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", failing)
        with pytest.raises(OSError, match="No space"):
            write_chunk(tmp_path, ["a"], numbered(1))
    assert load_index(tmp_path) == {}


def test_a_list_is_cut_into_pieces_that_hold_it_all(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 3)
    assert [list(piece) for piece in in_chunks(range(7))] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_chunks([])) == []


def test_equal_bytes_have_equal_hashes_in_the_order_of_the_files(tmp_path):
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name).write_bytes(content)
    a, b, c = hash_files([tmp_path / name for name in "abc"])
    assert a == c != b
    assert a == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"


def test_what_cannot_be_read_has_no_hash(tmp_path):
    (tmp_path / "whole.png").write_bytes(b"bytes")
    (tmp_path / "folder.png").mkdir()
    names = ("whole.png", "missing.png", "folder.png", "a\0b.png")
    found = hash_files([tmp_path / name for name in names])
    assert [bool(h) for h in found] == [True, False, False, False]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_is_not_waited_for(tmp_path):
    pipe, found = tmp_path / "pipe.png", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(hash_files([pipe])), daemon=True)
    reader.start()
    reader.join(3)
    waited = reader.is_alive()
    if waited:  # let it go, so that the tests can end
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        reader.join(5)
    assert not waited
    assert found == [("",)]
