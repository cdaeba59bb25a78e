"""What is watched while a network trains: loss and task figures on validation."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_auc_score

from tumorlens import labels
from tumorlens.predictions.decision import log_softmax


def set_losses(
    logits: NDArray[np.floating], label_masks: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return `-log(sum of p over the set)` of each row, [n]."""
    inside = np.where(label_masks > 0.5, log_softmax(logits), -np.inf)
    top = inside.max(-1, keepdims=True)
    return -(top[..., 0] + np.log(np.exp(inside - top).sum(-1)))


def best_temperature(logits: NDArray[np.floating], label_masks: NDArray[np.floating]) -> float:
    """Find the temperature with the least mean set loss (Guo et al., 2017)."""
    found = minimize_scalar(
        lambda log_t: float(set_losses(logits / np.exp(log_t), label_masks).mean()),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
    )
    return float(np.exp(found.x))


def validation_metrics(
    logits: NDArray[np.floating], names: Sequence[str], strata: NDArray[np.int64]
) -> dict[str, float]:
    """Return loss and task figures.

    The loss is the mean over strata, so that no large set drowns a small one, at the best
    temperature: a network that ranks better but has grown overconfident is still better,
    because calibration comes last. A figure that the cases cannot show (one class only) is NaN.
    """
    masks = labels.label_mask(names)
    temperature = best_temperature(logits, masks)
    losses = set_losses(logits / temperature, masks)
    figures = {"val_loss": float(np.mean([losses[strata == s].mean() for s in np.unique(strata)]))}
    probabilities = np.exp(log_softmax(logits))
    scores = labels.tumor_probability(probabilities)
    for modality in labels.MODALITIES:
        rows = [i for i, name in enumerate(names) if labels.modality_of(name) == modality]
        truth = [labels.is_tumor(names[i]) for i in rows]
        both = len(set(truth)) == 2
        figures[f"val_auc_{modality}"] = (
            float(roc_auc_score(truth, scores[rows])) if both else float("nan")
        )
    typed = [i for i, name in enumerate(names) if labels.type_of(name)]
    chosen = labels.type_probabilities(probabilities).argmax(-1)
    right = [labels.TYPES[chosen[i]] == labels.type_of(names[i]) for i in typed]
    figures["val_type_accuracy"] = float(np.mean(right)) if right else float("nan")
    return figures
