"""A page, its report and every other reader of an answer stand on the same facts."""

from dataclasses import replace

import pytest

from tumorlens.models.performance import ReliabilityBin, ValidationPerformance
from tumorlens.predictions.decision import similar_scans, type_status
from tumorlens.records import Estimate, Prediction
from tumorlens.reports.scan.content import describe
from tumorlens.services.dashboard.charts.answers import similar_text
from tumorlens.services.dashboard.texts import translator

EDGES = ((0.002, 0.1), (0.2, 0.4), (0.5, 0.9))
RATE = Estimate(0.9, 0.8, 0.95, 10)
BINS = tuple(ReliabilityBin(143, 31, (a + b) / 2, a, b, 0.16, 0.29) for a, b in EDGES)


@pytest.fixture
def bundle(tiny_bundle):
    return replace(
        tiny_bundle,
        performance={"mri": ValidationPerformance(300, 150, 250, RATE, RATE, RATE, BINS)},
    )


def of(probability: float | None, modality: str = "mri") -> Prediction:
    return Prediction("a.png", modality, 0.9, probability, "no tumor")


@pytest.mark.parametrize(
    ("p", "expected", "is_inside"),
    [(0.05, 0, True), (0.25, 1, True), (0.4, 1, True), (0.19, 1, False), (0.13, 0, False),
     (0.001, 0, False), (0.999, 2, False)],
)  # fmt: skip
def test_similar_scans_are_those_of_the_bin_around_or_else_the_nearest(
    bundle, p, expected, is_inside
):
    found = similar_scans(of(p), bundle)
    assert (found.bin, found.is_inside) == (BINS[expected], is_inside)


@pytest.mark.parametrize("prediction", [of(None), of(0.3, "ct")])
def test_nothing_is_similar_where_nothing_was_recorded(bundle, prediction):
    assert similar_scans(prediction, bundle) is None


@pytest.mark.parametrize("p", [0.001, 0.05, 0.15, 0.3, 0.999])
def test_a_page_and_its_own_report_name_the_same_similar_scans(bundle, p):
    nearest = similar_scans(of(p), bundle)
    page = similar_text(of(p), bundle, translator("en"))
    report = describe(of(p), bundle).similar
    for text in (page, report):
        for figure in (f"{nearest.bin.least:.3f}", f"{nearest.bin.most:.3f}", "143", "31 had"):
            assert figure in text
        assert ("validation scan had a probability like this one" in text) != nearest.is_inside


@pytest.mark.parametrize(
    ("type_", "probabilities", "status"),
    [("", {}, "not asked"), ("undetermined", {}, "not typed on CT"),
     ("undetermined", {"glioma": 0.4}, "undetermined"), ("glioma", {"glioma": 0.9}, "named")],
)  # fmt: skip
def test_a_type_is_named_or_the_reason_is(type_, probabilities, status):
    found = Prediction("a.png", type=type_, type_probabilities=probabilities)
    assert type_status(found) == status
