"""Facts about answers as NIfTI volumes: the same grid, the same values."""

import json
import re

import nibabel as nib
import numpy as np
import pytest
from support.answered_series import answered_series
from support.nifti_files import nifti_bytes, ras_volume

from tumorlens.images.listing import list_series
from tumorlens.images.readers import open_images
from tumorlens.predictions.heatmaps import evidence_on_scan
from tumorlens.predictions.predictor import Predictor
from tumorlens.predictions.series_answer import answer_of
from tumorlens.predictions.series_rows import iter_predict_series
from tumorlens.reports.nifti import stem_of, write_volumes
from tumorlens.settings import Settings

OBLIQUE = np.array([[0, 0.1, 3.9, 7], [-0.98, 0.02, 0, 9], [0, -0.95, 0.2, -4], [0, 0, 0, 1]])
AFFINES = {
    "RAS": np.diag([1.0, 1.0, 4.0, 1.0]),
    "LPS": np.diag([-1.0, -1.0, 4.0, 1.0]),
    "axes in another order": np.array([[0, 0, 4, 0], [-1, 0, 0, 5], [0, -1, 0, 2], [0, 0, 0, 1.0]]),
    "oblique": OBLIQUE,
}


def written(path, bundle, out):
    (series,) = (listing := list_series([path])).series
    predictor = Predictor(bundle, Settings(workers=1))
    found = list(iter_predict_series(predictor, [path], listing, heatmaps=True))
    answer = answer_of(series, found, bundle)
    paths = write_volumes(series, found, answer, name=lambda kind: out / f"{kind}.nii.gz")
    return found, [nib.load(p) for p in paths], answer


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_volumes_lie_on_the_grid_of_their_source(affine, tmp_path, tiny_bundle):
    source = tmp_path / "a.nii"
    source.write_bytes(nifti_bytes(ras_volume(), affine))
    found, (evidence, probability), _ = written(source, tiny_bundle, tmp_path)
    original = nib.load(source)
    for image in (evidence, probability):
        assert image.shape == original.shape
        np.testing.assert_allclose(image.affine, affine, atol=1e-5)
        assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)
        assert image.header.get_xyzt_units()[0] == "mm"
    # Read as any volume is, slice k is that of prediction k.
    read = open_images(tmp_path / "evidence.nii.gz")
    assert np.ptp(read[0].pixels) > 0
    for scan, prediction in zip(read, sorted(found, key=lambda p: p.slice), strict=True):
        assert scan.frame == prediction.frame
        expected = evidence_on_scan(prediction.heatmap, scan.pixels.shape)
        np.testing.assert_allclose(scan.pixels, expected, atol=1e-6)
    values = {float(v) for v in np.unique(probability.get_fdata(dtype=np.float32))}
    given = {float(np.float32(p.tumor_probability)) for p in found if p.decision != "out of scope"}
    assert {v for v in values if not np.isnan(v)} == given


def test_a_volume_that_does_not_say_how_it_lies_stays_so(tmp_path, tiny_bundle):
    source = tmp_path / "a.nii"
    source.write_bytes(nifti_bytes(ras_volume(), sform=0, qform=0))
    _, (evidence, _), _ = written(source, tiny_bundle, tmp_path)
    assert (int(evidence.header["sform_code"]), int(evidence.header["qform_code"])) == (0, 0)


def test_voxels_of_a_dicom_series_lie_where_its_pixels_lie(tmp_path, tiny_bundle):
    made = answered_series(tmp_path / "in", tiny_bundle)
    paths = write_volumes(made.series, made.predictions, made.answer,
                          name=lambda kind: tmp_path / f"{kind}.nii.gz")  # fmt: skip
    image, header = nib.load(paths[0]), made.series.slices[2]
    evidence = evidence_on_scan(made.predictions[2].heatmap, header.matrix)
    row, column = np.unravel_index(evidence.argmax(), evidence.shape)
    x, y, z = header.corner
    in_lps = (x + column * header.spacing_mm[1], y + row * header.spacing_mm[0], z)
    voxel = np.linalg.inv(image.affine) @ [-in_lps[0], -in_lps[1], in_lps[2], 1]
    np.testing.assert_allclose(voxel[:3], [column, row, 2], atol=1e-4)
    assert image.get_fdata(dtype=np.float32)[column, row, 2] == evidence[row, column]


def test_the_file_beside_says_what_voxels_mean_and_holds_the_answer(tmp_path, tiny_bundle):
    (tmp_path / "a.nii").write_bytes(nifti_bytes(ras_volume()))
    _, _, answer = written(tmp_path / "a.nii", tiny_bundle, tmp_path)
    document = json.loads((tmp_path / "evidence.json").read_text())
    assert "logits" in document["Description"]
    assert document["Answer"]["score"] == answer.score
    assert "Research use only" in document["Notice"]


def test_volumes_are_named_after_their_file_and_series_by_no_word_of_their_header(
    tmp_path, tiny_bundle
):
    (tmp_path / "sub-01_T1w.nii").write_bytes(nifti_bytes(ras_volume()))
    (series,) = list_series([tmp_path / "sub-01_T1w.nii"]).series
    assert stem_of(series) == "sub-01_T1w"
    made = answered_series(tmp_path / "in", tiny_bundle)
    assert re.fullmatch(r"series-[0-9a-f]{12}", stem_of(made.series))
