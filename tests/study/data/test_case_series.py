"""Facts about which labeled slices make a series, and in which order."""

from pathlib import Path

import numpy as np
import pytest
from support.broken_files import HEAD
from support.dicom_files import write_series

from tumorlens.records import Case
from tumorlens.study.data.case_series import count_sources, find_series
from tumorlens.study.phantom.volumes import draw_volume, write_nifti


def case(name: str, *, patient="p", label="mri_healthy", level=None) -> Case:
    return Case(Path(f"set/a/{name}"), f"set/a/{name}", label, "set", patient=patient, level=level)


def names(cases, series) -> list[str]:
    return [cases[row].path.name for row in series.rows]


def test_slices_of_one_patient_and_sequence_are_in_the_order_of_their_numbers():
    cases = [case(f"p_{k}_{seq}.png") for k in (10, 2, 1, 7, 4) for seq in ("t1", "t1c")]
    found = find_series(cases)
    assert [series.name for series in found] == ["set/p_t1", "set/p_t1c"]
    assert names(cases, found[0]) == [f"p_{k}_t1.png" for k in (1, 2, 4, 7, 10)]
    assert found[0].positions == (None,) * 5


def test_a_number_in_the_name_of_a_patient_is_not_that_of_a_slice():
    cases = [case(f"Subj10_T1_{k:03d}.png") for k in (12, 0, 6, 18, 24)]
    (found,) = find_series(cases)
    assert found.name == "set/Subj10_T1"
    assert found.rows == (1, 2, 0, 3, 4)


def test_a_known_level_goes_before_the_number():
    cases = [case(f"p_{k}.png", level=level) for k, level in enumerate([0.9, 0.1, 0.5, 0.7, 0.3])]
    (found,) = find_series(cases)
    assert found.rows == (1, 4, 2, 3, 0)


def test_a_series_has_a_tumor_where_one_of_its_slices_has():
    cases = [case(f"p_{k}.png", label="mri_glioma" if k == 2 else "mri_healthy") for k in range(5)]
    (found,) = find_series(cases)
    assert found.is_tumor
    assert found.has_tumor == (False, False, True, False, False)


@pytest.mark.parametrize("cases", [
    [case(f"p_{k}.png", patient=None) for k in range(9)],
    [case(f"p_{k}.png") for k in range(4)],
    [case(f"p_{k}.png", patient=f"p{k}") for k in range(9)],
])  # fmt: skip
def test_slices_without_a_patient_or_too_few_of_one_make_no_series(cases):
    assert find_series(cases) == []


def test_dicom_slices_are_ordered_by_position_in_millimeters(tmp_path):
    write_series(tmp_path, np.stack([HEAD.astype(np.int16)] * 5))
    files = sorted(tmp_path.iterdir(), reverse=True)
    cases = [Case(f, f"set/{f.name}", "mri_healthy", "set", patient="p") for f in files]
    (found,) = find_series(cases)
    assert list(found.positions) == sorted(found.positions)
    assert found.plane == "axial"
    assert len(found.rows) == 5


def test_slices_of_one_volume_are_a_series_also_where_some_are_left_out(tmp_path):
    write_nifti(draw_volume("mri", "healthy", seed=1, side=64), tmp_path / "v.nii.gz")
    cases = [
        Case(tmp_path / f"v.nii.gz#{k}", f"set/v.nii.gz#{k}", "mri_healthy", "set", patient="p")
        for k in (9, 4, 5, 6, 7, 8)
    ]
    (found,) = find_series(cases)
    assert found.rows == (1, 2, 3, 4, 5, 0)
    assert np.diff(np.array(found.positions)) == pytest.approx(6.0)


def test_sources_are_counted_by_what_their_series_have():
    cases = [case(f"p_{k}.png", label="mri_glioma") for k in range(5)]
    cases += [case(f"q_{k}.png", patient="q") for k in range(5)]
    counts = count_sources(cases, find_series(cases))
    assert list(counts.values()) == [{"tumor": 1, "healthy": 1}]
