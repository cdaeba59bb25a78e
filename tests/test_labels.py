"""Facts about the label algebra."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorlens.labels import (
    ATOMS,
    LABELS,
    NAMES,
    TYPES,
    UNLABELED,
    canonical_label,
    is_tumor,
    label_mask,
    modality_of,
    modality_probability,
    tumor_probability,
    type_of,
    type_probabilities,
)

SETTINGS = settings(max_examples=50)
LABEL = st.sampled_from(sorted(LABELS))


def softmax(logits: list[float]) -> np.ndarray:
    raised = np.exp(np.array(logits) - max(logits))
    return raised / raised.sum()


probabilities = st.lists(
    st.floats(-30, 30), min_size=len(ATOMS), max_size=len(ATOMS)
).map(softmax)  # fmt: skip


def probability_of(label: str, p: np.ndarray) -> float:
    return float(label_mask([label])[0] @ p)


@SETTINGS
@given(p=probabilities)
def test_modalities_sum_to_one(p):
    total = modality_probability(p, "ct") + modality_probability(p, "mri")
    assert total == pytest.approx(1)


@SETTINGS
@given(p=probabilities)
def test_tumor_and_healthy_sum_to_one(p):
    assert tumor_probability(p) + probability_of("healthy", p) == pytest.approx(1)


@SETTINGS
@given(p=probabilities)
def test_types_given_a_tumor_sum_to_one(p):
    given_tumor = type_probabilities(p)
    assert given_tumor.shape == (3,)
    assert given_tumor.sum() == pytest.approx(1)
    assert (given_tumor >= 0).all()


@SETTINGS
@given(p=probabilities, one=LABEL, other=LABEL)
def test_a_subset_is_never_more_probable_than_its_superset(p, one, other):
    if LABELS[one] <= LABELS[other]:
        assert probability_of(one, p) <= probability_of(other, p) + 1e-12


@SETTINGS
@given(p=probabilities)
def test_a_label_of_all_atoms_costs_nothing(p):
    everything = label_mask(["healthy", "tumor"]).max(axis=0)
    assert everything.tolist() == [1] * len(ATOMS)
    assert -np.log(everything @ p) == pytest.approx(0, abs=1e-6)


@SETTINGS
@given(p=probabilities)
def test_the_tumor_probability_is_that_of_the_label_tumor(p):
    assert float(tumor_probability(p)) == pytest.approx(probability_of("tumor", p))


def test_marginals_keep_the_leading_axes():
    p = np.full((2, 3, len(ATOMS)), 1 / len(ATOMS))
    assert tumor_probability(p).shape == modality_probability(p, "ct").shape == (2, 3)
    assert type_probabilities(p).shape == (2, 3, 3)


def test_types_stand_in_the_order_of_their_names():
    p = np.array([0, 0, 0, 0.5, 0.3, 0.2])
    assert dict(zip(TYPES, type_probabilities(p), strict=True)) == pytest.approx(
        {"glioma": 0.5, "meningioma": 0.3, "pituitary": 0.2}
    )


def test_no_tumor_at_all_gives_no_nan():
    assert np.isfinite(type_probabilities(np.array([1.0, 0, 0, 0, 0, 0]))).all()


def test_atoms_may_stand_in_another_order():
    shuffled = ATOMS[::-1]
    p = softmax(list(range(6)))
    assert tumor_probability(p[::-1], shuffled) == pytest.approx(tumor_probability(p))
    assert type_probabilities(p[::-1], shuffled) == pytest.approx(type_probabilities(p))
    assert label_mask(["mri_tumor"], shuffled)[0, ::-1].tolist() == (
        label_mask(["mri_tumor"])[0].tolist()
    )


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_known_name_leads_to_a_label(name):
    assert NAMES[name] in LABELS
    assert canonical_label(name) == NAMES[name]


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("modality", ["ct", "mri"])
def test_every_known_name_leads_to_a_label_within_a_modality(name, modality):
    assert canonical_label(name, modality=modality) in LABELS


@pytest.mark.parametrize(
    ("folder", "modality", "label"),
    [
        ("yes", None, "tumor"),
        ("no", None, "healthy"),
        ("Yes", "mri", "mri_tumor"),
        ("no", "ct", "ct_healthy"),
        ("no_tumor", "mri", "mri_healthy"),
        ("No Tumor", "mri", "mri_healthy"),
        ("notumor", "mri", "mri_healthy"),
        ("NoTumour", "mri", "mri_healthy"),
        ("Healthy", "ct", "ct_healthy"),
        ("Tumor", "ct", "ct_tumor"),
        ("tumour", "mri", "mri_tumor"),
        ("glioma", None, "mri_glioma"),
        ("glioma_tumor", "mri", "mri_glioma"),
        ("Glioma-Tumour", "mri", "mri_glioma"),
        ("meningioma_tumor", None, "mri_meningioma"),
        (" pituitary ", "mri", "mri_pituitary"),
        ("glioma", "ct", "ct_tumor"),
        ("meningioma_tumor", "ct", "ct_tumor"),
        ("mri-non-tumor", None, "mri_healthy"),
        ("MRI Non-Tumor", "mri", "mri_healthy"),
        ("ct_healthy", None, "ct_healthy"),
        ("ct-normal", None, "ct_healthy"),
        ("mri_tumor", None, "mri_tumor"),
        ("zebra", None, None),
        ("zebra", "mri", None),
        ("", None, None),
        ("???", "ct", None),
    ],
)
def test_a_folder_name_becomes_its_label(folder, modality, label):
    assert canonical_label(folder, modality=modality) == label


@pytest.mark.parametrize(
    ("label", "tumor", "modality", "type_"),
    [
        ("ct_healthy", False, "ct", None),
        ("ct_tumor", True, "ct", None),
        ("mri_healthy", False, "mri", None),
        ("mri_glioma", True, "mri", "glioma"),
        ("mri_meningioma", True, "mri", "meningioma"),
        ("mri_pituitary", True, "mri", "pituitary"),
        ("mri_tumor", True, "mri", None),
        ("healthy", False, None, None),
        ("tumor", True, None, None),
    ],
)
def test_a_label_says_no_more_than_its_atoms(label, tumor, modality, type_):
    assert (is_tumor(label), modality_of(label), type_of(label)) == (tumor, modality, type_)


def test_the_table_above_holds_every_label_that_says_something():
    assert len(LABELS) == 9 + 1
    assert LABELS[UNLABELED] == set(ATOMS)


def test_no_folder_name_means_unlabeled_in_a_table():
    assert canonical_label(UNLABELED) is None


@pytest.mark.parametrize("label", sorted(LABELS))
def test_a_label_is_one_row_of_its_atoms(label):
    row = label_mask([label])[0]
    assert {atom for atom, flag in zip(ATOMS, row, strict=True) if flag} == set(LABELS[label])


def test_no_labels_give_no_rows():
    assert label_mask([]).shape == (0, len(ATOMS))


def test_a_label_without_any_of_the_atoms_is_refused():
    with pytest.raises(ValueError, match="ct_tumor"):
        label_mask(["mri_glioma", "ct_tumor"], ["mri_healthy", "mri_glioma"])


def test_an_unknown_label_is_refused():
    with pytest.raises(KeyError):
        label_mask(["zebra"])
