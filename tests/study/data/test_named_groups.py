"""Patients and augmented copies that names of files and folders tell of."""

from pathlib import Path

import pytest

from tumorlens.records import Case
from tumorlens.study.audit.duplicates.copies import group_links
from tumorlens.study.data.named_groups import NamedGroups, read_names


def cases_of(*names: str, label: str = "mri_tumor", **known: str) -> list[Case]:
    return [Case(Path(name), f"scans/{name}", label, dataset="scans", **known) for name in names]


def groups_of(found: NamedGroups) -> list[list[int]]:
    """Return the cases of each named group, by position."""
    names = dict.fromkeys(filter(None, found.names))
    return [[i for i, other in enumerate(found.names) if other == name] for name in names]


PAIRS = [[0, 1], [2, 3], [4, 5]]
SURE = {
    "folders in classes": "yes/P1/1 yes/P1/2 yes/P2/1 yes/P2/2 no/P3/1 no/P3/2",
    "folders below a sequence": (
        "yes/T1/P1/1 yes/T2/P1/2 yes/T1/P2/1 yes/T1/P2/2 no/T1/P3/1 no/T1/P3/2"
    ),
    "folders in parts": (
        "train/yes/7/1 test/yes/7/2 train/yes/8/1 train/yes/8/2 val/no/9/1 val/no/9/2"
    ),
    "a mark before the stem": (
        "yes/aug_a_1_0 yes/aug_a_1_1 yes/aug_a_2_0 yes/aug_a_2_1 yes/aug_a_3_0 yes/aug_a_3_1"
    ),
    "numbers of Keras": (
        "yes/aug_Y1_0_48 yes/aug_Y1_0_73 yes/aug_Y2_0_15 yes/aug_Y2_0_99 "
        "yes/aug_Y3_0_4 yes/aug_Y3_0_8"
    ),
    "a mark behind the stem": "yes/Y1 yes/Y1_flip yes/Y2 yes/Y2_rot90 yes/Y3 yes/Y3-aug2",
    "copies of a file manager": "yes/a yes/a-Copy yes/b yes/b_copy_2 yes/c yes/c-Copy",
    "exports of Roboflow": (
        "yes/a_jpg.rf.0123456789ab yes/a_jpg.rf.fedcba987654 "
        "yes/b_jpg.rf.0123456789ac yes/b_jpg.rf.0123456789ad "
        "yes/c_jpg.rf.0123456789ae yes/c_jpg.rf.0123456789af"
    ),
    "a word for the patient": (
        "yes/patient07_FLAIR_036 yes/patient07_FLAIR_040 yes/patient08_T1_036 "
        "yes/patient08_T1_040 no/patient09_T1_001 no/patient09_T1_002"
    ),
    "subjects of BIDS": (
        "yes/sub-01_T1_052 yes/sub-01_T1_056 yes/sub-02_T1_052 yes/sub-02_T1_060 "
        "no/sub-03_T1_1 no/sub-03_T1_2"
    ),
    "TCGA": (
        "yes/TCGA_DU_5849_19950405_10 yes/TCGA_DU_5849_19950406_12 "
        "yes/TCGA_DU_5850_19950405_1 yes/TCGA_DU_5850_19950405_2 "
        "no/TCGA_HT_5850_19950405_2 no/TCGA_HT_5850_19950405_4"
    ),
}


@pytest.mark.parametrize("kind", SURE)
def test_what_is_sure_becomes_groups(kind):
    found = read_names(cases_of(*(f"{name}.png" for name in SURE[kind].split())))
    assert groups_of(found) == PAIRS
    assert len(found.notes) == 1
    assert "taken as" in found.notes[0]


UNSURE = {
    "number_number": "yes/12_1 yes/12_2 yes/13_1 yes/13_2 no/14_1 no/14_2",
    "letters and numbers": (
        "yes/IXI012_T1_000 yes/IXI012_T1_006 yes/IXI013_T1_0 yes/IXI013_T1_6 "
        "no/IXI014_T1_0 no/IXI014_T1_6"
    ),
    "two folders": "yes/batch1/1 yes/batch1/2 yes/batch2/3 no/batch2/4",
    "marks that share one stem": "yes/aug_img_1 yes/aug_img_2 yes/aug_img_3 yes/aug_img_4",
}


@pytest.mark.parametrize("kind", UNSURE)
def test_what_may_be_so_is_only_mentioned(kind):
    found = read_names(cases_of(*(f"{name}.png" for name in UNSURE[kind].split())))
    assert not any(found.names)
    assert "may be" in found.notes[0]
    assert "fill the column patient" in found.notes[0]


SILENT = {
    "numbers alone": "yes/1 yes/2 no/1 no/2",
    "numbers behind a class": "yes/mri_glioma_0001 yes/mri_glioma_0002 no/mri_healthy_0001",
    "numbers in brackets": "yes/glioma_(1) yes/glioma_(2) no/no_(3)",
    "one folder around all": "yes/export/1 yes/export/2 no/export/3",
    "sequences": "yes/T1/1 yes/T2/2 no/FLAIR/3",
}


@pytest.mark.parametrize("kind", SILENT)
def test_ordinary_names_say_nothing(kind):
    found = read_names(cases_of(*(f"{name}.png" for name in SILENT[kind].split())))
    assert found == NamedGroups(("",) * len(found.names), ())


@pytest.mark.parametrize("column", ["patient", "group"])
def test_a_set_that_records_who_is_who_is_believed(column):
    cases = cases_of(*(f"{name}.png" for name in SURE["TCGA"].split()), **{column: "7"})
    assert read_names(cases).notes == ()


def test_sources_of_one_name_in_two_classes_are_two():
    names = [f"aug_{n}_{k}.png" for n in range(3) for k in range(2)]
    tumors, healthy = (cases_of(*names, label=label) for label in ("mri_tumor", "mri_healthy"))
    assert len(groups_of(read_names([*tumors, *healthy]))) == 6


def test_named_groups_stay_together_and_are_told():
    cases = cases_of(*(f"{name}.png" for name in SURE["folders in classes"].split()))
    found = group_links(cases, [])
    assert found.groups.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.image_ids.tolist() == [0, 1, 2, 3, 4, 5]
    assert "(P1, P2, P3) are taken as patients" in found.notes[0]
    assert found.take([0, 2]).notes == found.notes
