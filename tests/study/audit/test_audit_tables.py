"""The files an audit leaves behind, and its groups read back."""

import csv
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from support.planted import ARTIST, BURNED, ODD_NAME

from tumorlens.errors import SplitError
from tumorlens.json_records import to_json
from tumorlens.study.audit.figures import audit_result, write_tables
from tumorlens.study.audit.result import read_groups, read_result, write_result
from tumorlens.study.audit.run import Audit

STORED = Path(__file__).parents[2] / "support/study/audit"  # by version 0.1
COLUMNS = {
    "groups": ["path", "group", "patient"],
    "pairs": ["a", "b", "kind", "orientation", "score", "change"],
    "conflicts": ["a", "b", "label_a", "label_b", "kind", "orientation", "score"],
    "label_check": ["path", "label", "suggested", "probability", "recorded_probability"],
    "text": ["path", "x", "y", "width", "height", "over_head"],
    "files": ["path", "case", "label", "split", "group", "image_id", "patient",
              "patient_inherited", "width", "height", "mode", "format", "bytes", "text_rows",
              "fields", "distance", "remarks", "error"],
}  # fmt: skip


@pytest.fixture(scope="module")
def out(audit, tmp_path_factory) -> Path:
    return written(audit, tmp_path_factory.mktemp("out") / "new")


def written(audit: Audit, out: Path) -> Path:
    write_tables(audit, out)
    write_result(audit_result(audit, folders=["x"], now=datetime(2026, 1, 1, tzinfo=UTC)), out)
    return out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def ends(row: dict[str, str]) -> tuple[str, str]:
    return Path(row["a"]).name, Path(row["b"]).name


def test_every_file_is_there_and_no_partial_one(out):
    names = {f"{name}.csv" for name in COLUMNS} | {"audit.json"}
    assert {path.name for path in out.iterdir()} == names


@pytest.mark.parametrize("name", COLUMNS)
def test_a_table_has_its_columns(out, name):
    with (out / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.reader(file)) == COLUMNS[name]


def test_groups_hold_every_path_once_as_it_was_given(out, audit):
    rows = rows_of(out / "groups.csv")
    assert [row["path"] for row in rows] == [str(case.path) for case in audit.cases]
    patients = {Path(row["path"]).name: row["patient"] for row in rows if row["patient"]}
    assert patients == {"patient.png": "register/p1", "a.png": "register/p1",
                        "b.png": "register/p1", "c.png": "register/p2"}  # fmt: skip
    of_patient = {row["group"] for row in rows if row["patient"] == "register/p1"}
    assert len(of_patient) == 1


def test_pairs_name_kind_orientation_and_score(out):
    rows = {ends(row): row for row in rows_of(out / "pairs.csv")}
    assert len(rows) == 5
    flipped = rows["flipped.png", "2.png"]
    assert (flipped["kind"], flipped["orientation"]) == ("copy", "flip left-right")
    assert all(0.65 <= float(row["score"]) <= 1 for row in rows.values())


def test_conflicts_name_both_labels(out):
    found = [(ends(row), row["label_a"], row["label_b"], row["kind"])
             for row in rows_of(out / "conflicts.csv")]  # fmt: skip
    assert found == [
        (("0.png", "wrong.png"), "mri_glioma", "mri_healthy", "contradictory"),
        (("1.png", "vague.png"), "mri_glioma", "mri_tumor", "refining"),
    ]


def test_text_is_a_place_and_no_word(out):
    [row] = rows_of(out / "text.csv")
    assert row["path"].endswith("text.png")
    assert all(row[name].isdigit() for name in ("x", "y", "width", "height", "over_head"))


def test_the_files_table_loses_no_file(out, audit):
    rows = {row["case"]: row for row in rows_of(out / "files.csv")}
    assert len(rows) == len(audit.cases)
    train = "hospital/train/mri_healthy"
    assert rows[f"{train}/broken.png"]["error"]
    assert rows[f"{train}/broken.png"]["width"] == ""
    assert rows[f"{train}/artist.jpg"]["fields"] == "Artist"
    assert "mode RGBA" in rows[f"{train}/color.png"]["remarks"]
    assert rows[f"{train}/text.png"]["text_rows"] == "1"
    assert rows[f"{train}/{ODD_NAME}"]["error"] == ""
    inherited = rows["hospital/test/mri_glioma/patient.png"]
    assert (inherited["patient"], inherited["patient_inherited"]) == ("register/p1", "1")
    assert {row["split"] for row in rows.values()} == {"train", "test", ""}


