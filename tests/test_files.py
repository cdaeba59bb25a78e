"""Files that are whole or not there at all."""

import pytest

from tumorlens.files import replacing


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


def test_what_an_earlier_try_left_behind_is_written_over(tmp_path):
    path = tmp_path / "file.csv"
    (tmp_path / "file.csv.partial").write_text("half of something longer")
    with replacing(path) as partial:
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert not partial.exists()
