"""Labels that the other scans do not support are listed, and others are not."""

import numpy as np
import pytest

from tumorlens.study.audit.label_check import DoubtfulLabel, doubtful_labels

CENTERS = {"mri_healthy": 0.0, "mri_glioma": 4.0, "mri_meningioma": 8.0}
EACH = 40


def embedding_of(labels: list[str], seed: int = 0) -> np.ndarray:
    """Points in 8 dimensions, each around the center of its label."""
    noise = np.random.default_rng(seed).normal(0, 1, (len(labels), 8))
    return (noise + np.array([[CENTERS[label]] for label in labels])).astype(np.float32)


TRUE = [label for label in CENTERS for _ in range(EACH)]
EMBEDDING = embedding_of(TRUE)
WRONG = {3: "mri_glioma", 17: "mri_meningioma", 45: "mri_healthy", 100: "mri_glioma"}


def check(labels: list[str], **changes) -> list[DoubtfulLabel]:
    rows = np.arange(len(labels))
    given = {"embedding": EMBEDDING, "groups": rows, "image_ids": rows} | changes
    return doubtful_labels(labels, given["embedding"], given["groups"], given["image_ids"])


def mislabeled() -> list[str]:
    return [WRONG.get(i, label) for i, label in enumerate(TRUE)]


def test_planted_wrong_labels_are_listed_with_the_right_one():
    found = {doubt.position: doubt.suggested for doubt in check(mislabeled())}
    assert found == {i: TRUE[i] for i in WRONG}


def test_the_most_doubtful_comes_first():
    gaps = [doubt.probability - doubt.recorded_probability for doubt in check(mislabeled())]
    assert gaps == sorted(gaps, reverse=True)
    assert all(0 < gap <= 1 for gap in gaps)


def test_right_labels_are_not_doubted():
    assert check(TRUE) == []


def test_a_label_that_leaves_the_type_open_is_doubted_only_if_it_is_no_tumor():
    labels = ["mri_tumor" if i in (50, 90) else label for i, label in enumerate(TRUE)]
    labels[5] = "mri_tumor"
    assert [(d.position, d.suggested) for d in check(labels)] == [(5, "mri_healthy")]


def test_a_wrong_label_that_a_whole_group_shares_is_found():
    """It would not be, if the group had been learned."""
    groups = np.arange(len(TRUE))
    groups[:8] = 0
    labels = ["mri_glioma" if i < 8 else label for i, label in enumerate(TRUE)]
    assert {doubt.position for doubt in check(labels, groups=groups)} == set(range(8))


def test_of_copies_under_one_label_one_is_listed():
    image_ids = np.arange(len(TRUE))
    image_ids[4] = image_ids[3]
    labels = ["mri_glioma" if i in (3, 4) else label for i, label in enumerate(TRUE)]
    found = check(labels, image_ids=image_ids, groups=image_ids)
    assert [doubt.position for doubt in found] == [3]


@pytest.mark.parametrize("groups", [np.arange(len(TRUE)) // EACH, np.zeros(len(TRUE), int)])
def test_labels_of_too_few_groups_are_not_checked(groups):
    assert check(mislabeled(), groups=groups) == []


def test_files_without_an_embedding_are_left_out():
    embedding = EMBEDDING.copy()
    embedding[3] = np.nan
    assert 3 not in {doubt.position for doubt in check(mislabeled(), embedding=embedding)}
    assert check(mislabeled(), embedding=np.zeros((len(TRUE), 0), np.float32)) == []
