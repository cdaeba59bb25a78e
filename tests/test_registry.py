"""Every public data set says where it is, what it may be used for and what is wrong with it."""

import pytest

from tumorlens.labels import MODALITIES, canonical_label
from tumorlens.study.datasets.registry import DATASETS

LAYOUTS = {"class folders", "split/class folders", "cases.csv"}
rows = pytest.mark.parametrize("row", DATASETS.values(), ids=DATASETS.keys())


def test_the_sets_that_the_study_is_about_are_known():
    assert set(DATASETS) >= {"multimodal", "navoneel", "br35h", "bohaju", "figshare"}


@rows
@pytest.mark.parametrize("field", ["title", "license", "citation", "published_split", "caution"])
def test_a_row_states_every_fact(row, field):
    assert len(getattr(row, field).strip()) > 3


@rows
def test_a_row_stands_under_its_own_lower_case_name(row):
    assert DATASETS[row.name] is row
    assert row.name == row.name.lower(), "folders are looked up in lower case"


@rows
def test_the_address_is_https(row):
    assert row.url.startswith("https://")
    assert " " not in row.url


@rows
def test_layout_and_modality_are_ones_that_the_index_knows(row):
    assert row.layout in LAYOUTS
    assert row.modality is None or row.modality in MODALITIES


@rows
def test_own_label_names_lead_to_known_labels(row):
    assert all(canonical_label(name) for name in row.labels.values())
