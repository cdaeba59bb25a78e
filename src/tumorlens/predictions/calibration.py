"""Logits become calibrated probabilities by one temperature (Guo et al., 2017)."""

import numpy as np
from numpy.typing import NDArray


def calibrated(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Give softmax(logits / temperature), [..., atoms], rows sum to 1."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(-1, keepdims=True)
    raised = np.exp(scaled)
    return raised / raised.sum(-1, keepdims=True)


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return log probabilities, [..., atoms], without overflow and in the type of the logits."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
