"""Facts about the one answer for a series: what its slices say together, and when they may not."""

from dataclasses import replace

import numpy as np
import pytest

from tumorlens.models.bundle import load_bundle, write_bundle
from tumorlens.models.series_rule import SeriesRule, load_series_rule
from tumorlens.predictions.series_answer import (
    answer_series,
    describe_series,
    longest_run,
    series_columns,
    smooth,
)
from tumorlens.records import Estimate, Prediction

NOTHING = Estimate(None, None, None, 0)
TYPES = {"glioma": 0.8, "meningioma": 0.1, "pituitary": 0.1}
RULE = SeriesRule(
    features=("top_mean", "longest_run_mm"),
    means=(0.5, 20.0),
    scales=(0.2, 10.0),
    coefficients=(2.0, 1.0),
    intercept=0.0,
    threshold=0.4,
    low=0.3,
    high=0.5,
    planes=("axial",),
    modalities=("mri",),
    sensitivity=NOTHING,
    specificity=NOTHING,
    n_patients=20,
)


def slices(*probabilities, modality="mri", decision="tumor", **changes) -> list[Prediction]:
    return [
        Prediction(
            f"{number}.dcm",
            modality=modality,
            tumor_probability=None if p is None else p,
            decision="" if p is None else decision,
            type_probabilities=TYPES if modality == "mri" else {},
            **changes,
        )
        for number, p in enumerate(probabilities)
    ]


@pytest.fixture
def answer(tiny_bundle):
    def answered(predictions, *, rule=None, step=5.0, **options):
        places = [step * k if step else None for k in range(len(predictions))]
        bundle = replace(tiny_bundle, series_rule=rule)
        return answer_series(predictions, positions=places, bundle=bundle, **options)

    return answered


def test_a_neighbor_five_millimeters_away_weighs_half():
    found = smooth(np.array([0.0, 1.0, 0.0]), np.array([0.0, 5.0, 10.0]))
    assert found[1] == pytest.approx(1 / 2)
    assert found[0] == pytest.approx(0.5 / (1 + 0.5 + 1 / 16))


def test_a_slice_without_an_answer_has_none_after_smoothing_and_weighs_nothing():
    found = smooth(np.array([0.4, np.nan, 0.4]), None)
    assert np.isnan(found[1])
    assert found[[0, 2]] == pytest.approx([0.4, 0.4])


def test_one_slice_that_stands_out_weighs_less_than_three_in_a_row(answer):
    alone = answer(slices(*[0.01] * 10, 0.9, *[0.01] * 10))
    row = answer(slices(*[0.01] * 9, 0.9, 0.9, 0.9, *[0.01] * 9))
    assert alone.score < row.score / 1.5
    assert row.peak_slice == 11


def test_the_score_is_the_mean_of_a_tenth_of_the_slices_and_of_three_at_least(answer):
    found = answer(slices(*np.linspace(0, 1, 40)), step=100.0)
    assert found.score == pytest.approx(np.mean(np.linspace(0, 1, 40)[-4:]))
    few = answer(slices(0.1, 0.2, 0.3, 0.4, 0.5), step=100.0)
    assert few.score == pytest.approx(0.4)


def test_the_longest_run_is_in_millimeters_and_a_gap_ends_it():
    at = np.array([0.0, 4, 8, 12, 16, 20])
    assert longest_run(np.array([1, 1, 0, 1, 1, 1], bool), at) == (3, 12.0)
    assert longest_run(np.zeros(6, bool), at) == (0, 0.0)
    assert longest_run(np.array([1, 1], bool), None) == (2, None)


def test_without_a_rule_an_answer_is_said_to_be_uncalibrated(answer):
    found = answer(slices(*[0.9] * 6))
    assert (found.decision, found.is_calibrated, found.probability) == ("tumor", False, None)
    assert "uncalibrated" in describe_series(found)
    assert series_columns(found)["calibrated"] == "no"


def test_a_rule_gives_a_probability_by_its_plain_numbers(answer):
    found = answer(slices(*[0.5] * 6), rule=RULE)
    run = (found.longest_run_mm - 20) / 10
    assert found.probability == pytest.approx(1 / (1 + np.exp(-run)))
    assert found.threshold == 0.4
    assert "uncalibrated" not in describe_series(found)


def test_what_a_series_does_not_know_counts_as_the_mean(answer):
    found = answer(slices(*[0.5] * 6), rule=RULE, step=None)
    assert found.probability == pytest.approx(0.5)


def test_between_the_limits_of_a_rule_nothing_is_decided(answer):
    found = answer(slices(*[0.45] * 6), rule=RULE, step=None)
    assert 0.3 < found.probability < 0.5
    assert found.decision == "uncertain"


@pytest.mark.parametrize(
    ("predictions", "options", "reason"),
    [
        (slices(*[0.9] * 6), {"plane": "oblique"}, "oblique"),
        (slices(0.9, 0.9, 0.9), {}, "fewer than 5"),
        (slices(*[0.9] * 6), {"modality": "ct"}, "its header says ct"),
        (slices(*[0.9] * 4) + slices(*[0.9] * 4, modality="ct"), {}, "partly like CT"),
        (
            slices(*[0.9] * 4) + slices(*[0.9] * 2, modality_probability=0.1),
            {},
            "its header says mri, 2 of 6 slices look otherwise",
        ),
        (slices(*[0.9] * 6), {"plane": "coronal", "rule": RULE}, "learned on axial"),
        (slices(*[0.9] * 6, modality="ct"), {"rule": RULE}, "learned without ct"),
    ],
)
def test_what_speaks_against_an_answer_keeps_it_open_and_is_named(
    answer, predictions, options, reason
):
    found = answer(predictions, **options)
    assert found.decision == "uncertain"
    assert reason in "; ".join(found.reasons)


def test_a_series_whose_slices_are_mostly_out_of_scope_is_out_of_scope(answer):
    strange = slices(*[0.9] * 6, decision="out of scope")
    found = answer([*slices(*[0.9] * 5), *strange])
    assert found.decision == "out of scope"
    assert found.type == ""
    assert found.out_of_scope == pytest.approx(6 / 11)
    assert "0.9" not in describe_series(found)


def test_the_type_is_that_of_the_slices_that_show_it_best(answer):
    other = replace(slices(0.9)[0], type_probabilities={"glioma": 0.1, "meningioma": 0.9})
    found = answer([*slices(*[0.02] * 8), other, other, other], step=100.0)
    assert found.type == "meningioma"


def test_series_without_a_readable_slice_have_no_score(answer):
    found = answer(slices(*[None] * 6))
    assert (found.score, found.peak_slice, found.decision) == (None, None, "uncertain")


def test_a_rule_is_kept_in_the_bundle_as_plain_numbers(tiny_bundle, tmp_path):
    rule = replace(RULE, features=("maximum", "embedding_0"), projection=((0.5,) * 12,))
    (tmp_path / "model.onnx").write_bytes(tiny_bundle.graph.read_bytes())
    write_bundle(replace(tiny_bundle, folder=tmp_path, series_rule=rule), "card")
    found = load_bundle(tmp_path)
    assert found.series_rule == rule
    assert found.sha256 != tiny_bundle.sha256


@pytest.mark.parametrize(
    "wrong",
    [{"features": ["age", "maximum"]}, {"scales": [0.2, 0.0]}, {"low": 0.9}, {"means": [1.0]}],
)
def test_a_rule_that_cannot_be_true_is_refused(wrong):
    with pytest.raises(ValueError, match="series_rule"):
        load_series_rule({**RULE.to_json(), **wrong})
