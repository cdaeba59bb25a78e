"""From labels to the brightness of tissue, before any scanner has touched it."""

import cv2
import numpy as np

from tumorlens.study.phantom.anatomy import Labels
from tumorlens.study.phantom.cortex import fold_cortex, fold_leaves
from tumorlens.study.phantom.fields import PICTURE, Image, blurred, coverage, resized, smooth_noise
from tumorlens.study.phantom.tissues import Tissue, brightness_table


def render(
    labels: Labels, surface: Labels, *, column: str, folds: float, rng: np.random.Generator
) -> Image:
    """Turn labels into brightness, 0..1 and above for what saturates.

    `surface` is the canvas before anything lay inside the lobes: folds follow its edges. The
    random numbers drawn do not depend on the labels, so a tumor changes nothing far from it.
    """
    table = brightness_table(column, rng)
    soaked = table[Tissue.EDEMA] - table[Tissue.WHITE]
    table[Tissue.EDEMA] = table[Tissue.WHITE]  # painted below, with a soft edge
    image = resized(cv2.LUT(labels, table), PICTURE)
    cerebrum = coverage(surface, Tissue.WHITE) > 0.5
    cortex = fold_cortex(cerebrum, rng, depth=folds * rng.uniform(10, 14))
    gray, fluid = table[Tissue.GRAY], table[Tissue.CSF]
    brain = coverage(labels, Tissue.WHITE, Tissue.EDEMA)
    image += brain * cortex.gray * (gray - table[Tissue.WHITE])
    image += brain * cortex.sulcus * (fluid - gray) * 0.7
    # Edema spares cortex, which is what gives it fingers.
    wet = blurred(coverage(labels, Tissue.EDEMA), 1.6)
    image += wet * brain * (1 - 0.75 * cortex.gray) * soaked
    leaves = fold_leaves(coverage(surface, Tissue.FOLIA) > 0.5, rng)
    shade = 0.35 * (fluid - table[Tissue.FOLIA])
    image += leaves * coverage(labels, Tissue.FOLIA) * shade
    return image * (1 + _mottle(labels, column, rng))


def _mottle(labels: Labels, column: str, rng: np.random.Generator) -> Image:
    """Draw texture: slight in normal tissue, marked in a glioma."""
    fine = smooth_noise(rng, sigma=1.4)
    coarse = smooth_noise(rng, sigma=3.0)
    rough = coverage(labels, Tissue.RIM, Tissue.CORE)
    amount = 0.5 if column == "ct" else 1.0
    mottle = amount * (0.02 * fine + rough * (0.08 * coarse + 0.05 * fine))
    return np.asarray(mottle, np.float32)
