"""Records of the bench: found where they are, refused where they are of another schema."""

import json
import math
import os

import pytest
from support.stored_study import copy_study, stored

from tumorlens.errors import StudyError
from tumorlens.json_records import Record
from tumorlens.records import Estimate
from tumorlens.services.dashboard import studies
from tumorlens.services.dashboard.studies import KINDS, find_records, read_record


def test_records_are_found_below_a_study_folder_the_newest_first(tmp_path):
    study = copy_study(tmp_path / "mine")
    later = study / "again"
    (later).mkdir()
    (later / "audit.json").write_text("{}", encoding="utf-8")
    found = find_records([study], "audit.json")
    assert list(found) == ["mine/again", "mine/audit"]


def test_a_folder_that_is_not_there_has_no_records(tmp_path):
    assert find_records([tmp_path / "nowhere"], "audit.json") == {}


def test_a_folder_of_very_many_files_is_not_walked_further(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "MAX_ENTRIES", 3)
    deep = tmp_path / "deep"
    deep.mkdir()
    (deep / "audit.json").write_text("{}", encoding="utf-8")
    for name in "abcd":
        (tmp_path / f"{name}.png").touch()
    assert find_records([tmp_path], "audit.json") == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_is_read_with_keys_that_nobody_knows(tmp_path, kind):
    path = tmp_path / KINDS[kind].file
    path.write_text(json.dumps(stored(kind) | {"a_new_key": 1}), encoding="utf-8")
    assert read_record(path, kind).count("a_new_key") == 1


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema": 99}', '"x"'])
def test_another_schema_and_no_json_are_refused_with_the_command_that_mends_it(tmp_path, text):
    path = tmp_path / "audit.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=r"audit\.json.*tumorlens audit"):
        read_record(path, "audit")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "a/../../secret.png", None, ""])
def test_an_image_outside_the_records_folder_is_not_given(tmp_path, name):
    (tmp_path / "secret.png").write_bytes(b"secret")
    record = tmp_path / "study" / "audit.json"
    record.parent.mkdir()
    assert Record({"picture": name}, record).image("picture") is None


def test_an_image_beside_the_record_is_given(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").write_bytes(b"a")
    record = Record({"picture": "pictures/a.png"}, tmp_path / "audit.json")
    assert record.image("picture") == b"a"


def test_an_estimate_is_read_with_its_interval_and_the_count_it_is_out_of():
    stored = {"n": 9, "n_tumor": 4, "rate": 0.5, "rate_low": 0.2, "rate_high": 0.8}
    assert Record(stored).estimate("rate", n="n_tumor") == Estimate(0.5, 0.2, 0.8, 4)
    assert Record({"n": 9}).estimate("rate") == Estimate(None, None, None, 9)


def test_what_a_record_lacks_is_empty_and_what_must_be_counted_is_an_error():
    empty = Record({"table": {"a": None, "b": {}}})
    assert (empty.text("x"), empty.rows("x"), bool(empty.part("x"))) == ("", [], False)
    assert list(empty.table("table")) == ["b"]
    assert math.isnan(empty.number("x"))
    with pytest.raises(StudyError, match=r"record\.json.*`x`"):
        empty.count("x")


def test_a_value_of_another_type_is_an_error_that_names_it():
    with pytest.raises(StudyError, match="holds 'many' as `n`"):
        Record({"n": "many"}).count("n")


def test_a_record_that_is_written_again_is_read_again(tmp_path):
    path = tmp_path / "audit.json"
    for n in (1, 2):
        path.write_text(json.dumps(stored("audit") | {"n": n}), encoding="utf-8")
        os.utime(path, ns=(n, n))
        assert read_record(path, "audit").count("n") == n
