"""The whole audit of planted faults."""

import os
from pathlib import Path

import numpy as np
import pytest
from support.planted import audit_of, head_of, write

from tumorlens.models.bundle import load_bundle
from tumorlens.records import Case
from tumorlens.settings import load_settings
from tumorlens.study.audit.duplicates.copies import KINDS, SAME, Link
from tumorlens.study.audit.run import (
    Audit,
    Patients,
    audit_cases,
    find_conflicts,
    trace_patients,
)
from tumorlens.study.data.index import read_cases

DATA = os.environ.get("TUMORLENS_DATA", "")


def keys_of(audit: Audit, *positions: int) -> list[str]:
    return [audit.cases[i].key for i in positions]


def test_every_planted_copy_is_found_and_nothing_else(audit):
    found = {(*keys_of(audit, k.a, k.b), k.kind, k.orientation) for k in audit.links}
    assert found == {
        ("hospital/test/mri_glioma/flipped.png", "hospital/train/mri_glioma/2.png", "copy",
         "flip left-right"),
        ("hospital/test/mri_glioma/patient.png", "register/a.png", "copy", "flip up-down"),
        ("hospital/train/mri_glioma/0.png", "hospital/train/mri_healthy/wrong.png", "copy",
         "as is"),
        ("hospital/train/mri_glioma/1.png", "hospital/train/mri_tumor/vague.png", "copy",
         "rotate 270"),
        ("hospital/train/mri_glioma/patient.png", "register/b.png", "copy", "flip up-down"),
    }  # fmt: skip


def test_a_copy_and_a_patient_in_train_leak(audit):
    assert (audit.split, audit.leaking) == ("published", 2)


def test_patients_of_one_set_reach_their_copies_in_another(audit):
    inherited = {
        case.key: name
        for case, name, flag in zip(
            audit.cases, audit.patients.names, audit.patients.inherited, strict=True
        )
        if flag
    }
    assert inherited == {
        "hospital/test/mri_glioma/patient.png": "register/p1",
        "hospital/train/mri_glioma/patient.png": "register/p1",
    }


def test_one_conflict_contradicts_and_one_refines(audit):
    found = [(c.kind, *keys_of(audit, c.link.a, c.link.b)) for c in audit.conflicts]
    assert found == [
        (
            "contradictory",
            "hospital/train/mri_glioma/0.png",
            "hospital/train/mri_healthy/wrong.png",
        ),
        ("refining", "hospital/train/mri_glioma/1.png", "hospital/train/mri_tumor/vague.png"),
    ]


def test_outliers_unreadable_and_marked_files_are_pointed_out(audit):
    assert keys_of(audit, *(found.position for found in audit.header_outliers)) == [
        "hospital/train/mri_healthy/artist.jpg", "hospital/train/mri_healthy/color.png",
    ]  # fmt: skip
    unusable = [case.key for case, why in zip(audit.cases, audit.survey.errors, strict=True) if why]
    assert unusable == ["hospital/train/mri_healthy/broken.png"]
    marked = [case.key for case, rows in zip(audit.cases, audit.survey.text, strict=True) if rows]
    assert marked == ["hospital/train/mri_healthy/text.png"]


def test_a_scan_without_a_label_is_searched_for_copies_all_the_same(tmp_path, tiny_bundle):
    write(tmp_path / "set/test/pred/a.png", head_of(3))
    write(tmp_path / "set/train/yes/b.png", np.fliplr(head_of(3)).copy())
    found = audit_of([tmp_path / "set"], tiny_bundle, cache=tmp_path / "cache")
    assert [case.label for case in found.cases] == ["unlabeled", "tumor"]
    assert (found.leaking, len(found.conflicts)) == (1, 0)


def test_twice_the_same_is_found(audit, root, tiny_bundle):
    again = audit_of([root / "hospital", root / "register"], tiny_bundle, cache=root / "cache")
    fresh = audit_of([root / "register", root / "hospital"], tiny_bundle, cache=root / "other")
    assert again.links == audit.links
    assert again.shortcuts == audit.shortcuts
    assert again.groups.audit == fresh.groups.audit == audit.groups.audit


