"""Temperature, threshold, band and scope, as chosen on validation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorlens.errors import TrainingError
from tumorlens.predictions.decision import neighbor_distance
from tumorlens.study.training.packaging import operating_point as calibrate
from tumorlens.study.training.packaging.operating_point import (
    choose_scope,
    choose_scope_across_sources,
    even_sample,
    source_weights,
)

scored = st.lists(
    st.tuples(st.integers(0, 60).map(lambda k: k / 60), st.booleans()), min_size=2, max_size=60
).filter(lambda rows: len({truth for _, truth in rows}) == 2)
aims = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0])


def best_by_force(scores: np.ndarray, truth: np.ndarray, aim: float) -> tuple[float, float]:
    """Try every threshold; give sensitivity and specificity of the best that meets the aim."""
    tried = [
        ((scores[truth] >= t).mean(), (scores[~truth] < t).mean())
        for t in np.unique([*scores, 2.0])
    ]
    return max((s for s in tried if s[0] >= aim - 1e-9), key=lambda s: s[1])


@settings(max_examples=50)
@given(rows=scored, aim=aims)
def test_the_threshold_meets_the_aim_at_the_best_specificity_of_all_thresholds(rows, aim):
    scores, truth = np.array([s for s, _ in rows]), np.array([t for _, t in rows])
    choice = calibrate.choose_threshold(scores, truth, sensitivity=aim)
    assert choice.sensitivity.value >= aim - 1e-9
    assert choice.specificity.value == best_by_force(scores, truth, aim)[1]


@settings(max_examples=50)
@given(rows=scored, aim=aims)
def test_what_a_choice_reports_is_what_its_threshold_does(rows, aim):
    scores, truth = np.array([s for s, _ in rows]), np.array([t for _, t in rows])
    choice = calibrate.choose_threshold(scores, truth, sensitivity=aim)
    flagged = scores >= choice.threshold
    assert choice.sensitivity.value == pytest.approx(flagged[truth].mean())
    assert choice.specificity.value == pytest.approx((~flagged[~truth]).mean())
    assert (choice.n, choice.sensitivity.n) == (len(rows), int(truth.sum()))


def test_the_threshold_lies_between_two_observed_scores():
    scores = np.array([0.1, 0.2, 0.6, 0.8])
    choice = calibrate.choose_threshold(scores, np.array([0, 0, 1, 1], bool), sensitivity=1.0)
    assert choice.threshold == pytest.approx(0.4)


@pytest.mark.parametrize("above", [1.0, 1 - 2**-53, 1 - 2**-52, 1 - 3 * 2**-53, 0.75])
def test_a_threshold_between_neighboring_floats_keeps_the_best_specificity(above):
    scores = np.array([0.1, np.nextafter(above, 0), above])
    choice = calibrate.choose_threshold(scores, np.array([0, 0, 1], bool), sensitivity=1.0)
    assert (choice.sensitivity.value, choice.specificity.value) == (1.0, 1.0)


@pytest.mark.parametrize("truth", [True, False])
def test_one_class_alone_gives_no_threshold(truth):
    with pytest.raises(TrainingError, match="one class only"):
        calibrate.choose_threshold(np.array([0.2, 0.7]), np.full(2, truth), sensitivity=0.9)


def overlapping(n: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    scores = 1 / (1 + np.exp(-np.concatenate([rng.normal(-2, 1.5, n), rng.normal(2, 1.5, n)])))
    return scores, np.arange(2 * n) >= n


def test_the_band_leaves_out_at_most_its_error_of_each_class():
    scores, truth = overlapping()
    band = calibrate.choose_band(scores, truth, threshold=0.5, error=0.01)
    assert 0 < band.low < band.high < 1
    assert (scores[truth] < band.low).mean() <= band.error
    assert (scores[~truth] > band.high).mean() <= band.error


@pytest.mark.parametrize("error", [0.01, 0.02, 0.05])
def test_the_band_keeps_the_error_it_was_given(error):
    scores, truth = overlapping()
    band = calibrate.choose_band(scores, truth, threshold=0.5, error=error)
    assert band.error == error
    assert (scores[truth] < band.low).mean() == pytest.approx(error, abs=0.002)
    assert (scores[~truth] > band.high).mean() == pytest.approx(error, abs=0.002)


def test_the_band_is_no_wider_than_its_error_asks():
    scores, truth = overlapping()
    band = calibrate.choose_band(scores, truth, threshold=0.5, error=0.01)
    assert (scores[truth] < band.low).mean() > 0.8 * band.error
    assert (scores[~truth] > band.high).mean() > 0.8 * band.error


def test_the_band_holds_on_scores_it_was_not_chosen_on():
    scores, truth = overlapping()
    half = np.arange(len(scores)) % 2 == 0
    band = calibrate.choose_band(scores[half], truth[half], threshold=0.5, error=0.01)
    fresh, known = scores[~half], truth[~half]
    assert (fresh[known] < band.low).mean() < 0.025
    assert (fresh[~known] > band.high).mean() < 0.025


def test_where_the_classes_do_not_overlap_nothing_is_uncertain():
    scores, truth = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1], bool)
    band = calibrate.choose_band(scores, truth, threshold=0.5, error=0.01)
    assert (band.low, band.high) == (0.5, 0.5)


@settings(max_examples=50)
@given(rows=scored)
def test_no_threshold_is_more_often_right_than_the_balanced_one(rows):
    scores, truth = np.array([s for s, _ in rows]), np.array([t for _, t in rows])
    weights = source_weights(truth, ["a"] * len(rows))

    def right(threshold: float) -> float:
        return float(weights[(scores >= threshold) == truth].sum())

    found = calibrate.choose_balanced_threshold(scores, truth, weights=weights).threshold
    between = (np.unique(scores)[1:] + np.unique(scores)[:-1]) / 2
    assert right(found) >= max([right(t) for t in between], default=0.0) - 1e-9


def test_a_large_source_weighs_no_more_than_another():
    truth = np.array([True] * 400 + [True] * 100 + [False] * 500)
    weights = source_weights(truth, ["large"] * 400 + ["other"] * 100 + ["large"] * 500)
    assert weights[:400].sum() == pytest.approx(weights[400:500].sum()) == pytest.approx(0.25)
    assert weights.sum() == pytest.approx(1.0)


def test_a_source_with_few_scans_of_a_class_weighs_by_their_number():
    truth = np.array([True] * 100 + [True] * 5 + [False] * 100)
    weights = source_weights(truth, ["large"] * 100 + ["few"] * 5 + ["large"] * 100)
    assert weights[100:105].sum() / weights[:100].sum() == pytest.approx(5 / 50)


@pytest.mark.parametrize("risk", [0.005, 0.02, 0.05])
def test_of_what_a_band_by_risk_lets_through_at_most_that_share_is_wrong(risk):
    scores, truth = overlapping()
    weights = source_weights(truth, ["a"] * len(truth))
    band = calibrate.choose_band_by_risk(scores, truth, weights=weights, threshold=0.5, risk=risk)
    answered = (scores <= band.low) | (scores >= band.high)
    wrong = (scores[answered] >= band.high) != truth[answered]
    assert band.low <= 0.5 <= band.high
    assert 0.8 * risk < wrong.mean() <= risk
    assert (band.error, band.error_of) == (risk, "answered")


def test_where_few_enough_answers_are_wrong_anyway_a_band_by_risk_holds_nothing():
    scores, truth = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1], bool)
    weights = source_weights(truth, ["a"] * 4)
    band = calibrate.choose_band_by_risk(scores, truth, weights=weights, threshold=0.5, risk=0.02)
    assert (band.low, band.high) == (0.5, 0.5)


def test_where_no_answer_is_right_often_enough_all_is_uncertain():
    scores, truth = np.array([0.1, 0.2, 0.8, 0.9]), np.array([1, 1, 0, 0], bool)
    weights = source_weights(truth, ["a"] * 4)
    band = calibrate.choose_band_by_risk(scores, truth, weights=weights, threshold=0.5, risk=0.02)
    assert (band.low, band.high) == (0.0, 1.0)


def embeddings(n: int, seed: int, *, at: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = 0.2 * rng.random((n, 16))
    rows[:, at] += 3.0
    return rows.astype(np.float32)


NEAR = embeddings(50, 4)  # outsiders that cannot be told from scans
FAR = embeddings(50, 4, at=9)


def test_outsiders_are_counted_and_move_nothing():
    training, validation = embeddings(900, 0), embeddings(400, 1)
    far, near = (calibrate.choose_scope(training, validation, ood=o) for o in (FAR, NEAR))
    assert far.limit == near.limit
    assert far.refused == 1
    assert near.refused == pytest.approx(0.01, abs=0.05)


def test_the_scope_keeps_nearly_all_of_validation_and_refuses_what_is_far():
    scope = calibrate.choose_scope(embeddings(900, 0), embeddings(400, 1), ood=NEAR)
    assert scope.kept == pytest.approx(0.99, abs=0.005)
    assert (neighbor_distance(embeddings(400, 2), scope) <= scope.limit).mean() > 0.96
    assert (neighbor_distance(embeddings(50, 3, at=9), scope) > scope.limit).all()


def test_the_scope_keeps_a_bounded_number_of_unit_rows():
    scope = calibrate.choose_scope(embeddings(900, 0), embeddings(40, 1), ood=NEAR)
    assert scope.references.shape == (calibrate.REFERENCES, 16)
    np.testing.assert_allclose(np.linalg.norm(scope.references, axis=1), 1, atol=1e-6)


def test_the_scope_is_the_same_for_the_same_seed():
    training, validation = embeddings(900, 0), embeddings(40, 1)
    scopes = [
        calibrate.choose_scope(training, validation, ood=NEAR, seed=seed) for seed in (0, 0, 1)
    ]
    chosen = [scope.references for scope in scopes]
    np.testing.assert_array_equal(chosen[0], chosen[1])
    assert (chosen[0] != chosen[2]).any()


@pytest.mark.parametrize("n", [1, 3])
def test_fewer_training_scans_than_neighbors_still_give_a_scope(n):
    scope = calibrate.choose_scope(embeddings(n, 0), embeddings(20, 1), ood=NEAR)
    assert scope.neighbors == n
    assert np.isfinite(scope.limit)


def test_a_dead_embedding_does_not_spoil_the_scope():
    training = embeddings(50, 0)
    training[7] = 0
    scope = calibrate.choose_scope(training, embeddings(20, 1), ood=NEAR)
    assert np.isfinite(scope.references).all()
    assert np.isfinite(scope.limit)


def test_the_scope_across_sources_lets_in_heads_of_a_source_that_is_left_out():
    rng = np.random.default_rng(0)
    centers = {"a": [1, 0, 0, 0], "b": [0.9, 0.3, 0, 0], "c": [0.8, 0, 0.5, 0]}
    names = [name for name in centers for _ in range(60)]
    rows = np.array([centers[name] for name in names]) + rng.normal(0, 0.05, (180, 4))
    half = np.arange(120, 180, 2)  # c by every second scan, as it would be left out of others
    ood = np.array([[0, 0, 0, 1.0]]) + rng.normal(0, 0.05, (30, 4))
    found = choose_scope_across_sources(rows, names, validation=rows[::7], ood=ood)
    plain = choose_scope(rows, rows[::7], ood=ood)
    without_c = choose_scope_across_sources(
        rows[:120], names[:120], validation=rows[:120:7], ood=ood
    )
    assert (neighbor_distance(rows[half], without_c) <= found.limit).mean() > 0.9
    assert (neighbor_distance(rows[120:], without_c) > plain.limit).mean() > 0.5
    assert found.refused == 1.0


def test_a_sample_is_even_over_names_however_many_each_has():
    names = ["much"] * 90 + ["little"] * 5
    taken = [names[row] for row in even_sample(names, 20, seed=0)]
    assert (taken.count("little"), taken.count("much")) == (5, 15)
