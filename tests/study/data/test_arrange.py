"""Every public set is arranged into cases from a small archive with its own layout."""

import csv
import zipfile
from collections import Counter

import pytest
from support.public_sets import LAYOUTS, picture_bytes, write_archives, zip_bytes

from tumorlens.errors import ArchiveError
from tumorlens.images.archive import open_archive
from tumorlens.images.readers import read_scan
from tumorlens.study.data.datasets import arrange as arranging
from tumorlens.study.data.datasets.arrange import arrange
from tumorlens.study.data.index import read_cases
from tumorlens.study.data.registry import DATASETS, Rule

every_set = pytest.mark.parametrize("name", DATASETS)


def made(name, tmp_path, files=None):
    """Arrange an archive of a set, its own layout unless other files are given."""
    archives = write_archives(name, tmp_path / "mirror")
    if files is not None:
        archives[0].write_bytes(zip_bytes(files))
    into = tmp_path / "out"
    return into, arrange(DATASETS[name], archives, into)


def test_every_set_of_the_registry_has_a_layout_here():
    assert set(LAYOUTS) == set(DATASETS)


@every_set
def test_a_set_becomes_its_cases(name, tmp_path):
    into, arranged = made(name, tmp_path)
    expected = Counter(place for place in LAYOUTS[name].values() if place)
    cases = read_cases(into)
    assert Counter((case.label, case.split) for case in cases) == expected
    assert arranged.cases == Counter(label for label, _ in expected.elements())


@every_set
def test_every_case_of_a_set_can_be_read(name, tmp_path):
    into, _ = made(name, tmp_path)
    assert all(read_scan(case.path).pixels.shape == (64, 64) for case in read_cases(into))


@every_set
def test_what_is_no_case_is_counted(name, tmp_path):
    _, arranged = made(name, tmp_path)
    others = sum(place is None for place in LAYOUTS[name].values())
    left_out = Counter(arranged.left_out)
    left_out.pop(arranging.NO_IMAGE, None)
    assert sum(left_out.values()) == others


@every_set
def test_nothing_is_missing_from_a_whole_archive(name, tmp_path):
    assert made(name, tmp_path)[1].missing == ()


@every_set
def test_a_set_in_another_folder_of_the_archive_is_arranged_too(name, tmp_path):
    archives = write_archives(name, tmp_path / "mirror")
    for archive in archives:
        with zipfile.ZipFile(archive) as whole:
            files = {f"test/wrapped/{n}": whole.read(n) for n in whole.namelist()}
        archive.write_bytes(zip_bytes(files))
    arrange(DATASETS[name], archives, tmp_path / "out")
    found = Counter((case.label, case.split) for case in read_cases(tmp_path / "out"))
    assert found == Counter(place for place in LAYOUTS[name].values() if place)


@every_set
def test_an_archive_of_something_else_is_an_error_that_lists_what_it_holds(name, tmp_path):
    archives = write_archives(name, tmp_path / "mirror")
    for archive in archives:
        archive.write_bytes(zip_bytes({"cats/1.jpg": picture_bytes(0), "cats/2.jpg": b"x"}))
    with pytest.raises(ArchiveError, match=r"holds no") as caught:
        arrange(DATASETS[name], archives, tmp_path / "out")
    assert name == "figshare" or "cats/ (2 files)" in caught.value.fact


def test_the_reasons_of_br35h_are_told(tmp_path):
    left_out = made("br35h", tmp_path)[1].left_out
    assert left_out["images without labels"] == 1
    assert left_out["copies of other images of the set"] == 1
    assert left_out[arranging.NOT_AN_IMAGE] == 1


def test_pictures_that_are_no_case_are_not_unpacked(tmp_path):
    into, _ = made("br35h", tmp_path)
    assert {path.name for path in into.rglob("*.jpg")} == {"no0.jpg", "y0.jpg"}


def test_a_picture_in_an_unknown_place_is_counted(tmp_path):
    files = {"yes/1.jpg": picture_bytes(1), "no/1.jpg": picture_bytes(2), "x/1.jpg": b"?"}
    assert made("navoneel", tmp_path, files)[1].left_out == {arranging.NO_RULE: 1}


def test_a_class_that_a_changed_layout_lost_is_told(tmp_path):
    files = {"yes/1.jpg": picture_bytes(1), "healthy/1.jpg": picture_bytes(2)}
    arranged = made("navoneel", tmp_path, files)[1]
    assert arranged.missing == ("mri_healthy",)


def test_the_shallower_of_two_copies_is_kept(tmp_path):
    into, arranged = made("navoneel", tmp_path)
    assert not (into / "brain_tumor_dataset").exists()
    assert arranged.left_out == {arranging.COPIES: 3}


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (("brain_tumor_dataset/yes/Y1.jpg", 2), "other bytes"),
        (("brain_tumor_dataset/yes/Y2.jpg", 1), "another name"),
        (("brain_tumor_dataset/no/Y1.jpg", 1), "another label"),
    ],
)
def test_only_the_same_picture_under_the_same_name_and_label_is_a_copy(tmp_path, other, why):
    path, shift = other
    files = {"yes/Y1.jpg": picture_bytes(1), path: picture_bytes(shift)}
    _, arranged = made("navoneel", tmp_path, files)
    assert sum(arranged.cases.values()) == 2, why


@pytest.mark.parametrize("path", ["__MACOSX/yes/._Y1.jpg", "yes/.Y1.jpg", "yes/Thumbs.db"])
def test_what_a_file_manager_leaves_behind_is_no_picture(tmp_path, path):
    files = {"yes/Y1.jpg": picture_bytes(1), path: b"left behind"}
    assert made("navoneel", tmp_path, files)[1].left_out == {arranging.NOT_AN_IMAGE: 1}


def test_the_first_rule_that_matches_counts(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(zip_bytes({"yes/no/1.png": picture_bytes(1)}))
    rules = (Rule("*/no/*", "mri_healthy"), Rule("*/yes/*", "mri_tumor"))
    with open_archive(path) as opened:
        for given in (rules, rules[::-1]):
            places, _ = arranging.place_by_rules(opened.members, given)
            assert [place.label for place in places.values()] == [given[0].label]


TABLE = "Brain Tumor.csv"


def test_the_table_of_bohaju_is_kept_beside_the_pictures(tmp_path):
    into, arranged = made("bohaju", tmp_path)
    with (into / TABLE).open(newline="") as file:
        assert [row["Image"] for row in csv.DictReader(file)] == ["Image1", "Image2", "Image9"]
    assert arranged.left_out[arranging.NO_IMAGE] == 1
    assert arranged.left_out[arranging.NOT_IN_TABLE] == 1


@pytest.mark.parametrize(
    ("table", "fact"),
    [
        (b"Image,Type\nImage1,0\n", "not the table"),
        (b"\xff\xfe\x00", "not the table"),
        (b"", "holds nothing"),
        (b"Image,Class\nImage1,7\n", "unknown classes: 7"),
        (b"Image,Class\nOther,1\n", "holds nothing"),
        (None, "holds nothing"),
    ],
)
def test_a_table_that_cannot_be_used_is_an_error(tmp_path, table, fact):
    files = {"Brain Tumor/Image1.jpg": picture_bytes(1)}
    if table is not None:
        files[TABLE] = table
    with pytest.raises(ArchiveError, match=fact):
        made("bohaju", tmp_path, files)
