"""What parts and data sets share."""

from pathlib import Path

import numpy as np
import pytest

from tumorlens.records import Case
from tumorlens.study.audit.leaks import (
    find_leaks,
    leak_figures,
    shared_pictures,
    traced_tumors,
)
from tumorlens.study.audit.patients import Patients
from tumorlens.study.data.groups import Groups


def cases_of(*labels: str) -> list[Case]:
    return [
        Case(Path(f"{i}.png"), f"s/{i}.png", label, dataset="s") for i, label in enumerate(labels)
    ]


def patients_of(*names: str) -> Patients:
    return Patients(names, np.zeros(len(names), bool), 0)


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


def test_shared_pictures_are_counted_from_both_sides():
    places = ["a", "a", "a", "b", "b", "c"]
    pictures = [1, 1, 2, 1, 3, 4]
    assert shared_pictures(places, pictures) == {
        "a": {"a": 2, "b": 2, "c": 0},
        "b": {"a": 1, "b": 0, "c": 0},
        "c": {"a": 0, "b": 0, "c": 0},
    }


def test_of_nothing_nothing_is_shared():
    assert shared_pictures([], []) == {}


def test_test_tumors_of_a_patient_that_trains_are_counted():
    cases = cases_of("mri_glioma", "mri_glioma", "mri_tumor", "mri_glioma", "mri_glioma")
    parts = ["train", "test", "test", "test", "val"]
    names = patients_of("s/1", "s/1", "s/2", "", "s/2")
    assert traced_tumors(cases, parts, names) == {"traceable": 2, "in_train": 1}


@pytest.mark.parametrize("label", ["mri_healthy", "healthy", "unlabeled"])
def test_what_is_no_known_tumor_is_not_traced(label):
    found = traced_tumors(cases_of(label, label), ["train", "test"], patients_of("s/1", "s/1"))
    assert found == {"traceable": 0, "in_train": 0}


def test_leaks_by_copies_alone_are_told_apart_from_those_by_groups():
    cases = cases_of("mri_glioma", "mri_glioma", "mri_healthy", "mri_healthy")
    groups = Groups(groups=np.array([0, 0, 1, 0]), image_ids=np.array([0, 1, 2, 0]))
    parts = ["train", "test", "test", "test"]
    found = leak_figures(cases, parts, groups, patients_of("", "", "", ""))
    assert found["copies"][0] == {
        "label": "all", "n": 3, "in_train": 1, "in_train_or_val": 1, "share": 1 / 3,
    }  # fmt: skip
    assert {row["label"]: row["in_train"] for row in found["groups"]} == {
        "all": 2, "mri_glioma": 1, "mri_healthy": 1,
    }  # fmt: skip
