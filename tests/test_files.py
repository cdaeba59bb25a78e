"""Files that are whole or not there at all, and tables that no spreadsheet runs."""

import csv

import pytest

from tumorlens.files import read_table, replacing, table_text, write_table


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "deep" / "file.csv"
    with replacing(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["file.csv"]


def test_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_an_old_file_stays_where_the_block_fails(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert path.read_text() == "old"


def test_a_failed_try_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError, match="stopped"), replacing(tmp_path / "file.csv"):
        raise RuntimeError("stopped")
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_do_not_mix(tmp_path):
    path = tmp_path / "file.csv"
    with replacing(path) as one:
        with replacing(path) as other:
            one.write_text("one")
            other.write_text("other")
        assert path.read_text() == "other"
    assert path.read_text() == "one"


def test_a_planted_link_is_not_followed(tmp_path):
    theirs = tmp_path / "theirs.txt"
    theirs.write_text("theirs")
    (tmp_path / "file.csv.partial").symlink_to(theirs)
    (tmp_path / "file.csv").symlink_to(theirs)
    with replacing(tmp_path / "file.csv") as partial:
        partial.write_text("ours")
    assert theirs.read_text() == "theirs"
    assert (tmp_path / "file.csv").read_text() == "ours"


CELLS = [
    "=1+1",
    "+1",
    "-2.5",
    "@cmd",
    "\tx",
    "\rx",
    "'=1",
    "''@x",
    "plain",
    "a,b",
    "",
    "'x",
    "-x.png",
]


def test_a_table_reads_back_as_it_was_written(tmp_path):
    write_table(tmp_path / "t.csv", ["a", "b"], [{"a": cell} for cell in CELLS])
    assert [row["a"] for row in read_table(tmp_path / "t.csv")] == CELLS


def test_no_cell_of_a_table_starts_a_formula():
    cells = [row[0] for row in csv.reader(table_text(["a"], [[c] for c in CELLS]).splitlines())]
    started = {c for c in cells if c and c[0] in "=+-@\t\r"}
    assert started == {"+1", "-2.5"}  # numbers run as numbers


def test_numbers_are_written_as_they_are():
    assert table_text(["a", "b"], [[-1.5, 3], [None, "x"]]).splitlines() == ["a,b", "-1.5,3", ",x"]
