"""What validation showed of a bundle stands in it, and older bundles say that it does not."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from support.made_answers import able_answers

from tumorlens.errors import BundleError
from tumorlens.models.bundle import load_bundle, write_bundle
from tumorlens.records import Estimate
from tumorlens.study.stats.calibration import reliability_bins
from tumorlens.study.training.packaging.bundle_performance import measure_validation


@pytest.fixture(scope="module")
def answers():
    return able_answers(3, 300, each=2)


@pytest.fixture(scope="module")
def measured(answers):
    return measure_validation(
        answers.labels, answers.probabilities, groups=answers.groups, threshold=0.5
    )


@pytest.fixture
def copied(tiny_bundle, tmp_path):
    (tmp_path / "model.onnx").write_bytes(tiny_bundle.graph.read_bytes())
    return replace(tiny_bundle, folder=tmp_path)


def test_rates_are_those_at_the_threshold_in_each_modality(answers, measured):
    flagged = answers.scores >= 0.5
    for name, rows in answers.rows().items():
        sick = rows & answers.truth
        found = measured[name].sensitivity
        assert found.value == pytest.approx(flagged[sick].mean())
        assert (found.n, found.low <= found.value <= found.high) == (sick.sum(), True)
        assert measured[name].n_groups == len(np.unique(answers.groups[rows]))


def test_bins_hold_every_scan_once_and_rise(answers, measured):
    bins = measured["all"].bins
    assert sum(b.n for b in bins) == 300
    assert sum(b.tumors for b in bins) == answers.truth.sum()
    assert all(b.least <= b.predicted <= b.most and b.low < b.high for b in bins)
    assert all(a.most <= b.least for a, b in itertools.pairwise(bins))


def test_few_scans_make_few_bins():
    scores = np.linspace(0, 1, 25)
    assert [b.n for b in reliability_bins(scores, scores > 0.4, count=10, min_in_bin=10)] == [
        13,
        12,
    ]


def test_a_bundle_gives_back_what_was_measured(copied, measured):
    write_bundle(replace(copied, performance=measured), "# tiny\n")
    assert load_bundle(copied.folder).performance == measured


def test_a_bundle_of_before_loads_with_nothing_measured(copied):
    write_bundle(copied, "# tiny\n")
    path = copied.folder / "bundle.json"
    stored = json.loads(path.read_text())
    del stored["measured"]
    path.write_text(json.dumps(stored))
    assert load_bundle(copied.folder).performance == {}


@pytest.mark.parametrize("wrong", [None, {"all": {"n": 3}}, {"all": None}, {"ct": {"bins": 7}}])
def test_a_bundle_with_broken_figures_is_refused(copied, wrong):
    write_bundle(copied, "# tiny\n")
    path = copied.folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"measured": wrong}))
    with pytest.raises(BundleError, match="missing or wrong fields"):
        load_bundle(copied.folder)


def test_a_rate_is_written_with_interval_and_n_or_says_that_there_is_none():
    assert str(Estimate(0.91, 0.86, 0.95, 143)) == "0.910 (0.860-0.950, n=143)"
    assert str(Estimate(0.5, None, None, 2)) == "0.500 (n=2)"
    assert str(Estimate(None, None, None, 0)) == "not measurable (n=0)"
