"""Two views of each scan, and a loss that agrees with its definition written out in NumPy."""

import numpy as np
import pytest

from tumorlens.study.training.transfer.pretraining import (
    COVARIANCE,
    INVARIANCE,
    VARIANCE,
    VicregLoss,
    contrastive_batches,
    view_of,
)

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


IMAGES = np.stack([np.full((40, 40), 20 * level, np.uint8) for level in range(1, 9)])


def batches(seed: int = 0) -> list[np.ndarray]:
    return list(
        contrastive_batches(IMAGES, np.arange(8), batch=3, min_area=0.5, strength=0.0, side=24,
                     seed=(seed, 0))
    )  # fmt: skip


def test_a_batch_holds_first_views_and_then_second_ones_of_the_same_scans():
    made = batches()
    assert [views.shape for views in made] == [(6, 24, 24, 1)] * 2
    for number, views in enumerate(made):
        assert views[:, 0, 0, 0].tolist() == [20 * (3 * number + k + 1) for k in (0, 1, 2)] * 2


def test_one_seed_gives_the_same_views():
    assert all((a == b).all() for a, b in zip(batches(1), batches(1), strict=True))


@pytest.mark.parametrize("least", [0.2, 0.5, 1.0])
def test_a_view_shows_at_least_the_asked_area(least: float):
    ramp = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None], (100, 100)).copy()
    spans = []
    for seed in range(50):
        view = view_of(ramp, np.random.default_rng(seed), min_area=least, strength=0.0, side=100)
        spans.append((int(view.max()) - int(view.min())) / 99)
    assert min(spans) >= np.sqrt(least) - 0.03
    assert max(spans) <= 1.0


def test_fewer_scans_than_a_batch_make_no_batch():
    assert not list(
        contrastive_batches(
            IMAGES, np.arange(2), batch=3, min_area=1.0, strength=0.0, side=8, seed=(0,)
        )
    )
