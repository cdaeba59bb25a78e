"""Groups that must stay together, and what of them leaks."""

import numpy as np
import pytest

from tumorlens.study.data.groups import Groups, find_leaks


@pytest.mark.parametrize(
    ("parts", "in_train", "in_either"),
    [
        (("train", "test"), 1, 1),
        (("val", "test"), 0, 1),
        (("test", "test"), 0, 0),
        (("", "test"), 0, 0),
        (("train", "val"), 0, 0),
        (("train", "train"), 0, 0),
    ],
)
def test_a_group_leaks_where_it_stands_in_test_and_outside(parts, in_train, in_either):
    leak = find_leaks(["x", "x"], parts, [7, 7])[0]
    assert (leak.label, leak.in_train, leak.in_train_or_val) == ("all", in_train, in_either)
    assert leak.n == parts.count("test")


def test_the_share_of_no_test_files_is_zero():
    assert find_leaks(["x"], ["train"], [0])[0].share == 0


def test_leaks_by_copies_alone_are_told_apart_from_those_by_groups():
    labels = ["mri_glioma", "mri_glioma", "mri_healthy", "mri_healthy"]
    parts = ["train", "test", "test", "test"]
    [copies, *_] = find_leaks(labels, parts, [0, 1, 2, 0])
    assert (copies.label, copies.n, copies.in_train, copies.in_train_or_val) == ("all", 3, 1, 1)
    assert copies.share == 1 / 3
    assert {row.label: row.in_train for row in find_leaks(labels, parts, [0, 0, 1, 0])} == {
        "all": 2, "mri_glioma": 1, "mri_healthy": 1,
    }  # fmt: skip


def test_groups_of_some_cases_are_taken_by_position():
    groups = Groups(np.array([0, 0, 1]), np.array([0, 1, 2]), "feed")
    taken = groups.take([2, 0])
    assert (taken.groups.tolist(), taken.image_ids.tolist()) == ([1, 0], [2, 0])
    assert taken.audit == "feed"
