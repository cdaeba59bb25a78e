"""Subgroups are the rows they say, and what a split tells of its cases is read from it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.made_answers import make_answers, one_atom

from tumorlens.json_records import to_json
from tumorlens.records import Case
from tumorlens.study.data.splits import Split
from tumorlens.study.evaluation.detection import detection_figures
from tumorlens.study.evaluation.subgroups import (
    NO_SIZE,
    find_subgroups,
    lesion_sizes,
    read_context,
    size_band,
    subgroup_figures,
)

NAMES = ("ct_tumor", "ct_healthy", "mri_glioma", "mri_healthy", "tumor", "healthy")
ATOMS = ("ct_tumor", "ct_tumor", "mri_glioma", "mri_healthy", "mri_pituitary", "ct_healthy")


@pytest.fixture
def cases() -> list[Case]:
    return [
        Case(Path(f"{i}.png"), f"set{i % 2}/{i}.png", name, f"set{i % 2}",
             patient="p" if i < 2 else None)
        for i, name in enumerate(NAMES)
    ]  # fmt: skip


@pytest.fixture
def answers():
    return make_answers(NAMES, one_atom(*ATOMS))


def rows_of(cases, answers, kind, **more):
    found = find_subgroups(cases, answers, **more)[kind]
    return {name: np.flatnonzero(rows).tolist() for name, rows in found.items()}


def test_modality_set_and_patient_are_those_of_the_cases(cases, answers):
    assert rows_of(cases, answers, "modality") == {
        "ct": [0, 1], "mri": [2, 3], "not recorded": [4, 5],
    }  # fmt: skip
    assert rows_of(cases, answers, "data set") == {"set0": [0, 2, 4], "set1": [1, 3, 5]}
    assert rows_of(cases, answers, "patient") == {"known": [0, 1], "not known": [2, 3, 4, 5]}


def test_a_label_is_measured_against_the_other_finding_of_its_modality(cases, answers):
    found = rows_of(cases, answers, "label")
    assert found["ct_tumor"] == [0, 1, 5], "of the vague healthy ones, that predicted CT"
    assert found["mri_glioma"] == [2, 3]
    assert found["mri_healthy"] == [2, 3, 4]
    assert found["tumor"] == [1, 3, 4, 5], "a label without modality against all healthy scans"


def test_copies_are_a_subgroup_only_where_a_split_knows(cases, answers):
    kind = "copy in training or validation"
    assert kind not in find_subgroups(cases, answers)
    found = rows_of(cases, answers, kind, copies={"set0/0.png": True, "set1/1.png": False})
    assert found == {"has none": [1, 2, 3, 4, 5], "has one": [0]}


@pytest.mark.parametrize(
    ("shape", "band"),
    [((10, 200), "up to 200 px"), ((201, 20), "201 to 256 px"), ((512, 512), "257 to 512 px"),
     ((513, 1), "above 512 px")],
)  # fmt: skip
def test_the_longer_side_decides_the_band(write_image, shape, band):
    assert size_band(write_image(np.zeros(shape, np.uint8), "a.png")) == band


def test_a_missing_or_foreign_file_has_no_size(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert size_band(tmp_path / "a.png") == size_band(tmp_path / "gone.png") == NO_SIZE


def test_marked_tumors_are_parted_by_size_each_quarter_beside_all_healthy_scans():
    names = ["mri_glioma"] * 24 + ["mri_healthy"] * 3
    cases = [Case(Path(f"{i}.png"), f"s/{i}", name, "s") for i, name in enumerate(names)]
    answers = make_answers(tuple(names), one_atom(*names))
    masks = {i: np.arange(100).reshape(10, 10) < i + 1 for i in range(24)}
    lesions = lesion_sizes(masks, range(27))
    found = rows_of(cases, answers, "size of the tumor", lesions=lesions)
    assert next(iter(found)) == "smallest quarter, 1.0% to 6.8% of the image"
    assert [rows[-3:] for rows in found.values()] == [[24, 25, 26]] * 4
    assert [rows[:-3] for rows in found.values()] == [
        list(range(6 * quarter, 6 * quarter + 6)) for quarter in range(4)
    ]
    few = find_subgroups(cases, answers, lesions=[0.1] * 19 + [np.nan] * 8)
    assert "size of the tumor" not in few


def test_subgroups_hold_the_figures_of_their_rows(cases, answers):
    subgroups = find_subgroups(cases, answers)
    found, rows = to_json(subgroup_figures(answers, subgroups)), subgroups["modality"]["mri"]
    assert found["modality"]["mri"]["detection"] == to_json(detection_figures(answers, rows))
    assert found["modality"]["mri"]["type"]["n"] == 1
    assert found["modality"]["ct"]["type"] is None


# --- what a split knows ---------------------------------------------------------------------


@pytest.fixture
def split(cases) -> Split:
    keys = [case.key for case in cases]
    parts = dict(zip(keys, ("train", "val", "test", "test", "test", "test"), strict=True))
    pictures = dict(zip(keys, ("a", "b", "a", "b", "c", "c"), strict=True))
    return Split(parts, dict.fromkeys(keys, "g"), pictures, "0", "1")


@pytest.fixture
def parted(cases, split) -> list[Case]:
    return [replace(case, split=split.parts[case.key]) for case in cases]


def test_copies_and_validation_are_told_of_the_test_part(parted, split):
    found = read_context(parted, split, part="test")
    assert list(found.copies.values()) == [True, True, False, False]
    assert [case.key for case in found.validation] == ["set1/1.png"]


@pytest.mark.parametrize("part", ["train", "val", "all"])
def test_of_other_parts_they_are_not(parted, split, part):
    found = read_context(parted, split, part=part)
    assert (found.copies, found.validation) == (None, ())


def test_pictures_under_several_labels_are_conflicts(parted, split):
    found = read_context(parted, split, part="test").conflicts
    assert found["set0/0.png"] == ("mri_glioma",)
    assert found["set1/5.png"] == ("tumor",)
    same = [replace(case, label="healthy") for case in parted]
    assert read_context(same, split, part="test").conflicts == {}
