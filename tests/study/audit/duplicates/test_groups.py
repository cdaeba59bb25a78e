"""Which cases must stay together, and a fingerprint of that finding."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tumorlens.records import Case
from tumorlens.study.audit.duplicates.copies import Link, group_links
from tumorlens.study.data.groups import Groups


def cases_of(n: int, folder: str = "s", root: str = "") -> list[Case]:
    return [
        Case(Path(root, f"{i}.png"), f"{folder}/{i}.png", "mri_tumor", dataset=folder)
        for i in range(n)
    ]


def link(a: int, b: int, kind: str = "copy") -> Link:
    return Link(a, b, kind, "as is", 0.9)


def sets_of(numbers: np.ndarray) -> list[list[int]]:
    return sorted(np.flatnonzero(numbers == number).tolist() for number in np.unique(numbers))


def test_cases_without_links_stand_alone():
    found = group_links(cases_of(3), [])
    assert sets_of(found.groups) == sets_of(found.image_ids) == [[0], [1], [2]]


def test_neighbors_share_a_group_and_no_picture():
    found = group_links(cases_of(4), [link(0, 1), link(1, 2, "neighbor")])
    assert sets_of(found.groups) == [[0, 1, 2], [3]]
    assert sets_of(found.image_ids) == [[0, 1], [2], [3]]


@pytest.mark.parametrize("column", ["patient", "group"])
def test_a_patient_or_a_given_group_joins_within_its_own_set_alone(column):
    named = [replace(case, **{column: "7"}) for case in (*cases_of(2), *cases_of(2, "t"))]
    found = group_links(named, [])
    assert sets_of(found.groups) == [[0, 1], [2, 3]]
    assert sets_of(found.image_ids) == [[0], [1], [2], [3]]


def test_a_patient_and_a_group_of_one_name_are_two_things():
    one, two = cases_of(2)
    found = group_links([replace(one, patient="7"), replace(two, group="7")], [])
    assert sets_of(found.groups) == [[0], [1]]


def test_a_patient_known_in_one_set_joins_the_copies_in_another():
    known = [replace(case, patient="p") for case in cases_of(2, "register")]
    found = group_links([*known, *cases_of(3, "hospital")], [link(0, 2), link(1, 3)])
    assert sets_of(found.groups) == [[0, 1, 2, 3], [4]]


def test_groups_are_numbered_without_gaps():
    found = group_links(cases_of(5), [link(3, 4), link(0, 2)])
    assert sorted(set(found.groups.tolist())) == [0, 1, 2]


def audit_of(order: list[int], *, root: str = "", links: tuple[tuple[int, int], ...]) -> str:
    """The fingerprint of five cases in some order; links are between their names."""
    cases = [cases_of(5, root=root)[i] for i in order]
    ends = [sorted((order.index(a), order.index(b))) for a, b in links]
    placed = [link(a, b) for a, b in ends]
    return group_links(cases, placed).audit


def test_the_fingerprint_does_not_know_order_or_place():
    first = audit_of([0, 1, 2, 3, 4], links=((0, 3), (1, 2)))
    assert audit_of([4, 2, 0, 1, 3], links=((1, 2), (0, 3))) == first
    assert audit_of([3, 4, 0, 2, 1], root="elsewhere", links=((0, 3), (1, 2))) == first
    assert len(first) == 16
    assert int(first, 16) >= 0


@pytest.mark.parametrize("links", [(), ((0, 3),), ((0, 3), (1, 4)), ((0, 3), (1, 2), (2, 4))])
def test_other_findings_have_another_fingerprint(links):
    whole = audit_of([0, 1, 2, 3, 4], links=((0, 3), (1, 2)))
    assert audit_of([0, 1, 2, 3, 4], links=links) != whole


def test_a_copy_and_a_neighbor_have_different_fingerprints():
    copy, neighbor = (group_links(cases_of(2), [link(0, 1, kind)]) for kind in ("copy", "neighbor"))
    assert copy.groups.tolist() == neighbor.groups.tolist()
    assert copy.audit != neighbor.audit


def test_no_cases_are_no_groups():
    found = group_links([], [])
    assert isinstance(found, Groups)
    assert len(found.groups) == len(found.image_ids) == 0
