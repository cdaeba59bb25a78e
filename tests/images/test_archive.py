"""No archive writes outside of its folder, fills the disk, or leaves half of itself behind."""

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from support.public_sets import zip_bytes

from tumorlens.errors import ArchiveError
from tumorlens.images.archive import (
    Limits,
    built_aside,
    open_archive,
    read_member,
    unpack,
)


def archive_of(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "set.zip"
    path.write_bytes(data)
    return path


def unpacked(path: Path, into: Path, **options) -> list[str]:
    with open_archive(path, **options) as opened:
        unpack(opened, opened.members, into)
    return sorted(p.relative_to(into).as_posix() for p in into.rglob("*") if p.is_file())


def with_member(name: str, data: bytes = b"data", **fields) -> bytes:
    """Write a good file, and one whose entry has the given fields."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("good.txt", b"good")
        info = zipfile.ZipInfo(name)
        for field, value in fields.items():
            setattr(info, field, value)
        archive.writestr(info, data)
    return memory.getvalue()


def encrypted() -> bytes:
    data = bytearray(zip_bytes({"secret.txt": b"data"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


def bomb(size: int = 40 * 2**20) -> bytes:
    return zip_bytes({"zeros.png": bytes(size)})


def test_files_are_unpacked_as_they_were(tmp_path):
    files = {"a/b/1.txt": b"one", "a/2.txt": b"", "Ünï (1).txt": b"three"}
    into = tmp_path / "out"
    assert unpacked(archive_of(tmp_path, zip_bytes(files)), into) == sorted(files)
    assert all((into / name).read_bytes() == data for name, data in files.items())


def test_folders_of_the_archive_are_no_members(tmp_path):
    with open_archive(archive_of(tmp_path, zip_bytes({"a/": b"", "a/1": b"x"}))) as opened:
        assert [member.name for member in opened.members] == ["a/1"]


def test_backslashes_are_folders(tmp_path):
    path = archive_of(tmp_path, with_member("yes\\1.txt"))
    assert unpacked(path, tmp_path / "out") == ["good.txt", "yes/1.txt"]


UNSAFE = {
    "parent": "../evil.txt",
    "parent inside": "a/../../evil.txt",
    "parent with backslashes": "..\\evil.txt",
    "absolute": "/evil.txt",
    "absolute with a backslash": "\\evil.txt",
    "drive": "C:/evil.txt",
    "drive without a slash": "C:evil.txt",
    "share": "\\\\server\\share\\evil.txt",
    "folder above": "../evil/",
}


@pytest.mark.parametrize("name", UNSAFE.values(), ids=UNSAFE.keys())
def test_a_path_that_leaves_its_folder_is_refused(tmp_path, name):
    path = archive_of(tmp_path, with_member(name))
    with pytest.raises(ArchiveError, match="outside of its folder"):
        unpacked(path, tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("evil*"))
    assert not list(tmp_path.rglob("good.txt")), "the archive is refused as a whole"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path, kind):
    path = archive_of(tmp_path, with_member("l", b"/etc", external_attr=(kind | 0o777) << 16))
    with pytest.raises(ArchiveError, match="link or a device"):
        unpacked(path, tmp_path / "out")


def test_a_file_without_a_name_is_refused(tmp_path):
    data = bytearray(zip_bytes({"1": b"data"}))
    data[data.index(b"PK\x01\x02") + 28] = 0  # the length of the name in the list of files
    data[data.index(b"PK\x01\x02") + 30] = 1  # one byte more of other fields
    with pytest.raises(ArchiveError, match="which has no name"):
        unpacked(archive_of(tmp_path, bytes(data)), tmp_path / "out")


def test_an_encrypted_file_is_refused(tmp_path):
    with pytest.raises(ArchiveError, match="encrypted"):
        unpacked(archive_of(tmp_path, encrypted()), tmp_path / "out")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_may_take_any_memory_are_refused(tmp_path, method):
    path = archive_of(tmp_path, with_member("a.txt", compress_type=method))
    with pytest.raises(ArchiveError, match="method that is not read"):
        unpacked(path, tmp_path / "out")


def test_a_name_that_stands_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        data = with_member("good.txt", b"other")
    with pytest.raises(ArchiveError, match="twice"):
        unpacked(archive_of(tmp_path, data), tmp_path / "out")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    with pytest.raises(ArchiveError, match="above the cap of 100 to 1"):
        unpacked(archive_of(tmp_path, bomb()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_small_file_may_be_packed_well(tmp_path):
    assert unpacked(archive_of(tmp_path, bomb(500_000)), tmp_path / "out") == ["zeros.png"]


@pytest.mark.parametrize(
    ("limits", "cap"),
    [
        (Limits(members=2), "2"),
        (Limits(total_bytes=5), "5"),
        (Limits(member_bytes=3), "3"),
    ],
)
def test_an_archive_above_a_limit_is_refused(tmp_path, limits, cap):
    path = archive_of(tmp_path, zip_bytes({"1": b"xxxx", "2": b"y", "3": b"z"}))
    with pytest.raises(ArchiveError, match=f"above the cap of {cap}"):
        unpacked(path, tmp_path / "out", limits=limits)


def test_a_list_of_files_that_would_fill_the_memory_is_refused_before_it_is_read(tmp_path):
    data = bytearray(zip_bytes({"1": b"x"}))
    end = data.rindex(b"PK\x05\x06")
    data[end + 12 : end + 16] = struct.pack("<L", 2**31)  # the declared size of the list
    with pytest.raises(ArchiveError, match="above the cap"):
        unpacked(archive_of(tmp_path, bytes(data)), tmp_path / "out")


def test_a_file_that_is_larger_than_it_declares_is_not_unpacked_beyond(tmp_path):
    data = bytearray(zip_bytes({"1.txt": bytes(5000)}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(signature) + offset
        data[start : start + 4] = struct.pack("<L", 10)
    with pytest.raises(ArchiveError, match=r"1\.txt"):
        unpacked(archive_of(tmp_path, bytes(data)), tmp_path / "out")
    assert (tmp_path / "out" / "1.txt").stat().st_size <= 10


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (b"", "is empty"),
        (b"\n <!DOCTYPE html><html>Sign in</html>", "is a web page"),
        (b"\x89PNG and more", "is another file"),
        (zip_bytes({"1.txt": b"x" * 5000})[:-30], "cut short"),
        (zip_bytes({"1.txt": b"x" * 5000})[:40], "cut short"),
        (zip_bytes({"1.txt": b"x" * 5000})[20:], "starts before the archive"),
    ],
    ids=["empty", "page", "picture", "end missing", "beginning only", "start missing"],
)
def test_a_file_that_is_no_whole_archive_is_an_error(tmp_path, data, fact):
    with pytest.raises(ArchiveError, match=fact):
        unpacked(archive_of(tmp_path, data), tmp_path / "out")


def test_a_damaged_file_inside_is_an_error_that_names_it(tmp_path):
    data = bytearray(with_member("yes/1.txt", b"pixels"))
    data[data.index(b"pixels")] ^= 1
    path = archive_of(tmp_path, bytes(data))
    with pytest.raises(ArchiveError, match=r"yes/1\.txt.*CRC"):
        unpacked(path, tmp_path / "out")
    with open_archive(path) as opened, pytest.raises(ArchiveError, match=r"yes/1\.txt"):
        read_member(opened, opened.members[-1])


def test_progress_counts_files(tmp_path):
    told: list[tuple[int, int]] = []
    with open_archive(archive_of(tmp_path, zip_bytes({"1": b"x", "2": b"y"}))) as opened:
        unpack(opened, opened.members, tmp_path / "out", progress=lambda *now: told.append(now))
    assert told == [(1, 2), (2, 2)]


def test_a_folder_built_aside_gets_its_name_at_the_end(tmp_path):
    with built_aside(tmp_path / "set") as partial:
        (partial / "1.txt").write_text("x")
        assert not (tmp_path / "set").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "1.txt"]


@pytest.mark.parametrize("failure", [ArchiveError("a", "b", "c"), KeyboardInterrupt()])
def test_a_folder_that_was_not_finished_leaves_nothing(tmp_path, failure):
    def build() -> None:
        with built_aside(tmp_path / "set") as partial:
            (partial / "1.txt").write_text("x")
            raise failure

    with pytest.raises(type(failure)):
        build()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_somebody_called_partial_stays(tmp_path):
    (tmp_path / "set.partial" / "yes").mkdir(parents=True)
    with built_aside(tmp_path / "set") as partial:
        assert not list(partial.iterdir())
    assert (tmp_path / "set.partial" / "yes").is_dir()


def test_an_empty_folder_is_filled_and_another_is_left_as_it_is(tmp_path):
    (tmp_path / "set").mkdir()
    with built_aside(tmp_path / "set") as partial:
        (partial / "1.txt").write_text("x")
    with pytest.raises(ArchiveError, match="exists"), built_aside(tmp_path / "set") as partial:
        (partial / "2.txt").write_text("x")
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["1.txt"]
