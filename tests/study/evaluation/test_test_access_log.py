"""Every evaluation of a test part is counted where the bundle was trained, or with the results."""

import csv
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tumorlens.models.bundle import load_bundle
from tumorlens.records import Case
from tumorlens.study.evaluation.test_access_log import COLUMNS, NAME, OLD_NAME, log_access

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CASES = [Case(Path(f"{i}.png"), f"set/{i}.png", "mri_glioma", "set") for i in range(3)]


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    return replace(tiny_bundle, folder=tmp_path / "run" / "bundle")


def access(bundle, out, *, cases=CASES, part="test"):
    return log_access(cases, bundle, split="0123", part=part, out=out, now=NOW)


def test_evaluations_are_counted_in_the_run_folder(bundle, tmp_path):
    found = [access(bundle, tmp_path / "out") for _ in range(3)]
    assert [row.same_scans for row in found] == [1, 2, 3]
    assert found[0].folder == "run"
    assert not (tmp_path / "out").exists()
    with (tmp_path / "run" / NAME).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 3
    assert {row["bundle"] for row in rows} == {bundle.version}


def test_other_scans_of_the_part_count_for_the_part_alone(bundle, tmp_path):
    access(bundle, tmp_path)
    found = access(bundle, tmp_path, cases=CASES[:2])
    assert (found.same_scans, found.same_part) == (1, 2)
    assert access(bundle, tmp_path, part="val").same_part == 1


def test_the_order_of_the_scans_does_not_matter(bundle, tmp_path):
    access(bundle, tmp_path)
    assert access(bundle, tmp_path, cases=CASES[::-1]).same_scans == 2


def test_another_bundle_of_the_run_is_another_evaluation_of_the_same_scans(bundle, tmp_path):
    access(bundle, tmp_path)
    found = access(replace(bundle, sha256="f" * 64), tmp_path)
    assert (found.same_scans, found.bundles) == (2, 2)


@pytest.mark.parametrize("name", ["shipped", "lone"])
def test_a_bundle_outside_a_run_is_counted_with_the_results(name, tiny_bundle, tmp_path):
    bundle = load_bundle() if name == "shipped" else tiny_bundle
    assert access(bundle, tmp_path / "out").folder == "results"
    assert access(bundle, tmp_path / "out").same_scans == 2
    assert not (bundle.folder.parent / NAME).exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the owner may write anything")
def test_a_run_that_cannot_be_written_is_counted_with_the_results(bundle, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o500)
    assert access(bundle, tmp_path / "out").folder == "results"


def test_a_run_that_refuses_is_counted_with_the_results(bundle, tmp_path, monkeypatch):
    from tumorlens.study.evaluation import test_access_log as log

    real = log.write_table

    def refuse(path, *rest):
        if "run" in path.parts:
            raise PermissionError(path)
        return real(path, *rest)

    monkeypatch.setattr(log, "write_table", refuse)
    assert access(bundle, tmp_path / "out").folder == "results"


def test_a_damaged_table_loses_no_access(bundle, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NAME).write_text("created,scans\n2025,abc\n")
    assert access(bundle, tmp_path).same_scans == 1
    assert "abc" in (tmp_path / "run" / NAME).read_text()


def test_what_an_earlier_version_counted_is_counted_on(bundle, tmp_path):
    for _ in range(2):
        access(bundle, tmp_path)
    (tmp_path / "run" / NAME).rename(tmp_path / "run" / OLD_NAME)
    assert access(bundle, tmp_path).same_scans == 3
