"""What is watched on validation: the set loss and the task figures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax as reference_log_softmax

from tumorlens.labels import ATOMS, LABELS, label_mask
from tumorlens.study.training.validation_metrics import (
    best_temperature,
    log_softmax,
    set_losses,
    validation_metrics,
)

logit_rows = hnp.arrays(np.float64, (5, len(ATOMS)), elements=st.floats(-30, 30))
names = st.lists(st.sampled_from(sorted(LABELS)), min_size=5, max_size=5)


def logits_for(*atoms: str, sure: float = 8.0) -> np.ndarray:
    rows = np.zeros((len(atoms), len(ATOMS)))
    rows[np.arange(len(atoms)), [ATOMS.index(atom) for atom in atoms]] = sure
    return rows


@settings(max_examples=50)
@given(rows=logit_rows)
def test_log_softmax_agrees_with_scipy(rows):
    np.testing.assert_allclose(log_softmax(rows), reference_log_softmax(rows, axis=-1), atol=1e-12)


@pytest.mark.parametrize("size", [1e4, -1e4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_softmax_is_finite_at_ten_thousand(size, dtype):
    rows = np.array([[size, 0, -size], [size, size, size]], dtype)
    found = log_softmax(rows)
    assert np.isfinite(found).all()
    assert np.exp(found).sum(-1) == pytest.approx([1, 1])


@settings(max_examples=50)
@given(rows=logit_rows, names=names)
def test_set_losses_are_minus_the_log_of_the_summed_probability(rows, names):
    masks = label_mask(names)
    raised = np.exp(rows)
    wanted = -np.log((raised * masks).sum(-1) / raised.sum(-1))
    np.testing.assert_allclose(set_losses(rows, masks), wanted, atol=1e-9)


def test_a_set_loss_stays_finite_where_the_network_is_sure_and_wrong():
    losses = set_losses(logits_for("ct_tumor", sure=1e4), label_mask(["mri_tumor"]))
    assert losses[0] == pytest.approx(1e4, rel=1e-3)


NAMES = ["ct_healthy", "ct_tumor", "ct_tumor", "mri_healthy", "mri_glioma", "mri_meningioma",
         "mri_tumor"]  # fmt: skip
RIGHT = ["ct_healthy", "ct_tumor", "ct_tumor", "mri_healthy", "mri_glioma", "mri_meningioma",
         "mri_pituitary"]  # fmt: skip


def test_a_network_that_is_always_right_has_the_best_figures():
    figures = validation_metrics(logits_for(*RIGHT), NAMES, np.zeros(7, np.int64))
    assert figures["val_auc_ct"] == figures["val_auc_mri"] == figures["val_type_accuracy"] == 1
    assert figures["val_loss"] < 0.01


def test_only_recorded_types_count_for_the_type_accuracy():
    answers = [*RIGHT[:4], "mri_meningioma", "mri_meningioma", "mri_glioma"]
    figures = validation_metrics(logits_for(*answers), NAMES, np.zeros(7, np.int64))
    assert figures["val_type_accuracy"] == 0.5


def test_an_auc_counts_its_own_modality_alone():
    answers = ["ct_tumor", "ct_healthy", "ct_healthy", *RIGHT[3:]]
    figures = validation_metrics(logits_for(*answers), NAMES, np.zeros(7, np.int64))
    assert (figures["val_auc_ct"], figures["val_auc_mri"]) == (0.0, 1.0)


def test_the_loss_is_the_mean_over_strata_so_that_a_large_set_does_not_drown_a_small_one():
    names = ["ct_tumor"] * 9 + ["mri_glioma"]
    rows = logits_for(*["ct_tumor"] * 9, "ct_tumor")
    strata = np.array([0] * 9 + [1])
    masks = label_mask(names)
    losses = set_losses(rows / best_temperature(rows, masks), masks)
    figures = validation_metrics(rows, names, strata)
    assert figures["val_loss"] == pytest.approx((losses[0] + losses[9]) / 2)


def test_what_the_cases_cannot_show_is_not_a_number():
    figures = validation_metrics(logits_for("ct_tumor"), ["ct_tumor"], np.zeros(1, np.int64))
    assert all(np.isnan(figures[f"val_{name}"]) for name in ("auc_ct", "auc_mri", "type_accuracy"))
    assert np.isfinite(figures["val_loss"])


def test_labels_open_in_modality_count_for_neither():
    figures = validation_metrics(
        logits_for("ct_tumor", "mri_healthy"), ["tumor", "healthy"], np.zeros(2, np.int64)
    )
    assert np.isnan(figures["val_auc_ct"])
    assert np.isnan(figures["val_auc_mri"])


def simulated(temperature: float, n: int = 4000) -> tuple[np.ndarray, list[str]]:
    """Logits that are `temperature` times too large, and labels drawn from the right ones."""
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1.5, (n, len(ATOMS)))
    raised = np.exp(true)
    sums = np.cumsum(raised / raised.sum(-1, keepdims=True), axis=-1)
    drawn = (rng.random((n, 1)) > sums).sum(-1).clip(max=len(ATOMS) - 1)
    return true * temperature, [ATOMS[i] for i in drawn]


def fitted(logits: np.ndarray, names: list[str]) -> float:
    return best_temperature(logits, label_mask(names))


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_of_simulated_logits_is_recovered(temperature):
    assert fitted(*simulated(temperature)) == pytest.approx(temperature, rel=0.06)


def test_a_temperature_is_recovered_from_sets_of_atoms_too():
    logits, names = simulated(2.0)
    vague = ["mri_tumor" if name[4:] in ("glioma", "pituitary") else name for name in names]
    assert "mri_tumor" in vague
    assert fitted(logits, vague) == pytest.approx(2.0, rel=0.12)


def test_a_temperature_stays_within_its_bounds_where_every_answer_is_right():
    logits = 5.0 * np.eye(len(ATOMS))
    assert 0.05 <= fitted(logits, list(ATOMS)) < 0.5


def test_a_surer_network_of_the_same_ranking_has_the_same_validation_loss():
    logits, names = simulated(1.0, n=400)
    strata = np.zeros(400, int)
    losses = [validation_metrics(k * logits, names, strata)["val_loss"] for k in (1.0, 3.0)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
