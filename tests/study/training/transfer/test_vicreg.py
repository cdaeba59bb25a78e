"""The loss of pretraining agrees with its definition, written out in NumPy."""

import numpy as np
import pytest

from tumorlens.study.training.transfer.vicreg import COVARIANCE, INVARIANCE, VARIANCE, VicregLoss

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(2, 12, 5)).astype(np.float32)


def loss(first: np.ndarray, second: np.ndarray) -> float:
    both = np.concatenate([first, second]).astype(np.float32)
    return float(VicregLoss()(np.zeros(len(both), np.float32), both))


def by_definition(first: np.ndarray, second: np.ndarray) -> float:
    vary = decorrelate = 0.0
    for values in (first, second):
        vary += np.maximum(0, 1 - np.sqrt(values.var(axis=0) + 1e-4)).mean() / 2
        covariance = np.cov(values, rowvar=False)
        decorrelate += (covariance**2).sum() - (np.diag(covariance) ** 2).sum()
    agree = ((first - second) ** 2).mean()
    return INVARIANCE * agree + VARIANCE * vary + COVARIANCE * decorrelate / first.shape[1]


def test_it_agrees_with_the_definition():
    assert loss(FIRST, SECOND) == pytest.approx(by_definition(FIRST, SECOND), rel=1e-5)


def test_a_collapse_costs_more_than_what_it_saves():
    same = np.ones_like(FIRST)
    assert loss(same, same) > loss(FIRST, FIRST)


def test_features_that_say_the_same_twice_cost_more():
    doubled = np.repeat(FIRST[:, :1], 5, axis=1)
    assert loss(doubled, doubled) > loss(FIRST, FIRST)
