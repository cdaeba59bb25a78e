"""Facts about `tumorlens dicom`."""

import numpy as np
import pytest
from support.broken_files import HEAD
from support.command import Run, command_runner
from support.dicom_files import write_series

from tumorlens.files import read_table

VOLUME = np.stack([HEAD.astype(np.int16)] * 6)


@pytest.fixture
def run(monkeypatch, capsys) -> Run:
    return command_runner(monkeypatch, capsys)


def test_every_series_of_a_folder_is_listed_with_its_reason(run, tmp_path):
    write_series(tmp_path / "study" / "brain", VOLUME)
    write_series(tmp_path / "study" / "scout", VOLUME[:2], SeriesInstanceUID="5",
                 ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])  # fmt: skip
    ended = run("dicom", "list", tmp_path / "study", "--out", tmp_path / "series.csv")
    assert ended.status == 0
    assert ended.out == f"{tmp_path / 'series.csv'}\n"
    assert "2 series, 1 used" in ended.err
    assert "6 mri axial of 5.0 mm" in ended.err
    rows = {row["path"]: row for row in read_table(tmp_path / "series.csv")}
    assert rows[str(tmp_path / "study" / "brain")]["used"] == "yes"
    assert rows[str(tmp_path / "study" / "scout")]["reason"] == "is a localizer"


def test_a_folder_without_series_is_an_error_with_its_fix(run, tmp_path):
    ended = run("dicom", "list", tmp_path)
    assert ended.status == 2
    assert ended.err.endswith("holds no series. Name a folder with DICOM or NIfTI files.\n")
