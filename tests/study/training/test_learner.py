"""The set loss, the loss on where the evidence stands, and answers to a few images."""

import keras
import numpy as np
import pytest

from tumorlens.labels import ATOMS, LABELS, label_mask
from tumorlens.predictions.decision import softmax
from tumorlens.study.training.learner import (
    DISTILLATION_TEMPERATURE,
    DistillationLoss,
    LocalizationLoss,
    SetLoss,
    predict_function,
)
from tumorlens.study.training.validation_metrics import set_losses

LOGITS = np.random.default_rng(0).normal(0, 3, (9, len(ATOMS))).astype(np.float32)


def rows_of(masks: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(SetLoss(reduction=None)(masks, logits))


def test_a_set_of_all_atoms_costs_nothing():
    np.testing.assert_allclose(rows_of(np.ones_like(LOGITS), LOGITS), 0, atol=1e-6)


def test_a_single_atom_costs_the_categorical_cross_entropy():
    masks = np.eye(len(ATOMS), dtype=np.float32)[np.arange(9) % len(ATOMS)]
    wanted = keras.losses.categorical_crossentropy(masks, LOGITS, from_logits=True)
    np.testing.assert_allclose(
        rows_of(masks, LOGITS), keras.ops.convert_to_numpy(wanted), rtol=1e-5
    )


def test_keras_and_plain_numpy_agree_on_every_label():
    masks = label_mask(sorted(LABELS))
    logits = np.resize(LOGITS, masks.shape)
    np.testing.assert_allclose(rows_of(masks, logits), set_losses(logits, masks), atol=1e-5)


def test_a_larger_set_never_costs_more():
    small, large = label_mask(["mri_glioma"] * 9), label_mask(["mri_tumor"] * 9)
    assert (rows_of(large, LOGITS) <= rows_of(small, LOGITS)).all()


@pytest.mark.parametrize("size", [1.0, 100.0, 1e4])
def test_the_gradient_is_finite_and_pulls_towards_the_set(size):
    masks = label_mask(["mri_tumor", "ct_healthy"])
    logits = np.zeros((2, len(ATOMS)), np.float32)
    logits[:, ATOMS.index("ct_tumor")] = size
    model = keras.Sequential([keras.Input((len(ATOMS),)), keras.layers.Dense(
        len(ATOMS), use_bias=False, kernel_initializer="identity")])  # fmt: skip
    model.compile(keras.optimizers.SGD(1.0), SetLoss(), jit_compile=False)
    before = model.get_weights()[0]
    loss = float(model.train_on_batch(logits, masks))
    step = model.get_weights()[0] - before
    assert np.isfinite(loss)
    assert np.isfinite(step).all()
    row = step[ATOMS.index("ct_tumor")]
    assert row[ATOMS.index("ct_tumor")] < 0 < row[ATOMS.index("ct_healthy")]


def test_the_loss_survives_its_own_config():
    restored = keras.losses.deserialize(keras.losses.serialize(SetLoss()))
    assert isinstance(restored, SetLoss)


def test_the_empty_set_costs_nothing_where_the_answer_says_nothing():
    nothing = np.zeros_like(LOGITS)
    np.testing.assert_allclose(rows_of(nothing, nothing), 0, atol=1e-6)


def test_the_empty_set_costs_more_the_surer_the_answer_is():
    nothing = np.zeros_like(LOGITS)
    assert (rows_of(nothing, 2 * LOGITS) > rows_of(nothing, LOGITS)).all()


MASKS = label_mask(["mri_tumor"] * len(LOGITS))
TEACHER = softmax(np.flip(LOGITS, axis=0), DISTILLATION_TEMPERATURE).astype(np.float32)


def distilled_rows(share: float, logits: np.ndarray) -> np.ndarray:
    loss = DistillationLoss(share, reduction=None)
    return keras.ops.convert_to_numpy(loss(np.hstack([MASKS, TEACHER]), logits))


def test_without_a_share_of_the_teacher_only_the_label_counts():
    np.testing.assert_allclose(distilled_rows(0.0, LOGITS), rows_of(MASKS, LOGITS), rtol=1e-5)


def test_the_divergence_from_a_teacher_is_nothing_where_its_answer_is_given_again():
    same, other = (distilled_rows(1.0, logits) for logits in (np.flip(LOGITS, axis=0), LOGITS))
    np.testing.assert_allclose(same, 0, atol=1e-5)
    ratio = np.log(TEACHER / softmax(LOGITS, DISTILLATION_TEMPERATURE))
    divergence = DISTILLATION_TEMPERATURE**2 * (TEACHER * ratio).sum(-1)
    np.testing.assert_allclose(other, divergence, atol=1e-4)
    assert divergence.sum() > 1


def test_label_and_teacher_are_weighed_by_the_share():
    parts = [distilled_rows(share, LOGITS) for share in (0.0, 1.0)]
    wanted = 0.3 * parts[0] + 0.7 * parts[1]
    np.testing.assert_allclose(distilled_rows(0.7, LOGITS), wanted, rtol=1e-5)


def test_the_share_survives_the_config_of_the_loss():
    restored = keras.losses.deserialize(keras.losses.serialize(DistillationLoss(0.7)))
    assert isinstance(restored, DistillationLoss)
    assert restored.share == 0.7


IS_TUMOR = [not atom.endswith("_healthy") for atom in ATOMS]


def evidence_rows(places: np.ndarray, maps: np.ndarray) -> np.ndarray:
    loss = LocalizationLoss(IS_TUMOR, reduction=None)
    return keras.ops.convert_to_numpy(loss(places, maps))


def peaked(row: int, column: int) -> np.ndarray:
    maps = np.zeros((1, 4, 4, len(ATOMS)), np.float32)
    maps[0, row, column, ATOMS.index("mri_glioma")] = 9.0
    return maps


def test_evidence_on_the_tumor_costs_less_than_beside_it():
    places = np.zeros((1, 4, 4), np.float32)
    places[0, 1, 2] = 1
    assert evidence_rows(places, peaked(1, 2)) < 0.1
    assert evidence_rows(places, peaked(3, 0)) > 3


def test_unknown_places_cost_nothing():
    assert evidence_rows(np.zeros((1, 4, 4), np.float32), peaked(0, 0)) == 0


def test_raising_the_evidence_everywhere_costs_nothing_more():
    places = np.full((1, 4, 4), 1 / 16, np.float32)
    maps = peaked(1, 1)
    raised = maps + np.array(IS_TUMOR, np.float32) * 5
    np.testing.assert_allclose(evidence_rows(places, maps), evidence_rows(places, raised), 1e-5)


def test_a_few_images_are_answered_without_compiling():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5)])
    few, many = (predict_function(model, count=count, batch=2) for count in (4, 5))
    rows = np.ones((2, 3), np.float32)
    assert (keras.ops.convert_to_numpy(few(rows)) == rows).all()  # nothing is dropped
    assert model.predict_function is None
    assert many == model.predict_on_batch