def test_no_burned_in_word_and_no_metadata_is_written_anywhere(out):
    for path in out.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not any(word in text for word in (*BURNED.split(), *ARTIST.split())), path.name


def test_the_same_audit_writes_the_same_bytes(out, audit, tmp_path):
    again = written(audit, tmp_path / "again")
    assert all((again / path.name).read_bytes() == path.read_bytes() for path in out.iterdir())


def test_groups_read_back_are_those_of_the_audit(out, audit):
    found = read_groups(out, audit.cases)
    assert found.audit == audit.groups.audit
    assert found.groups.tolist() == audit.groups.groups.tolist()
    assert found.image_ids.tolist() == audit.groups.image_ids.tolist()


def test_a_part_of_the_cases_keeps_what_the_rest_told_of_them(out, audit):
    """The register alone knows that these two are of one patient."""
    cases = [case for case in audit.cases if case.dataset == "hospital"]
    found = read_groups(out, cases)
    names = [case.path.name for case in cases]
    numbers = [int(found.groups[i]) for i, name in enumerate(names) if name == "patient.png"]
    assert len(numbers) == 2
    assert len(set(numbers)) == 1
    assert sorted(np.unique(found.groups)) == list(range(22))


def test_another_mount_place_finds_its_groups(out, audit):
    moved = [replace(case, path=Path("/elsewhere") / case.path.name) for case in audit.cases]
    assert read_groups(out, moved).groups.tolist() == audit.groups.groups.tolist()


def test_cases_that_the_audit_did_not_see_are_refused(out, audit):
    new = [*audit.cases, replace(audit.cases[0], key="hospital/new.png", path=Path("new.png"))]
    with pytest.raises(SplitError, match=r"did not see 1 of the scans given, first new\.png"):
        read_groups(out, new)


def test_the_groups_of_an_audit_of_the_last_version_are_read(out, audit, tmp_path):
    for name in ("audit.json", "files.csv"):
        text = (out / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(",image_id,", ",picture,"), encoding="utf-8")
    assert read_groups(tmp_path, audit.cases).image_ids.tolist() == (
        audit.groups.image_ids.tolist()
    )


def test_the_figures_of_an_audit_are_read_as_they_were_written(out, audit):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert read_result(out) == audit_result(audit, folders=["x"], now=now)


def test_the_figures_of_an_audit_of_the_last_version_are_read():
    found = read_result(STORED)
    stored = json.loads((STORED / "audit.json").read_text(encoding="utf-8"))
    assert found.links == {"exact": 0, "pixels": 0, "copy": 5, "neighbor": 0}
    since = {"label_doubts": [], "n_label_doubts": 0, "notes": []}
    assert to_json(found) == stored | {"links": found.links} | since


def broken_json(out: Path) -> None:
    (out / "audit.json").write_text("{")


def json_of_something_else(out: Path) -> None:
    (out / "audit.json").write_text(json.dumps(["fingerprint"]))


def no_table(out: Path) -> None:
    (out / "files.csv").unlink()


def other_columns(out: Path) -> None:
    (out / "files.csv").write_text("path,label\na.png,yes\n")


def not_utf8(out: Path) -> None:
    (out / "files.csv").write_bytes("case,group,picture\nJosé,g1,p1\n".encode("latin-1"))


@pytest.mark.parametrize(
    "damage", [broken_json, json_of_something_else, no_table, other_columns, not_utf8]
)
def test_a_damaged_audit_is_an_error_with_a_fix(damage, audit, tmp_path):
    out = written(audit, tmp_path / "out")
    damage(out)
    with pytest.raises(SplitError, match="cannot be read as an audit") as caught:
        read_groups(out, audit.cases)
    assert "tumorlens audit" in caught.value.fix


def test_a_folder_that_is_no_audit_is_an_error(audit, tmp_path):
    with pytest.raises(SplitError, match="cannot be read as an audit"):
        read_groups(tmp_path / "nowhere", audit.cases)
