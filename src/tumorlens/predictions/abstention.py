"""When the answer is "uncertain" or "out of scope" rather than yes or no."""

import numpy as np
from numpy.typing import NDArray

from tumorlens.models.bundle import Abstention, Scope


def neighbor_distance(embedding: NDArray[np.floating], scope: Scope) -> NDArray[np.float64]:
    """Give the cosine distance to the k-th nearest training embedding, [n]; 0 is identical.

    After Sun et al. (2022), who found it better than class-conditional Gaussians.
    """
    norms = np.linalg.norm(embedding, axis=1, keepdims=True)
    similarity = (embedding / np.maximum(norms, 1e-12)) @ scope.references.T
    nearest = np.sort(similarity, axis=1)[:, -scope.neighbors]
    return 1.0 - nearest.astype(np.float64)


def decide(
    tumor_probability: float, distance: float, *, threshold: float, band: Abstention, scope: Scope
) -> str:
    """Give "tumor", "no tumor", "uncertain" or "out of scope"."""
    if distance > scope.limit:
        return "out of scope"
    if band.low < tumor_probability < band.high:
        return "uncertain"
    return "tumor" if tumor_probability >= threshold else "no tumor"
