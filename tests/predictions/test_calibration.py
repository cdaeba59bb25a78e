"""Facts about turning logits into probabilities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorlens.predictions.decision import softmax

SETTINGS = settings(max_examples=50)
rows = st.lists(st.floats(-1e4, 1e4, width=32), min_size=6, max_size=6).map(
    lambda row: np.array([row], np.float32)
)
temperatures = st.floats(0.05, 20)


@SETTINGS
@given(logits=rows, temperature=temperatures)
def test_rows_sum_to_one_and_nothing_overflows(logits, temperature):
    with np.errstate(over="raise", invalid="raise"):
        p = softmax(logits, temperature)
    assert p.dtype == np.float64
    assert (p >= 0).all()
    assert p.sum() == pytest.approx(1)


@SETTINGS
@given(logits=rows, temperature=temperatures)
def test_the_order_of_the_logits_is_kept(logits, temperature):
    p = softmax(logits, temperature)[0]
    assert (np.diff(p[np.argsort(logits[0], kind="stable")]) >= 0).all()


@SETTINGS
@given(logits=rows, shift=st.floats(-100, 100))
def test_a_shift_of_all_logits_changes_nothing(logits, shift):
    shifted = logits.astype(np.float64) + shift
    np.testing.assert_allclose(softmax(shifted, 1.5), softmax(logits, 1.5), atol=1e-6)


def test_a_known_row():
    np.testing.assert_allclose(softmax(np.log([[1.0, 2.0, 5.0]]), 1), [[0.125, 0.25, 0.625]])
    np.testing.assert_allclose(
        softmax(np.log([[1.0, 4.0, 25.0]]), 2), [[0.125, 0.25, 0.625]]
    )  # fmt: skip


def test_a_higher_temperature_is_less_sure():
    logits = np.array([0.0, 1.0, 3.0])
    surest = [softmax(logits, t).max() for t in (0.5, 1, 2, 50)]
    assert surest == sorted(surest, reverse=True)
    assert surest[-1] == pytest.approx(1 / 3, abs=0.03)


def test_the_logits_are_left_as_they_were():
    logits = np.array([[1.0, 2.0]])
    softmax(logits, 1)
    np.testing.assert_array_equal(logits, [[1.0, 2.0]])


def test_leading_axes_are_kept():
    assert softmax(np.zeros((2, 3, 6)), 1).shape == (2, 3, 6)
