"""What a network is good for is said in one plain sentence, with its figures."""

from dataclasses import dataclass

import pytest

from tumorlens.models.usefulness import describe_usefulness, usefulness
from tumorlens.records import Estimate


@dataclass(frozen=True)
class Found:
    auc: Estimate
    sensitivity: Estimate
    specificity: Estimate


def found(auc: tuple, sensitivity: tuple, specificity: tuple) -> Found:
    return Found(*(Estimate(*rate, n) for rate, n in
                   ((auc, 40), (sensitivity, 21), (specificity, 19))))  # fmt: skip


NOTHING = (None, None, None)
GOOD = found((0.95, 0.9, 0.99), (0.9, 0.8, 0.96), (0.85, 0.7, 0.95))
FLAGS_ALL = found((0.7, 0.55, 0.8), (1.0, 0.85, 1.0), (0.0, 0.0, 0.168))


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        (FLAGS_ALL, "calls every scan a tumor: no use yet (specificity 0.000 (0.000-0.168, n=19))"),
        (found((0.7, 0.6, 0.8), (1.0, 0.8, 1.0), (0.04, 0.0, 0.2)), "calls nearly every scan a"),
        (found((0.7, 0.6, 0.8), (0.0, 0.0, 0.1), (1.0, 0.8, 1.0)), "calls no scan a tumor: no use"),
        (found((0.6, 0.45, 0.7), (0.9, 0.7, 1), (0.5, 0.3, 0.7)), "may be guessing: no use yet"),
        (found((0.6, 0.5, 0.7), (0.9, 0.7, 1), (0.5, 0.3, 0.7)), "may be guessing: no use yet"),
        (found((0.6, 0.51, 0.7), (0.6, 0.4, 0.8), (0.6, 0.4, 0.8)), "ranks scans better than a"),
        (found(NOTHING, (1.0, 0.8, 1.0), NOTHING), "cannot be judged"),
        (GOOD, "it calls 90% of the tumors and 15% of the other scans a tumor"),
    ],
)
def test_a_sentence_says_what_it_is_good_for(figures, sentence):
    assert sentence in usefulness(figures)


def test_a_good_network_is_not_called_useless():
    assert "no use" not in usefulness(GOOD)


def test_a_modality_on_which_a_good_network_fails_is_named():
    lines = list(describe_usefulness({"all": GOOD, "ct": FLAGS_ALL, "mri": GOOD}))
    assert len(lines) == 2
    assert lines[0].startswith("of all scans: the network tells")
    assert lines[1].startswith("of CT: the network calls every scan a tumor: no use yet")


def test_a_useless_network_is_said_to_be_so_once():
    assert len(list(describe_usefulness({"all": FLAGS_ALL, "mri": FLAGS_ALL}))) == 1


def test_nothing_measured_says_nothing():
    assert list(describe_usefulness({})) == []
