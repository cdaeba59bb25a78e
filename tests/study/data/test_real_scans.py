"""Facts about the public sets; nothing of a scan is shown, written or compared by eye."""

import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tumorlens.images.readers import read_scan
from tumorlens.inputs.prepare import InputSpec, prepare
from tumorlens.labels import is_tumor
from tumorlens.models.bundle import SHIPPED, SHIPPED_DEFAULT, load_bundle
from tumorlens.records import Case
from tumorlens.study.audit.duplicates.copies import find_copies
from tumorlens.study.data.index import read_cases

DATA = os.environ.get("TUMORLENS_DATA", "")
pytestmark = pytest.mark.skipif(
    not DATA, reason="set TUMORLENS_DATA to a folder with the public sets"
)
COUNTS = {"multimodal": 9618, "br35h": 3000, "navoneel": 253, "bohaju": 3762, "figshare": 2843}
MULTIMODAL = {"ct_healthy": 2300, "ct_tumor": 2318, "mri_healthy": 2000, "mri_glioma": 672,
              "mri_meningioma": 1112, "mri_pituitary": 629, "mri_tumor": 587}  # fmt: skip


def cases_of(name: str) -> list[Case]:
    if not (Path(DATA) / name).is_dir():
        pytest.skip(f"{name} is not in TUMORLENS_DATA")
    return read_cases(Path(DATA) / name)


def sample(cases: list[Case], count: int) -> list[Case]:
    return random.Random(0).sample(sorted(cases, key=lambda case: case.key), count)


@pytest.mark.parametrize("name", COUNTS)
def test_a_set_has_as_many_cases_as_it_is_known_for(name):
    assert len(cases_of(name)) == COUNTS[name]


def test_the_multimodal_set_has_its_seven_labels_in_three_parts():
    cases = cases_of("multimodal")
    assert Counter(case.label for case in cases) == MULTIMODAL
    assert Counter(case.split for case in cases) == {"train": 6730, "val": 1443, "test": 1445}


@pytest.mark.parametrize("name", ["br35h", "navoneel", "bohaju"])
def test_a_set_of_mri_is_labeled_as_one(name):
    assert {case.label for case in cases_of(name)} == {"mri_tumor", "mri_healthy"}


def test_every_figshare_slice_has_a_type_a_patient_and_a_mask():
    cases = cases_of("figshare")
    assert {case.label for case in cases} == {"mri_glioma", "mri_meningioma", "mri_pituitary"}
    assert len({case.patient for case in cases}) == 168
    assert all(case.mask and case.mask.is_file() for case in cases)


@pytest.mark.parametrize("name", COUNTS)
def test_a_sample_of_a_set_reads_and_prepares_to_a_head(name):
    for case in sample(cases_of(name), 40):
        pixels = prepare(read_scan(case.path), InputSpec(side=64)).pixels
        filled = (pixels > 0).mean()
        assert 0.15 < filled <= 1, case.key
        assert pixels.std() > 10, case.key


def test_figshare_holds_no_copies():
    links = find_copies([case.path for case in sample(cases_of("figshare"), 150)])
    assert [link for link in links if link.kind != "neighbor"] == []


def test_the_published_multimodal_split_has_copies_of_test_scans_in_training():
    healthy = sorted(
        (case for case in cases_of("multimodal") if case.label == "mri_healthy"
         and case.split in ("test", "train")),
        key=lambda case: case.key,
    )  # fmt: skip
    test = [case for case in healthy if case.split == "test"][:200]
    chosen = [*test, *[case for case in healthy if case.split == "train"][:200]]
    links = find_copies([case.path for case in chosen])
    across = {
        tuple(sorted((chosen[k.a].split, chosen[k.b].split))) for k in links if k.kind != "neighbor"
    }
    assert ("test", "train") in across


@pytest.mark.skipif(
    not (SHIPPED / SHIPPED_DEFAULT / "bundle.json").is_file(), reason="no bundle ships yet"
)
def test_the_shipped_bundle_tells_tumor_from_healthy_on_mri_of_the_multimodal_test_folder():
    """A check that nothing is wired wrongly; the set is known to it, so this is no quality."""
    from sklearn.metrics import roc_auc_score

    from tumorlens.predictions.predictor import Predictor

    mri = [c for c in cases_of("multimodal") if c.split == "test" and c.label.startswith("mri")]
    chosen = [
        *sample([case for case in mri if not is_tumor(case.label)], 60),
        *sample([case for case in mri if is_tumor(case.label)], 60),
    ]
    found = Predictor(load_bundle()).predict([case.path for case in chosen])
    assert not any(prediction.error for prediction in found)
    truth = np.arange(120) >= 60
    assert roc_auc_score(truth, [p.tumor_probability for p in found]) > 0.95
