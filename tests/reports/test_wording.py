"""A report of a scan says in words what its figures mean, and what is not known."""

from dataclasses import replace

import pytest

from tumorlens.models.bundle import UncertaintyBand
from tumorlens.models.performance import ReliabilityBin, ValidationPerformance, load_operating_point
from tumorlens.records import Estimate, Prediction
from tumorlens.reports.scan.content import describe

BINS = (
    ReliabilityBin(n=40, tumors=2, predicted=0.05, least=0.01, most=0.1, low=0.014, high=0.165),
    ReliabilityBin(n=40, tumors=39, predicted=0.9, least=0.6, most=0.99, low=0.87, high=0.996),
)
MEASURED = ValidationPerformance(
    n=80, n_tumor=41, n_groups=60, auc=Estimate(0.97, 0.9, 0.99, 80),
    sensitivity=Estimate(0.951, 0.86, 1.0, 41), specificity=Estimate(0.974, 0.9, 1.0, 39),
    bins=BINS,
)  # fmt: skip
FOUND = Prediction(
    "slice.png", modality="mri", modality_probability=0.99, tumor_probability=0.7,
    decision="tumor", type="glioma", threshold=0.31,
    type_probabilities={"glioma": 0.8, "meningioma": 0.15, "pituitary": 0.05},
)  # fmt: skip


@pytest.fixture
def bundle(tiny_bundle):
    choice = {"aim": "sensitivity >= 0.98", "part": "validation", "n": 80, "n_tumor": 41,
              "sensitivity": 0.9512, "specificity": 0.9744}  # fmt: skip
    return replace(
        tiny_bundle, operating_point=load_operating_point(choice, threshold=0.31),
        performance={"mri": MEASURED}, uncertainty_band=UncertaintyBand(0.4, 0.6, 0.02),
    )  # fmt: skip


def test_the_operating_point_is_told_in_words_with_intervals_and_n(bundle):
    text = describe(FOUND, bundle).operating_point
    assert text.startswith("Flagged at 0.310")
    assert "sensitivity 0.951 (0.860-1.000, n=41)" in text
    assert "specificity 0.974 (0.900-1.000, n=39) on MRI validation scans" in text


def test_a_bundle_of_before_says_what_it_did_not_record(bundle):
    words = describe(FOUND, replace(bundle, performance={}))
    assert "sensitivity 0.951 (n=41), specificity 0.974 (n=39)" in words.operating_point
    assert "not recorded in this bundle" in words.operating_point
    assert "not recorded in this bundle" in words.similar


@pytest.mark.parametrize(
    ("probability", "told"),
    [(0.7, "Of 40 MRI validation scans with a probability of 0.600 to 0.990, 39 had a tumor"),
     (0.55, "0.600 to 0.990"), (0.12, "0.010 to 0.100"), (0.999, "No validation scan")],
)  # fmt: skip
def test_similar_scans_are_those_of_the_bin_around_or_nearest(bundle, probability, told):
    words = describe(replace(FOUND, tumor_probability=probability), bundle)
    assert told in words.similar


@pytest.mark.parametrize(
    ("decision", "headline", "warning"),
    [("tumor", "Flagged", ""), ("no tumor", "Not flagged", ""),
     ("uncertain", "No answer", "Between 0.400 and 0.600"),
     ("out of scope", "No answer", "unlike those the bundle was trained on")],
)  # fmt: skip
def test_each_decision_has_its_headline_and_warning(bundle, decision, headline, warning):
    words = describe(replace(FOUND, decision=decision), bundle)
    assert words.headline.startswith(headline)
    assert warning in words.warning
    assert bool(warning) == bool(words.warning)


@pytest.mark.parametrize(("probability", "side"), [(0.31, "at or above"), (0.309, "below")])
def test_the_answer_says_on_which_side_of_the_threshold_it_lies(bundle, probability, side):
    words = describe(replace(FOUND, tumor_probability=probability), bundle)
    assert f"{side} the threshold of 0.310" in words.answer


@pytest.mark.parametrize(
    ("changes", "told"),
    [({}, "Glioma; given a tumor: glioma 0.80"),
     ({"type": "undetermined"}, "Undetermined (none reaches one half)"),
     ({"type": "undetermined", "type_probabilities": {}}, "CT slices are not typed"),
     ({"type": ""}, "Not asked")],
)  # fmt: skip
def test_the_type_is_named_or_said_to_be_open(bundle, changes, told):
    assert told in describe(replace(FOUND, **changes), bundle).type


def test_a_scan_that_could_not_be_read_has_its_error_and_no_answer(bundle):
    words = describe(Prediction("x.png", error="is broken. Export it again."), bundle)
    assert (words.headline, words.warning) == ("Could not be read", "is broken. Export it again.")
    assert not words.answer
