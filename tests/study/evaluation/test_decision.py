"""Net benefit, risk against coverage and conformal sets do what their definitions say."""

import numpy as np
import pytest
from support.made_answers import able_answers, make_answers, one_atom, scored

from tumorlens.json_records import to_json
from tumorlens.study.evaluation.classification import class_limits, conformal_figures
from tumorlens.study.evaluation.decision import (
    abstention_figures,
    decision_figures,
    net_benefit,
    risk_coverage,
)


@pytest.mark.parametrize("t", [0.1, 0.3, 0.5, 0.9])
def test_net_benefit_is_counted_as_defined(t):
    answers = able_answers(0)
    found = to_json(net_benefit(answers))
    at = found["threshold"].index(t)
    flagged = answers.scores >= t
    tp, fp = (answers.truth & flagged).sum(), (~answers.truth & flagged).sum()
    assert found["model"][at] == pytest.approx((tp - fp * t / (1 - t)) / 200, abs=1e-9)
    prevalence = answers.truth.mean()
    assert found["all"][at] == pytest.approx(prevalence - (1 - prevalence) * t / (1 - t), abs=1e-9)


def test_noise_is_nowhere_better_than_both_and_skill_is():
    rng = np.random.default_rng(0)
    noise = scored(rng.random(300) < 0.5, rng.random(300))
    assert len(to_json(net_benefit(noise))["better_than_both"]) < 10
    assert len(to_json(net_benefit(able_answers(1, skill=5.0)))["better_than_both"]) > 50


def test_one_class_alone_has_no_net_benefit():
    assert to_json(net_benefit(scored([1, 1], [0.2, 0.9]))) is None


def test_the_surest_answers_come_first_and_all_have_the_whole_error():
    answers = scored([1, 1, 0, 0], [0.99, 0.4, 0.45, 0.02])
    found = to_json(risk_coverage(answers))
    assert found["coverage"] == [0.25, 0.5, 0.75, 1.0]
    assert found["risk"] == pytest.approx([0, 0, 1 / 3, 1 / 4], abs=1e-6)
    assert found["errors"] == 1
    assert found["best"] <= found["aurc"]


def test_scores_of_exactly_0_and_1_are_the_surest():
    found = to_json(risk_coverage(scored([1, 0, 1], [1.0, 0.0, 0.3])))
    assert found["risk"] == pytest.approx([0, 0, 1 / 3], abs=1e-6)


def test_abstention_counts_the_answers_given_and_their_errors():
    answers = scored([1, 1, 0, 0, 0], [0.9, 0.1, 0.6, 0.1, 0.5],
                     decisions=["tumor", "no tumor", "out of scope", "no tumor",
                                "uncertain"])  # fmt: skip
    found = to_json(abstention_figures(answers))
    assert found["abstained"] == pytest.approx(2 / 5)
    assert found["error"] == pytest.approx(1 / 3)
    assert found["by_truth"]["healthy"] == {"out of scope": 1, "no tumor": 1, "uncertain": 1}


def test_where_nothing_was_answered_there_is_no_error():
    found = to_json(abstention_figures(scored([1, 0], [0.5, 0.5], decisions=["uncertain"] * 2)))
    assert (found["abstained"], found["error"]) == (1.0, None)


def test_the_figures_of_one_scan_are_there():
    assert to_json(decision_figures(scored([1], [0.7])))["risk_coverage"]["risk"] == [0]


# --- conformal sets -------------------------------------------------------------------------


def test_limits_leave_out_the_promised_share_of_each_class():
    scores = np.arange(1, 20) / 20  # 19 scans: with an error of 0.1, (19 + 1) 0.1 = 2 may fall
    table = np.column_stack([scores, 1 - scores])
    assert class_limits(table, np.zeros(19, int), error=0.1)[0] == pytest.approx(0.1)
    assert class_limits(table, np.zeros(19, int), error=0.05)[0] == pytest.approx(0.05)


def test_a_class_with_too_few_scans_stands_in_every_set():
    table = np.full((18, 2), 0.5)
    assert class_limits(table, np.zeros(18, int), error=0.05).tolist() == [0.0, 0.0]


def test_every_class_is_covered_as_promised_over_many_draws():
    covered = {"healthy": [], "tumor": []}
    for seed in range(60):
        found = to_json(conformal_figures(able_answers(seed, 300), able_answers(1000 + seed, 300)))
        row = next(row for row in found["detection"] if row["error"] == 0.1)
        for name, values in covered.items():
            values.append(row["classes"][name]["coverage"])
    for values in covered.values():
        assert 0.89 <= np.mean(values) <= 0.93


def test_sets_are_counted_by_size():
    answers = able_answers(1)
    for rows in to_json(conformal_figures(answers, able_answers(2))).values():
        for row in rows:
            assert row["single"] + row["several"] + row["empty"] == row["n"]
            assert row["size_low"] <= row["size"] <= row["size_high"]


def test_without_validation_there_are_no_sets_and_without_types_none_of_them():
    assert to_json(conformal_figures(able_answers(1), None)) is None
    ct = make_answers(["ct_tumor", "ct_healthy"] * 20, one_atom(*["ct_tumor", "ct_healthy"] * 20))
    assert set(to_json(conformal_figures(ct, ct))) == {"detection"}
