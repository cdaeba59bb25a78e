"""The usable cases of a part, prepared; what cannot be read is listed and left out."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tumorlens.errors import TrainingError
from tumorlens.inputs.prepare import InputSpec
from tumorlens.labels import ATOMS
from tumorlens.records import Case
from tumorlens.study.data.index import read_cases
from tumorlens.study.phantom import write_phantoms
from tumorlens.study.training.data.training_set import Subset, prepare_subset

SPEC = InputSpec(side=32)


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> list[Case]:
    """Twelve phantoms; the second cannot be read."""
    root = write_phantoms(tmp_path_factory.mktemp("set") / "set", per_class=2, seed=1, side=64)
    found = read_cases(root)
    found[1].path.write_bytes(b"broken")
    return found


def prepared(cases: list[Case], folder: Path, image_ids: dict[str, str] | None = None) -> Subset:
    return prepare_subset(
        cases, SPEC, image_ids=image_ids or {}, cache=folder / "cache", unreadable=folder / "u.csv"
    )


def test_what_cannot_be_read_is_left_out_and_listed(cases, tmp_path):
    part = prepared(cases, tmp_path)
    assert part.cases == (cases[0], *cases[2:])
    assert part.images.shape == (11, 32, 32)
    with (tmp_path / "u.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert row["path"] == str(cases[1].path)
    assert row["error"]


def test_without_unreadable_scans_there_is_no_list(cases, tmp_path):
    prepared(cases[2:], tmp_path)
    assert not (tmp_path / "u.csv").exists()


def test_copies_of_one_image_share_a_number_and_others_stand_alone(cases, tmp_path):
    part = prepared(cases[2:6], tmp_path, {cases[2].key: "p", cases[5].key: "p"})
    assert part.image_ids[0] == part.image_ids[3]
    assert len(set(part.image_ids.tolist())) == 3


def test_the_first_copy_of_each_image_keeps_the_order_and_its_own_image(cases, tmp_path):
    part = prepared(cases[2:6], tmp_path, {cases[2].key: "z", cases[5].key: "z"})
    first = part.without_copies()
    assert first.cases == tuple(cases[2:5])
    np.testing.assert_array_equal(first.images, part.images[:3])


def test_a_stratum_is_a_set_and_a_label_together(cases, tmp_path):
    part = prepared(cases[2:6], tmp_path)
    other = Subset(
        tuple(replace(case, dataset="other") for case in part.cases[:2]) + part.cases[2:],
        part.images, part.image_ids,
    )  # fmt: skip
    assert len(set(part.strata.tolist())) == len({case.label for case in cases[2:6]})
    assert len(set(other.strata.tolist())) == len({(c.dataset, c.label) for c in other.cases})


def test_a_training_set_holds_the_masks_of_the_labels(cases, tmp_path):
    part = prepared(cases[2:], tmp_path)
    data = part.to_training_set()
    assert [ATOMS[i] for i in data.label_masks.argmax(1)] == part.names
    assert len(data) == 10


@pytest.mark.parametrize("rows", [slice(0, 0), slice(1, 2)])
def test_a_part_without_a_readable_scan_is_refused(cases, tmp_path, rows):
    with pytest.raises(TrainingError, match="leaves a part without scans"):
        prepared(cases[rows], tmp_path)
