"""Facts about the rule for series: what it learns, from whom, and how it is kept."""

from dataclasses import replace

import numpy as np
import pytest
from support.series_cases import write_patients

from tumorlens.errors import TrainingError
from tumorlens.files import read_table
from tumorlens.models.bundle import load_bundle
from tumorlens.predictions.series_answer import answer_series
from tumorlens.records import Prediction
from tumorlens.study.data.case_series import AnsweredSeries, CaseSeries
from tumorlens.study.data.index import read_cases
from tumorlens.study.training.series_rule import fit_rule, train_series

SLICES = 20


def patient(number: int, is_ill: bool, bundle, *, strength: float, rng) -> AnsweredSeries:
    """A series whose ill slices score higher by `strength`, with an embedding of noise."""
    shows = tuple(is_ill and 8 <= k < 12 for k in range(SLICES))
    p = np.clip(rng.normal(0.2, 0.1, SLICES) + strength * np.array(shows), 0.01, 0.99)
    predictions = tuple(
        Prediction(f"{k}", "mri", tumor_probability=float(value), decision="uncertain",
                   embedding=rng.normal(size=6).astype(np.float32))
        for k, value in enumerate(p)
    )  # fmt: skip
    places = tuple(4.0 * k for k in range(SLICES))
    series = CaseSeries(f"s{number}", f"p{number}", tuple(range(SLICES)), shows, places)
    return AnsweredSeries(
        series, answer_series(predictions, positions=places, bundle=bundle), predictions
    )


@pytest.fixture
def patients(tiny_bundle):
    def made(count: int, *, strength: float = 0.6, seed: int = 0) -> list[AnsweredSeries]:
        rng = np.random.default_rng(seed)
        return [patient(k, k % 2 == 0, tiny_bundle, strength=strength, rng=rng)
                for k in range(count)]  # fmt: skip

    return made


def test_a_rule_tells_patients_it_never_saw(patients):
    rule, _ = fit_rule(patients(40), patients(20, seed=1))
    found = [rule.probability({"top_mean": one.answer.score, "maximum": one.answer.maximum,
                               "longest_run_mm": one.answer.longest_run_mm})
             for one in patients(20, seed=2)]  # fmt: skip
    assert min(found[::2]) > rule.threshold > max(found[1::2])


def test_an_embedding_that_does_not_help_on_validation_is_dropped(patients):
    rule, _ = fit_rule(patients(40, strength=0.1), patients(40, strength=0.1, seed=1))
    assert rule.projection == ()
    assert set(rule.features) <= {"top_mean", "maximum", "longest_run_mm"}


def test_an_embedding_that_tells_patients_apart_is_kept(patients):
    def told(part):
        return [replace(one, predictions=tuple(
            replace(p, embedding=p.embedding + 3 * np.float32(one.series.is_tumor))
            for p in one.predictions)) for one in part]  # fmt: skip

    rule, loss = fit_rule(told(patients(40, strength=0)), told(patients(40, strength=0, seed=1)))
    assert loss["with embedding"] < loss["plain"]
    assert rule.uses_embedding
    assert "embedding_0" in rule.features


def test_probabilities_of_scores_that_know_nothing_stay_near_one_half(patients):
    rule, _ = fit_rule(patients(60, strength=0), patients(60, strength=0, seed=1))
    found = [rule.probability({"top_mean": one.answer.score, "maximum": one.answer.maximum,
                               "longest_run_mm": one.answer.longest_run_mm})
             for one in patients(30, strength=0, seed=2)]  # fmt: skip
    assert 0.3 < np.mean(found) < 0.7


def test_what_no_training_series_knows_is_no_feature(patients):
    blind = [replace(one, answer=replace(one.answer, longest_run_mm=None)) for one in patients(40)]
    rule, _ = fit_rule(blind, blind)
    assert "longest_run_mm" not in rule.features


@pytest.mark.parametrize(("training", "validation", "named"), [(8, 20, "training"),
                                                               (20, 8, "validation")])  # fmt: skip
def test_too_few_patients_are_refused(patients, training, validation, named):
    with pytest.raises(TrainingError, match=f"{named}.* has series of 4 patients"):
        fit_rule(patients(training), patients(validation))


def test_patients_become_a_bundle_with_a_rule_and_a_table(tiny_bundle, tmp_path):
    cases = read_cases(write_patients(tmp_path / "set"))
    scope = replace(tiny_bundle.ood_reference, limit=2.0)
    found = train_series(cases, replace(tiny_bundle, ood_reference=scope), tmp_path / "out")
    bundle = load_bundle(tmp_path / "out" / "bundle")
    assert bundle.series_rule == found.rule
    assert bundle.graph_sha256 == tiny_bundle.graph_sha256
    assert "Answers for series" in (bundle.folder / "card.md").read_text()
    rows = read_table(tmp_path / "out" / "series.csv")
    assert {row["part"] for row in rows} == {"train", "val", "test"}
    assert all(row["calibrated"] == "yes" for row in rows)
    assert found.counts == {"train": (5, 5), "val": (5, 5), "test": (1, 1)}
    assert found.auc is not None
    assert found.auc.n == 2


def test_a_patient_in_two_parts_is_refused(tiny_bundle, tmp_path):
    cases = read_cases(write_patients(tmp_path / "set"))
    torn = [replace(cases[0], split="val"), *cases[1:]]
    with pytest.raises(TrainingError, match="several parts"):
        train_series(torn, tiny_bundle, tmp_path / "out")
