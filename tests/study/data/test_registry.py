"""Every public data set says where it is, what it may be used for and what is wrong with it."""

import re

import pytest

from tumorlens.labels import LABELS, MODALITIES, canonical_label, modality_of
from tumorlens.study.data.case_table import SPLIT_NAMES
from tumorlens.study.data.datasets.arrange import ARRANGERS, known_labels
from tumorlens.study.data.registry import DATASETS

LAYOUTS = {"class folders", "split/class folders", "cases.csv"}
rows = pytest.mark.parametrize("row", DATASETS.values(), ids=DATASETS.keys())


def test_the_sets_that_the_study_is_about_are_known():
    assert set(DATASETS) >= {"multimodal", "navoneel", "br35h", "bohaju", "figshare",
                             "nickparvar", "sartaj"}  # fmt: skip


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


@rows
def test_every_set_can_be_fetched_and_arranged(row):
    assert row.archives
    assert row.arrangement in ARRANGERS
    assert bool(row.rules) == (row.arrangement == "rules")
    assert (row.table is not None) == (row.arrangement == "table")


@rows
def test_archives_have_names_of_their_own_and_https_addresses(row):
    names = [archive.name for archive in row.archives]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[\w.-]+\.zip", name) for name in names)
    assert all(archive.url.startswith("https://") for archive in row.archives)


@rows
def test_a_checksum_is_stated_with_its_kind_or_not_at_all(row):
    kinds = re.compile(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}")
    stated = [archive.checksum for archive in row.archives if archive.checksum is not None]
    assert all(kinds.fullmatch(checksum) for checksum in stated)
    assert len(set(stated)) == len(stated)


@rows
def test_a_set_is_arranged_under_known_labels_and_splits(row):
    assert known_labels(row) <= set(LABELS)
    assert {rule.split for rule in row.rules} <= {None, *SPLIT_NAMES.values()}
    assert all(row.modality in (None, modality_of(label)) for label in known_labels(row))


@rows
def test_patterns_are_written_as_paths_are_compared(row):
    assert all(rule.pattern.startswith("*/") for rule in row.rules)
    assert all(rule.pattern == rule.pattern.lower() for rule in row.rules)
    assert row.table is None or row.table.file == row.table.file.lower()


@rows
def test_what_is_left_out_has_a_reason(row):
    assert all((rule.label is None) == bool(rule.why) for rule in row.rules)
