"""Facts about which files of a folder are meant as scans."""

import os
from pathlib import Path

import pytest

from tumorlens.images.readers import BESIDE, READERS, SYSTEM_FILES, find_scans


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_scans([folder])]


def test_scans_are_found_at_every_depth_in_order(tmp_path):
    touch(tmp_path, "b.png", "a/z.jpg", "a/c/d.tif", "a b.webp")
    assert find_scans([tmp_path]) == sorted(tmp_path / n for n in (
        "b.png", "a/z.jpg", "a/c/d.tif", "a b.webp"))  # fmt: skip


@pytest.mark.parametrize(
    "suffix", sorted(suffix for reader in READERS for suffix in reader.suffixes)
)
def test_every_suffix_of_an_image_is_listed_in_either_case(tmp_path, suffix):
    touch(tmp_path, f"a{suffix}", f"b{suffix.upper()}")
    assert names(tmp_path) == [f"a{suffix}", f"b{suffix.upper()}"]


@pytest.mark.parametrize("suffix", sorted(BESIDE))
def test_what_lies_beside_scans_is_passed_over(tmp_path, suffix):
    touch(tmp_path, f"notes{suffix}", f"NOTES{suffix.upper()}", "a.png")
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("name", ["Thumbs.db", "._a.png", *sorted(SYSTEM_FILES)])
def test_what_systems_put_into_folders_is_passed_over(tmp_path, name):
    touch(tmp_path, name, "a.png")
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize(
    "name",
    ["scan.dcm", "volume.nii.gz", "VOLUME.NII.GZ", "a.hdr", "scan", "scan.png.bak", "scan.xyz"],
)
def test_a_file_of_another_kind_is_not_dropped_in_silence(tmp_path, name):
    touch(tmp_path, name)
    assert names(tmp_path) == [name]


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    touch(tmp_path, ".DS_Store", "._a.png", ".thumbs/a.png", "a.png")
    assert names(tmp_path) == ["a.png"]


@pytest.mark.parametrize("name", [".hidden.png", "table.csv", "missing.png"])
def test_a_file_named_outright_is_always_listed(tmp_path, name):
    assert find_scans([tmp_path / name]) == [tmp_path / name]


def test_arguments_keep_their_order_and_may_be_text(tmp_path):
    touch(tmp_path, "b/1.png", "a/1.png")
    found = find_scans([str(tmp_path / "b"), tmp_path / "a", str(tmp_path / "a/1.png")])
    assert found == [tmp_path / "b/1.png", tmp_path / "a/1.png", tmp_path / "a/1.png"]


def test_a_folder_named_like_an_image_is_listed_and_not_entered(tmp_path):
    touch(tmp_path, "x.png/inside.png")
    assert names(tmp_path) == ["x.png"]


def test_a_link_to_the_folder_above_is_listed_once_and_not_followed(tmp_path):
    touch(tmp_path, "a/1.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert names(tmp_path) == ["a/1.png", "a/up"]


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path):
    touch(tmp_path, "there/1.png")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/link").symlink_to(tmp_path / "there")
    assert names(tmp_path / "here") == ["link/1.png"]


def test_broken_links_and_loops_of_links_are_listed(tmp_path):
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.png").symlink_to(tmp_path / "pool.png")
    (tmp_path / "pool.png").symlink_to(tmp_path / "loop.png")
    assert names(tmp_path) == ["broken.png", "loop.png", "pool.png"]


def test_a_name_that_is_not_unicode_is_listed(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png")
    Path(path).write_bytes(b"")
    assert find_scans([tmp_path]) == [Path(path)]


def test_an_empty_folder_holds_no_scans(tmp_path):
    assert find_scans([tmp_path]) == []


@pytest.mark.parametrize("name", ["a" * 5000, "nul\0byte.png"])
def test_a_name_no_file_can_have_is_listed_so_that_it_gives_a_row(name):
    assert find_scans([name]) == [Path(name)]


def test_a_folder_that_may_not_be_read_is_listed_and_ends_nothing(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "locked/b.png", "z.png")
    scandir = os.scandir

    def guarded(folder):
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)  # root, as in a container, is refused nothing
    assert names(tmp_path) == ["a.png", "locked", "z.png"]