def test_given_parts_are_judged_instead_of_the_published_ones(root, tiny_bundle):
    cases = read_cases(root / "hospital", unlabeled=True)
    for parts, leaking in ((["train"] * len(cases), 0), (["test"] * len(cases), 0),
                           ([("val", "test")[c.split == "test"] for c in cases], 1)):  # fmt: skip
        found = audit_cases(cases, tiny_bundle, cache=root / "cache", parts=parts, split="mine")
        assert (found.split, found.leaking, list(found.parts)) == ("mine", leaking, parts)


def test_a_set_without_a_split_is_judged_by_none(tmp_path, tiny_bundle):
    for number in range(3):
        write(tmp_path / f"set/yes/{number}.png", head_of(number))
    found = audit_of([tmp_path / "set"], tiny_bundle, cache=tmp_path / "cache")
    assert (found.split, found.leaking, set(found.parts)) == ("", 0, {""})


def test_no_leak_where_only_files_outside_the_split_are_shared(tmp_path, tiny_bundle):
    cases = []
    for name in ("a", "b"):
        write(tmp_path / f"set/yes/{name}.png", head_of(0))
        cases = read_cases(tmp_path / "set")
    found = audit_cases(cases, tiny_bundle, cache=tmp_path / "c", parts=["test", ""], split="mine")
    assert (found.leaking, len(found.links)) == (0, 1)


@pytest.mark.skipif(not DATA, reason="set TUMORLENS_DATA to a folder with the public sets")
def test_most_of_navoneel_is_found_in_br35h(tmp_path):
    """All of the smaller set, and of the larger 400 files, hold many pictures in common."""
    folders = [Path(DATA) / name for name in ("navoneel", "br35h")]
    if not all(folder.is_dir() for folder in folders):
        pytest.skip("navoneel or br35h is not in TUMORLENS_DATA")
    small, large = map(read_cases, folders)
    cases = [*small, *large[::8]]
    bundle = load_bundle(load_settings().bundle)
    found = audit_cases(cases, bundle, cache=tmp_path)
    by_set: dict[str, set[int]] = {}
    for case, picture in zip(cases, found.groups.image_ids.tolist(), strict=True):
        by_set.setdefault(case.dataset, set()).add(picture)
    shared = by_set["navoneel"] & by_set["br35h"]
    assert len(by_set["navoneel"]) < 215, "the set itself holds copies"
    assert len(shared) > 60
    assert not any(found.survey.errors)


def traced(*known: tuple[str, str | None, int]) -> Patients:
    """Trace cases given as (data set, patient, picture)."""
    cases = [
        Case(Path(f"{i}.png"), f"{dataset}/{i}.png", "mri_tumor", dataset, patient=patient)
        for i, (dataset, patient, _) in enumerate(known)
    ]
    return trace_patients(cases, np.array([picture for *_, picture in known], np.int64))


def test_a_recorded_patient_is_named_with_its_set():
    found = traced(("one", "p1", 0), ("two", "p1", 1))
    assert found.names == ("one/p1", "two/p1"), "the same number in two sets is two patients"
    assert not found.inherited.any()


def test_a_copy_in_a_set_without_patients_inherits_the_patient():
    found = traced(("one", "p1", 5), ("two", None, 5), ("two", "", 5), ("two", None, 6))
    assert found.names == ("one/p1", "one/p1", "one/p1", "")
    assert found.inherited.tolist() == [False, True, True, False]
    assert found.disputed == 0


def test_a_picture_of_two_patients_is_disputed_and_hands_on_neither():
    found = traced(("one", "p1", 0), ("one", "p2", 0), ("two", None, 0), ("one", "p1", 1))
    assert found.names == ("one/p1", "one/p2", "", "one/p1")
    assert not found.inherited.any()
    assert found.disputed == 1


def test_a_set_keeps_its_own_patient_beside_a_copy_of_another_set():
    found = traced(("one", "p1", 0), ("two", "q9", 0))
    assert found.names == ("one/p1", "two/q9")
    assert found.disputed == 1


def test_nobody_known_is_nobody_named():
    found = traced(("one", None, 0), ("one", None, 0))
    assert found.names == ("", "")
    assert found.disputed == 0
    assert traced().names == ()


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
