"""Whose slice it is, where the set itself does not say."""

from pathlib import Path

import numpy as np

from tumorlens.records import Case
from tumorlens.study.audit.patients import Patients, trace_patients


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
