"""Patients found out elsewhere: they group scans, and their findings take out wrong labels."""

from pathlib import Path

import pytest

from tumorlens.errors import CasesError
from tumorlens.records import Case
from tumorlens.study.data.index import add_patients


def case(name: str, label: str) -> Case:
    return Case(Path(name), f"set/{name}", label, "set")


CASES = [case("a.png", "ct_healthy"), case("b.png", "ct_tumor"), case("c.png", "ct_healthy")]


@pytest.mark.parametrize(
    ("finding", "kept"),
    [
        ("normal", ["a.png", "c.png"]),
        ("tumor", ["b.png", "c.png"]),
        ("hemorrhage or stroke", ["c.png"]),
        ("", ["a.png", "b.png", "c.png"]),
    ],
)
def test_a_finding_takes_out_the_labels_it_contradicts(tmp_path, finding, kept):
    table = tmp_path / "patients.csv"
    table.write_text(f"path,patient,patient_finding\na.png,p1,{finding}\nb.png,p1,{finding}\n")
    known = add_patients(CASES, table)
    assert [c.path.name for c in known.cases] == kept
    assert len(known.cases) + len(known.contradicted) == len(CASES)
    assert {c.patient for c in known.cases if c.path.name != "c.png"} <= {"p1"}
    assert known.cases[-1].patient is None


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("file,patient\na.png,p1\n", "has no column path or patient"),
        ("path,patient\na.png,\n", "row 2"),
        ("path,patient\nelsewhere.png,p1\n", "names none of the 3 scans"),
    ],
)
def test_a_table_that_does_not_fit_is_a_clear_error(tmp_path, text, fact):
    table = tmp_path / "patients.csv"
    table.write_text(text)
    with pytest.raises(CasesError, match=fact):
        add_patients(CASES, table)
