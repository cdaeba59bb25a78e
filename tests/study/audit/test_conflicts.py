"""One picture under two labels: at least one is wrong, or one says more."""

import pytest

from tumorlens.study.audit.conflicts import find_conflicts
from tumorlens.study.audit.duplicates.copies import KINDS, SAME, Link


def link(a: int, b: int, kind: str = "copy") -> Link:
    return Link(a, b, kind, "as is", 0.99)


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("mri_glioma", "mri_healthy", "contradictory"),
        ("mri_glioma", "mri_pituitary", "contradictory"),
        ("mri_meningioma", "ct_tumor", "contradictory"),
        ("ct_healthy", "mri_healthy", "contradictory"),
        ("healthy", "tumor", "contradictory"),
        ("mri_tumor", "ct_tumor", "contradictory"),
        ("mri_tumor", "mri_glioma", "refining"),
        ("tumor", "ct_tumor", "refining"),
        ("tumor", "mri_tumor", "refining"),
        ("mri_healthy", "healthy", "refining"),
    ],
)
def test_two_labels_of_one_picture_contradict_or_refine_each_other(one, other, kind):
    for labels in ([one, other], [other, one]):
        [conflict] = find_conflicts(labels, [link(0, 1)])
        assert (conflict.kind, conflict.link) == (kind, link(0, 1))


@pytest.mark.parametrize("label", ["mri_glioma", "tumor", "unlabeled"])
def test_one_label_is_no_conflict(label):
    assert find_conflicts([label, label], [link(0, 1)]) == []


@pytest.mark.parametrize("label", ["mri_glioma", "healthy"])
def test_a_picture_without_a_label_conflicts_with_nothing(label):
    assert find_conflicts([label, "unlabeled"], [link(0, 1)]) == []
    assert find_conflicts(["unlabeled", label], [link(0, 1)]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_only_files_of_the_same_picture_can_conflict(kind):
    found = find_conflicts(["ct_tumor", "ct_healthy"], [link(0, 1, kind)])
    assert len(found) == (kind in SAME)


def test_contradictory_ones_come_first_then_by_position():
    labels = ["mri_tumor", "mri_glioma", "mri_healthy", "mri_pituitary"]
    links = [link(0, 1), link(2, 3), link(1, 2), link(0, 3)]
    found = [(c.kind, c.link.a, c.link.b) for c in find_conflicts(labels, links)]
    assert found == [
        ("contradictory", 1, 2), ("contradictory", 2, 3), ("refining", 0, 1), ("refining", 0, 3),
    ]  # fmt: skip


def test_no_links_no_conflicts():
    assert find_conflicts(["ct_tumor", "ct_healthy"], []) == []
