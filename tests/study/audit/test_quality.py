"""Files worth a look, and the spread of the labels."""

import pytest

from tumorlens.study.audit.facts import FileFacts
from tumorlens.study.audit.quality import OddFile, Outlier, balance, odd_files, outliers


def fact(width=224, height=224, *, mode="L", kind="JPEG") -> FileFacts:
    return FileFacts(width, height, mode, kind, bytes=9000, exif=())


def test_files_that_are_all_alike_are_not_odd():
    assert odd_files([fact()] * 50) == []


@pytest.mark.parametrize(
    ("odd", "reasons"),
    [
        (fact(mode="RGBA"), ("mode RGBA, where 98 % are L",)),
        (fact(kind="PNG"), ("format PNG, where 98 % are JPEG",)),
        (fact(2048, 2048), ("size 2048 x 2048, far from the usual 224 x 224",)),
        (fact(64, 64), ("size 64 x 64, far from the usual 224 x 224",)),
        (fact(400, 125), ("shape 400 x 125, far from the usual 224 x 224",)),
        (fact(900, 300, mode="P"), (
            "mode P, where 98 % are L",
            "size 900 x 300, far from the usual 224 x 224",
            "shape 900 x 300, far from the usual 224 x 224",
        )),
    ],
)  # fmt: skip
def test_a_file_unlike_its_set_is_odd_and_says_why(odd, reasons):
    assert odd_files([*[fact()] * 30, odd, *[fact()] * 19]) == [OddFile(30, reasons)]


@pytest.mark.parametrize("other", [fact(225, 223), fact(256, 256), fact(300, 224)])
def test_a_few_pixels_more_are_not_odd(other):
    assert odd_files([*[fact()] * 49, other]) == []


def test_a_mode_that_many_files_share_is_not_odd():
    assert odd_files([fact()] * 90 + [fact(mode="RGB")] * 10) == []


def test_sizes_of_a_set_that_varies_are_not_odd():
    sizes = [150 + 17 * i for i in range(40)]
    assert odd_files([fact(side, side) for side in sizes]) == []


def test_each_data_set_has_its_own_usual():
    facts = [fact()] * 40 + [fact(512, 512, mode="RGB", kind="PNG")] * 2
    assert [odd.position for odd in odd_files(facts)] == [40, 41]
    assert odd_files(facts, ["a"] * 40 + ["b"] * 2) == []


def test_files_without_facts_keep_their_place_and_are_left_out():
    facts = [None, *[fact()] * 40, None, fact(mode="CMYK")]
    assert [odd.position for odd in odd_files(facts)] == [42]
    assert odd_files([None, None]) == odd_files([]) == []


def test_files_are_counted_by_set_part_and_label():
    table = balance(
        ["mri_tumor", "mri_healthy", "mri_tumor", "ct_tumor"],
        ["train", "test", "train", None],
        ["b", "b", "b", "a"],
    )
    assert table == {
        "a": {"": {"ct_tumor": 1}},
        "b": {"test": {"mri_healthy": 1}, "train": {"mri_tumor": 2}},
    }
    assert list(table) == ["a", "b"]


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        balance(["mri_tumor"], [], ["a"])


def test_the_farthest_file_comes_first():
    found = outliers([0.3, 0.1, float("nan"), 0.9, 0.2], list("abcde"), limit=0.2)
    assert found == [Outlier(3, "d", 0.9), Outlier(0, "a", 0.3)]


def test_no_files_have_no_outliers():
    assert outliers([], [], limit=0.2) == []
