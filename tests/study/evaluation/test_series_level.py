"""Facts about figures of whole series and patients, and of marked tumors found."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.series_cases import write_patients

from tumorlens.inputs.prepare import InputSpec
from tumorlens.json_records import to_json
from tumorlens.predictions.predictor import Predictor, load_predictor
from tumorlens.records import Case, Heatmap, Prediction
from tumorlens.study.data.index import read_cases
from tumorlens.study.data.masks import prepared_masks
from tumorlens.study.evaluation.froc import RATES, Candidates, find_candidates, froc_figures
from tumorlens.study.evaluation.series_level import series_figures
from tumorlens.study.phantom.volumes import draw_volume, write_dicom


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> list[Case]:
    return read_cases(write_patients(tmp_path_factory.mktemp("set"), patients=8))


def answers(cases, *, right: bool = True) -> list[Prediction]:
    """Predictions that see every tumor, or none but where there is none."""
    return [
        Prediction(str(case.path), "mri", tumor_probability=p, decision="tumor" if p > 0.5 else
                   "no tumor")
        for case in cases
        for p in ((0.9 if (case.label == "mri_glioma") == right else 0.1),)
    ]  # fmt: skip


def test_perfect_slices_make_perfect_series_with_intervals_that_have_a_width(cases, tiny_bundle):
    found = series_figures(cases, answers(cases), tiny_bundle)
    assert found is not None
    assert (found.series.n, found.series.n_tumor, found.patients.n) == (8, 4, 8)
    for figure in (found.series.auc, found.patients.auc, found.peak_hit):
        assert figure.value == 1
        assert figure.low < 1


def test_the_peak_of_a_series_is_held_against_a_slice_drawn_by_lot(cases, tiny_bundle):
    found = series_figures(cases, answers(cases, right=False), tiny_bundle)
    assert found.peak_hit.value == 0
    assert found.peak_chance.value == pytest.approx(2 / 6)
    assert found.peak_hit.n == 4


def test_without_a_rule_nothing_is_said_of_calibration(cases, tiny_bundle):
    found = series_figures(cases, answers(cases), tiny_bundle)
    assert not found.is_calibrated
    assert found.calibration is None


def test_a_patient_counts_by_the_highest_of_its_series(cases, tiny_bundle):
    other = [
        replace(case, path=Path(str(case.path).replace("flair", "t1")), key=f"{case.key}_t1")
        for case in cases
    ]
    both = answers(cases) + [replace(p, tumor_probability=0.1) for p in answers(cases)]
    found = series_figures([*cases, *other], both, tiny_bundle)
    assert (found.series.n, found.patients.n) == (16, 8)
    assert found.series.auc.value == pytest.approx(0.75)
    assert found.patients.auc.value == 1


def test_sources_that_hold_one_kind_each_are_said_to_coincide_with_the_label(cases, tiny_bundle):
    ill = {case.patient for case in cases if case.label == "mri_glioma"}
    parted = [replace(c, dataset="ill" if c.patient in ill else "well") for c in cases]
    assert series_figures(parted, answers(parted), tiny_bundle).is_confounded
    assert not series_figures(cases, answers(cases), tiny_bundle).is_confounded


def test_cases_without_patients_have_no_series_level(cases, tiny_bundle):
    alone = [replace(case, patient=None) for case in cases]
    assert series_figures(alone, answers(alone), tiny_bundle) is None


def test_candidates_are_the_peaks_of_the_evidence_strongest_first():
    evidence = np.zeros((8, 8), np.float32)
    evidence[2, 3], evidence[6, 6], evidence[6, 5] = 2.0, 3.0, 1.0
    found = find_candidates(Heatmap(evidence, np.zeros((64, 64), np.uint8)))
    assert found.scores.tolist() == [3.0, 2.0]
    assert found.points[1] * 8 == pytest.approx([2.5, 3.5])


@pytest.fixture
def marked(tmp_path, head):
    """A slice with a mask in its middle, and one without a tumor."""
    mask = np.zeros(head.shape, np.uint8)
    mask[56:72, 56:72] = 255
    for name, pixels in (("a.png", head), ("a_mask.png", mask), ("b.png", head)):
        Image.fromarray(pixels).save(tmp_path / name)
    ill = Case(tmp_path / "a.png", "s/a", "mri_glioma", "s", mask=tmp_path / "a_mask.png")
    return [ill, Case(tmp_path / "b.png", "s/b", "mri_healthy", "s")]


def candidates(*rows: tuple[float, float, float]) -> Candidates:
    table = np.array(rows, float).reshape(-1, 3)
    return Candidates(table[:, 0], table[:, 1:])


def test_a_marked_tumor_is_found_by_a_candidate_inside_it(marked):
    judged = [candidates((2, 0.5, 0.5)), candidates((1, 0.1, 0.1))]
    found = froc_figures(marked, judged, prepared_masks(marked, InputSpec(side=64)))
    assert (found.n, found.n_lesions, found.false_positives) == (2, 1, RATES)
    assert [share.value for share in found.sensitivity] == [1.0] * len(RATES)
    assert all(share.low < 1 for share in found.sensitivity)


def test_a_wrong_candidate_that_is_stronger_counts_first(marked):
    weak = [candidates((1, 0.5, 0.5)), candidates((2, 0.1, 0.1))]
    found = froc_figures(marked, weak, prepared_masks(marked, InputSpec(side=64)))
    assert [share.value for share in found.sensitivity] == [0, 0, 1, 1]


def test_without_masks_there_is_no_froc(marked):
    assert froc_figures(marked[1:], [candidates()], {}) is None


def test_the_shipped_bundle_answers_for_volumes_of_phantoms(tmp_path):
    cases = []
    for seed, finding in ((1, "glioma"), (2, "healthy")):
        volume = draw_volume("mri", finding, seed=seed, side=96)
        write_dicom(volume, tmp_path / str(seed), seed=seed)
        shows = volume.mask.any((1, 2))
        cases += [
            Case(path, f"s/{seed}/{k}", f"mri_{finding}" if shows[k] else "mri_healthy", "s",
                 patient=str(seed))
            for k, path in enumerate(sorted((tmp_path / str(seed)).iterdir()))
        ]  # fmt: skip
    predictor: Predictor = load_predictor("tumorlens-small")
    found = series_figures(cases, predictor.predict([c.path for c in cases]), predictor.bundle)
    assert found.series.auc.value == 1
    assert found.peak_hit.value == 1
    json.dumps(to_json(found), allow_nan=False)
