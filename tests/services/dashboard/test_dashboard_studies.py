"""Records of the bench: found where they are, refused where they are of another schema."""

import json

import pytest
from support.stored_study import copy_study, stored

from tumorlens.errors import StudyError
from tumorlens.services.dashboard import studies
from tumorlens.services.dashboard.studies import KINDS, find_records, read_picture, read_record


def test_records_are_found_below_a_study_folder_the_newest_first(tmp_path):
    study = copy_study(tmp_path / "mine")
    later = study / "again"
    (later).mkdir()
    (later / "audit.json").write_text("{}", encoding="utf-8")
    found = find_records([study], "audit.json")
    assert [record.name for record in found] == ["mine/again", "mine/audit"]


def test_a_folder_that_is_not_there_has_no_records(tmp_path):
    assert find_records([tmp_path / "nowhere"], "audit.json") == []


def test_a_folder_of_very_many_files_is_not_walked_further(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "MOST_ENTRIES", 3)
    deep = tmp_path / "deep"
    deep.mkdir()
    (deep / "audit.json").write_text("{}", encoding="utf-8")
    for name in "abcd":
        (tmp_path / f"{name}.png").touch()
    assert find_records([tmp_path], "audit.json") == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_is_read_with_keys_that_nobody_knows(tmp_path, kind):
    path = tmp_path / KINDS[kind].file
    path.write_text(json.dumps(stored(kind) | {"a_new_key": 1}), encoding="utf-8")
    assert read_record(path, kind)["a_new_key"] == 1


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema": 99}', '"x"'])
def test_another_schema_and_no_json_are_refused_with_the_command_that_mends_it(tmp_path, text):
    path = tmp_path / "audit.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=r"audit\.json.*tumorlens audit"):
        read_record(path, "audit")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "a/../../secret.png", None, ""])
def test_a_picture_outside_the_records_folder_is_not_given(tmp_path, name):
    (tmp_path / "secret.png").write_bytes(b"secret")
    record = tmp_path / "study" / "audit.json"
    record.parent.mkdir()
    assert read_picture(record, name) is None


def test_a_picture_beside_the_record_is_given(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").write_bytes(b"a")
    assert read_picture(tmp_path / "audit.json", "pictures/a.png") == b"a"
