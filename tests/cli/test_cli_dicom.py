"""Facts about `tumorlens dicom`."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from support.broken_files import HEAD
from support.command import Run, command_runner
from support.dicom_files import write_series
from support.nifti_files import nifti_bytes, ras_volume

from tumorlens.files import read_table
from tumorlens.images.readers import open_images

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


def test_predict_writes_a_row_a_slice_and_a_row_a_series(run, tmp_path, tiny_bundle):
    write_series(tmp_path / "brain", VOLUME)
    table = tmp_path / "out" / "predictions.csv"
    ended = run("predict", tmp_path / "brain", "--bundle", tiny_bundle.folder, "--out", table)
    assert ended.status == 0, ended.err
    assert ended.out == f"{table}\n{table.with_name('series.csv')}\n"
    assert [row["slice"] for row in read_table(table)] == list("123456")
    (series,) = read_table(table.with_name("series.csv"))
    assert (series["slices"], series["plane"], series["used"]) == ("6", "axial", "yes")
    assert series["decision"]
    assert series["calibrated"] == "no"
    assert "series 1.2.3.4: " in ended.err
    assert "uncalibrated" in ended.err or "out of scope" in ended.err


def test_the_report_of_a_series_holds_its_answer_for_people_and_for_machines(
    run, tmp_path, tiny_bundle
):
    write_series(tmp_path / "brain", VOLUME)
    report = tmp_path / "report.html"
    ended = run("predict", tmp_path / "brain", "--bundle", tiny_bundle.folder, "--report", report)
    assert ended.status == 0, ended.err
    (answer,) = json.loads(report.with_suffix(".json").read_text())["series"]
    assert (answer["series"], answer["slices"], len(answer["curve"])) == ("1.2.3.4", 6, 6)
    assert "Answers for series" in report.read_text()


def test_series_that_are_not_used_are_no_failure(run, tmp_path, tiny_bundle):
    write_series(tmp_path / "scout", VOLUME[:2], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    table = tmp_path / "predictions.csv"
    ended = run("predict", tmp_path / "scout", "--bundle", tiny_bundle.folder, "--out", table)
    assert ended.status == 0, ended.err
    assert "2 of series not used" in ended.err
    assert all("is a localizer" in row["error"] for row in read_table(table))


def test_a_zip_is_predicted_as_its_folder_and_names_its_files(run, tmp_path, tiny_bundle):
    write_series(tmp_path / "brain", VOLUME)
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in (tmp_path / "brain").iterdir():
            archive.write(path, f"exam/{path.name}")
    table = tmp_path / "predictions.csv"
    ended = run(
        "predict", tmp_path / "study.zip", "--bundle", tiny_bundle.folder, "--out", table,
        "--report", tmp_path / "report.html",
    )  # fmt: skip
    assert ended.status == 0, ended.err
    rows = read_table(table)
    assert len(rows) == 6
    assert all(row["path"].startswith(str(tmp_path / "study.zip" / "exam")) for row in rows)
    assert read_table(table.with_name("series.csv"))[0]["path"] == str(tmp_path / "study.zip/exam")


def test_a_zip_that_would_write_elsewhere_is_refused(run, tmp_path, tiny_bundle):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../outside.dcm", b"x")
    ended = run("predict", tmp_path / "evil.zip", "--bundle", tiny_bundle.folder)
    assert ended.status == 2
    assert "outside of its folder" in ended.err


def test_predict_writes_dicom_objects_once_and_says_what_got_none(run, tmp_path, tiny_bundle):
    write_series(tmp_path / "in" / "brain", VOLUME)
    write_series(tmp_path / "in" / "two", VOLUME[:2], SeriesInstanceUID="1.2.9")
    Image.fromarray(HEAD).save(tmp_path / "in" / "a.png")
    words = ("predict", tmp_path / "in", "--bundle", tiny_bundle.folder, "--dicom-out",
             tmp_path / "out", "--dicom-objects", "sr,pm")  # fmt: skip
    first = run(*words)
    assert first.status == 0, first.err
    assert f"2 DICOM objects in {tmp_path / 'out'}\n" in first.err
    assert "no DICOM objects for 1 image: of no series\n" in first.err
    assert "no DICOM objects for 1.2.9: it has 2 slices, fewer than 5\n" in first.err
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.dcm")}
    assert sorted(path.name.partition("-")[0] for path in written) == ["map", "report"]
    again = run(*words)
    assert f"0 DICOM objects in {tmp_path / 'out'}, 2 were there\n" in again.err
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_an_unknown_kind_of_dicom_object_is_an_error_before_the_work(run, tmp_path, tiny_bundle):
    write_series(tmp_path / "brain", VOLUME)
    ended = run("predict", tmp_path / "brain", "--bundle", tiny_bundle.folder,
                "--dicom-out", tmp_path / "out", "--dicom-objects", "sr,pdf")  # fmt: skip
    assert ended.status == 2
    assert "names no DICOM object (pdf). Name some of sr,pm,sc,ko,seg." in ended.err
    assert not (tmp_path / "out").exists()


def test_a_folder_is_written_without_names_and_every_file_is_accounted_for(run, tmp_path):
    write_series(tmp_path / "study", VOLUME, PatientName="MILLER^JANE", PatientID="4711")
    (tmp_path / "study" / "letter.txt").write_text("Dear Jane")
    out, key = tmp_path / "clean", tmp_path / "study.key"
    ended = run("dicom", "deidentify", tmp_path / "study", out, "--key", key)
    assert ended.status == 0, ended.err
    report = tmp_path / "clean-report.csv"
    assert ended.out.split("\n")[:2] == [str(out), str(report)]
    assert "7 files: 6 written" in ended.err
    assert "1 left out: 1 is not a DICOM file" in ended.err
    rows = read_table(report)
    assert [row["written"] for row in rows].count("yes") == 6
    assert all((out / row["out"]).is_file() for row in rows if row["out"])
    assert b"MILLER" not in b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file())


def test_names_are_taken_out_again_over_an_earlier_run(run, tmp_path):
    write_series(tmp_path / "study", VOLUME)
    words = ("dicom", "deidentify", tmp_path / "study", tmp_path / "out", "--key", tmp_path / "key")
    assert run(*words).status == 0
    names = sorted(path.name for path in (tmp_path / "out").rglob("*"))
    assert run(*words).status == 0
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == names


def test_blank_outside_the_head_keeps_the_head(run, tmp_path):
    head = np.zeros((96, 96), np.int16)
    head[20:76, 20:76] = 500 + np.random.default_rng(0).integers(0, 99, (56, 56))
    head[2:8, 60:90] = 800  # a name, drawn in
    write_series(tmp_path / "study", np.stack([head] * 5))
    out = tmp_path / "out"
    words = ("dicom", "deidentify", tmp_path / "study", out, "--key", tmp_path / "key")
    assert run(*words, "--blank-outside-head").status == 0
    for path in out.rglob("*.dcm"):
        (scan,) = open_images(path)
        assert not scan.pixels[:15].any()
        assert (scan.pixels[30:60, 30:60] == head[30:60, 30:60]).all()


@pytest.mark.parametrize("place", ["study/out", "study"])
def test_what_is_written_never_lies_among_what_is_read(run, tmp_path, place):
    write_series(tmp_path / "study", VOLUME)
    ended = run(
        "dicom", "deidentify", tmp_path / "study", tmp_path / place, "--key", tmp_path / "k"
    )
    assert ended.status == 2
    assert "is read" in ended.err


def test_a_damaged_file_gives_status_3(run, tmp_path):
    folder = write_series(tmp_path / "study", VOLUME)
    whole = folder / "IM0000"
    whole.write_bytes(whole.read_bytes()[:-99])
    ended = run("dicom", "deidentify", folder, tmp_path / "out", "--key", tmp_path / "key")
    assert ended.status == 3
    assert "1 left out: 1 damaged or incomplete" in ended.err


def test_predict_writes_nifti_volumes_under_names_that_do_not_collide(run, tmp_path, tiny_bundle):
    for folder in ("a", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "T1w.nii").write_bytes(nifti_bytes(ras_volume()))
    out = tmp_path / "out"
    ended = run("predict", tmp_path / "in", "--bundle", tiny_bundle.folder, "--nifti-out", out)
    assert ended.status == 0, ended.err
    assert f"4 NIfTI volumes in {out}\n" in ended.err
    kinds = ("evidence", "probability")
    names = {f"{stem}_{kind}.nii.gz" for stem in ("T1w", "T1w-2") for kind in kinds}
    assert {path.name for path in out.glob("*.nii.gz")} == names


def test_the_figures_of_a_report_are_those_of_the_tables(run, tmp_path, tiny_bundle):
    write_series(tmp_path / "brain", VOLUME)
    table = tmp_path / "predictions.csv"
    ended = run("predict", tmp_path / "brain", "--bundle", tiny_bundle.folder, "--out", table,
                "--dicom-out", tmp_path / "out", "--dicom-objects", "sr")  # fmt: skip
    assert ended.status == 0, ended.err
    (path,) = (tmp_path / "out").glob("*.dcm")
    values = [e.value for e in dcmread(path).iterall() if e.keyword == "NumericValue"]
    (series,) = read_table(table.with_name("series.csv"))
    positive = [row for row in read_table(table) if row["decision"] == "tumor"]
    expected = [float(series["score"]), *(float(row["tumor_probability"]) for row in positive)]
    assert series["decision"] != "out of scope"
    assert [float(value) for value in values] == pytest.approx(expected, abs=5e-7)
