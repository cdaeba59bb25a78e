"""Facts about BIDS data sets that are answered for."""

import json

import nibabel as nib
import pytest
from support.command import Run, command_runner
from support.dicom_tools import output_of, program
from support.nifti_files import nifti_bytes, ras_volume


@pytest.fixture
def run(monkeypatch, capsys) -> Run:
    return command_runner(monkeypatch, capsys)


@pytest.fixture
def study(tmp_path):
    """Two participants, one with sessions; a mask, a run of function, and derivatives beside."""
    root = tmp_path / "study"
    for name in (
        "sub-01/anat/sub-01_T1w.nii", "sub-01/anat/sub-01_acq-3d_run-1_FLAIR.nii",
        "sub-01/anat/sub-01_T1w_mask.nii", "sub-01/func/sub-01_task-rest_bold.nii",
        "sub-02/ses-a/anat/sub-02_ses-a_ce-gadolinium_T1w.nii",
        "derivatives/other/sub-01/anat/sub-01_T1w.nii",
    ):  # fmt: skip
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(nifti_bytes(ras_volume()))
    described = {"Name": "Heads", "BIDSVersion": "1.8.0"}
    (root / "dataset_description.json").write_text(json.dumps(described))
    return root


def rows(path) -> list[dict[str, str]]:
    columns, *lines = (line.split("\t") for line in path.read_text().splitlines())
    return [dict(zip(columns, line, strict=True)) for line in lines]


def test_a_validator_finds_no_error_in_the_derivative(run, study, tmp_path, tiny_bundle):
    out = tmp_path / "out"
    ended = run("bids", study, out, "participant", "--bundle", tiny_bundle.folder)
    assert ended.status == 0, ended.err
    assert f"3 images answered for in {out}\n" in ended.err
    said = output_of(program("bids-validator-deno", "PyPI"), out, "--json")
    issues = json.loads(said[said.index("{") : said.rindex("}") + 1])["issues"]["issues"]
    assert [i for i in issues if i["severity"] == "error"] == []
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "Tumorlens"
    assert description["SourceDatasets"] == [{"URL": "../study"}]


def test_each_image_has_volumes_a_row_and_its_source(run, study, tmp_path, tiny_bundle):
    out = tmp_path / "out"
    run("bids", study, out, "participant", "--bundle", tiny_bundle.folder)
    found = {row["source"]: row for row in rows(out / "sub-01" / "sub-01_scans.tsv")}
    assert set(found) == {"sub-01/anat/sub-01_T1w.nii", "sub-01/anat/sub-01_acq-3d_run-1_FLAIR.nii"}
    for source, row in found.items():
        volume = out / "sub-01" / row["filename"]
        assert nib.load(volume).shape == nib.load(study / source).shape
        sidecar = json.loads(volume.with_name(volume.name.replace(".nii.gz", ".json")).read_text())
        assert sidecar["Sources"] == [f"bids:raw:{source}"]
        assert float(row["score"]) == pytest.approx(sidecar["Answer"]["score"], abs=1e-6)
    folder = out / "sub-02" / "ses-a" / "anat"
    assert (folder / "sub-02_ses-a_ce-gadolinium_desc-T1w_evidence.nii.gz").is_file()


def test_participants_join_those_of_an_earlier_run(run, study, tmp_path, tiny_bundle):
    out = study / "derivatives" / "tumorlens"
    for label in ("02", "sub-01"):
        ended = run("bids", study, out, "participant", "--participant-label", label,
                    "--bundle", tiny_bundle.folder)  # fmt: skip
        assert ended.status == 0, ended.err
    found = [(row["participant_id"], row["images"]) for row in rows(out / "participants.tsv")]
    assert found == [("sub-01", "2"), ("sub-02", "1")]


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_kept(
    run, study, tmp_path, tiny_bundle
):
    (study / "sub-01" / "anat" / "sub-01_T1w.nii").write_bytes(b"\0" * 400)
    ended = run("bids", study, tmp_path / "out", "participant", "--bundle", tiny_bundle.folder)
    assert ended.status == 3
    assert "no answer: sub-01/anat/sub-01_T1w.nii: " in ended.err
    assert len(rows(tmp_path / "out" / "sub-01" / "sub-01_scans.tsv")) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--participant-label", "09"], "has no sub-09. It has sub-01, sub-02."),
        (["--participant-label", "01", "--participant-label", "03,04"], "has no sub-03, sub-04"),
    ],
)
def test_a_participant_that_is_not_there_is_an_error(run, study, tmp_path, words, told):
    ended = run("bids", study, tmp_path / "out", "participant", *words)
    assert ended.status == 2
    assert told in ended.err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_description_is_no_bids_data_set(run, tmp_path):
    ended = run("bids", tmp_path, tmp_path / "out", "participant")
    assert ended.status == 2
    assert "is no BIDS data set: it has no dataset_description.json" in ended.err


def test_there_is_no_level_but_that_of_participants(run, study, tmp_path):
    ended = run("bids", study, tmp_path / "out", "group")
    assert ended.status == 2
    assert "group: is no level that this app has. Name participant" in ended.err
