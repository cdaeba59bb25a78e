"""Odd input to an audit gives a whole report or a clear error."""

import csv
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from support.planted import audit_of, head_of, write

from tumorlens.errors import SplitError
from tumorlens.study.audit.figures import audit_result, write_tables
from tumorlens.study.audit.page import PAGE, verdict, write_audit
from tumorlens.study.data import splits
from tumorlens.study.data.index import read_cases


def test_a_name_that_is_not_unicode_is_audited(tmp_path, tiny_bundle):
    write(tmp_path / "set/yes/a.png", head_of(0))
    path = write(tmp_path / "set/yes/b.png", head_of(1))
    os.rename(path, os.fsencode(path.parent) + b"/not \xff unicode.png")
    found = audit_of([tmp_path / "set"], tiny_bundle, cache=tmp_path / "c")
    write_audit(found, tmp_path / "o", folders=["set"], now=datetime.now(UTC))
    assert (tmp_path / "o" / PAGE).read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert b"not \xff unicode.png" in (tmp_path / "o/files.csv").read_bytes()


def test_a_split_without_a_test_part_is_not_called_clean(tmp_path, tiny_bundle):
    for number, part in enumerate(("train", "val", "train")):
        write(tmp_path / f"set/{part}/yes/{number}.png", head_of(0))
    found = audit_of([tmp_path / "set"], tiny_bundle, cache=tmp_path / "c")
    assert "does not leak" not in verdict(audit_result(found, folders=[], now=datetime.now(UTC)))


def test_unknown_parts_are_named(tmp_path):
    write(tmp_path / "set/yes/a.png", head_of(0))
    (tmp_path / "t.csv").write_text("path,split\nset/yes/a.png,fold1\n")
    with pytest.raises(SplitError, match="fold1"):
        splits.parts_in(tmp_path / "t.csv", read_cases(tmp_path / "set"))


def test_unlabeled_in_a_table_is_no_label_of_a_training_set(tmp_path):
    write(tmp_path / "set/a.png", head_of(0))
    write(tmp_path / "set/b.png", head_of(1))
    (tmp_path / "set/cases.csv").write_text("path,label\na.png,unlabeled\nb.png,yes\n")
    assert [case.label for case in read_cases(tmp_path / "set")] == ["tumor"]
    assert len(read_cases(tmp_path / "set", unlabeled=True)) == 2


def test_pred_beside_split_folders_is_listed(tmp_path):
    write(tmp_path / "set/train/yes/a.png", head_of(0))
    write(tmp_path / "set/pred/b.png", head_of(1))
    assert len(read_cases(tmp_path / "set", unlabeled=True)) == 2


def test_two_black_pictures_are_no_picture_under_two_labels(tmp_path, tiny_bundle):
    write(tmp_path / "set/yes/a.png", np.zeros((64, 64), np.uint8))
    write(tmp_path / "set/no/b.png", np.zeros((64, 64), np.uint8))
    assert not audit_of([tmp_path / "set"], tiny_bundle, cache=tmp_path / "c").conflicts


def test_a_nested_quote_of_a_path_in_pairs_survives(tmp_path, tiny_bundle):
    write(tmp_path / 'set/yes/two\nlines, "q".png', head_of(0))
    write(tmp_path / "set/yes/b.png", head_of(0))
    found = audit_of([tmp_path / "set"], tiny_bundle, cache=tmp_path / "c")
    write_tables(found, tmp_path / "o")
    with (tmp_path / "o/groups.csv").open(newline="") as f:
        assert all(Path(r["path"]).is_file() for r in csv.DictReader(f))


def test_a_folder_name_in_brackets_is_printed(tmp_path, tiny_bundle, monkeypatch, capsys):
    import sys

    from tumorlens import cli

    write(tmp_path / "[red]set/yes/a.png", head_of(0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys,
        "argv",
        ["tumorlens", "audit", "[red]set", "--out", "o", "--bundle", str(tiny_bundle.folder)],
    )
    with pytest.raises(SystemExit):
        cli.main()
    assert "[red]set" in capsys.readouterr().err
