"""From labels to a picture: folded cortex, tissue brightness, scanner bias and noise."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.study.phantom.anatomy import Labels
from tumorlens.study.phantom.tissues import Tissue, brightness_table

Image = NDArray[np.float32]

PICTURE = 192  # pixels per side of the rendered picture before it is resized


@dataclass(frozen=True)
class Folds:
    """Share of cortex and of sulcal fluid in every pixel, 0..1."""

    gray: Image
    sulcus: Image


def smooth_noise(rng: np.random.Generator, *, sigma: float, side: int = PICTURE) -> Image:
    """Draw a smooth random field of zero mean and unit variance."""
    field = rng.standard_normal((side, side), dtype=np.float32)
    field = cv2.GaussianBlur(field, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return (field - field.mean()) / field.std()


def coverage(labels: Labels, *tissues: int) -> Image:
    """Measure the share of every picture pixel that the tissues cover."""
    table = np.zeros(256, np.float32)
    table[list(tissues)] = 1
    return shrunk(cv2.LUT(labels, table))


def shrunk(field: NDArray) -> Image:
    """Average a canvas field down to the picture."""
    return cv2.resize(field, (PICTURE, PICTURE), interpolation=cv2.INTER_AREA)


def fold_cortex(surface: NDArray[np.bool_], rng: np.random.Generator, *, depth: float) -> Folds:
    """Fold a ribbon of cortex along the surface of the brain.

    A random field is looked up at the nearest point of the surface, so that its zero crossings run
    inward as sulci; they fade out at about `depth` pixels.
    """
    solid = surface.astype(np.uint8)
    distance, nearest = cv2.distanceTransformWithLabels(
        solid, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    source = np.zeros(int(nearest.max()) + 1, np.int64)
    outside = np.flatnonzero(solid == 0)
    source[nearest.ravel()[outside]] = outside
    rows, columns = np.divmod(source[nearest], surface.shape[1])
    grid_y, grid_x = np.indices(surface.shape, dtype=np.float32)
    along = np.float32(0.45)  # 0 is a straight sulcus, 1 an isotropic maze
    map_x = (columns + along * (grid_x - columns)).astype(np.float32)
    map_y = (rows + along * (grid_y - rows)).astype(np.float32)
    field = cv2.remap(smooth_noise(rng, sigma=2.1), map_x, map_y, cv2.INTER_LINEAR)
    field = cv2.GaussianBlur(field, (0, 0), 0.7)
    reach = depth * (1 + 0.35 * smooth_noise(rng, sigma=7.0)).clip(0.4, 1.7)
    left = (1 - distance / reach).clip(0, 1)
    closeness = np.abs(field)
    sulcus = ((0.42 * left - closeness) * 4 + 0.2).clip(0, 1) * (left > 0)
    ribbon = ((0.95 * np.sqrt(left) - closeness) * 2.5).clip(0, 1)
    rind = (2.6 - distance).clip(0, 1)
    return Folds(gray=np.maximum(ribbon, rind), sulcus=sulcus * (distance < reach))


def render(labels: Labels, surface: Labels, *, column: str, rng: np.random.Generator) -> Image:
    """Turn labels into brightness, 0..1 and above for what saturates."""
    table = brightness_table(column, rng)
    image = shrunk(cv2.LUT(labels, table))
    cerebrum = shrunk((surface == Tissue.WHITE).astype(np.float32)) > 0.5
    folds = fold_cortex(cerebrum, rng, depth=rng.uniform(9, 13))
    gray, fluid = table[Tissue.GRAY], table[Tissue.CSF]
    for tissue, share in ((Tissue.WHITE, 1.0), (Tissue.EDEMA, 0.6)):
        cover = coverage(labels, tissue) * share
        image += cover * folds.gray * (gray - table[tissue])
        image += cover * folds.sulcus * (fluid - gray) * 0.7
    image += _leaves(labels, surface) * (fluid - table[Tissue.FOLIA]) * 0.35
    return image * (1 + _mottle(labels, column, rng))


def _leaves(labels: Labels, surface: Labels) -> Image:
    """Draw the leaves of the cerebellum as thin bands parallel to its surface."""
    solid = (shrunk((surface == Tissue.FOLIA).astype(np.float32)) > 0.5).astype(np.uint8)
    distance = cv2.distanceTransform(solid, cv2.DIST_L2, cv2.DIST_MASK_5)
    bands = (0.5 + 0.5 * np.cos(distance * (2 * np.pi / 3.6))) ** 2
    return coverage(labels, Tissue.FOLIA) * bands * np.exp(-distance / 14)


def _mottle(labels: Labels, column: str, rng: np.random.Generator) -> Image:
    """Draw texture: slight in normal tissue, marked in a glioma."""
    fine = smooth_noise(rng, sigma=1.4)
    coarse = smooth_noise(rng, sigma=3.0)
    rough = coverage(labels, Tissue.RIM, Tissue.CORE)
    amount = 0.5 if column == "ct" else 1.0
    return amount * (0.02 * fine + rough * (0.08 * coarse + 0.05 * fine))


def scanned_mri(image: Image, rng: np.random.Generator) -> Image:
    """Add coil bias, blur and Rician noise, as a magnitude image has."""
    bias = np.exp(rng.uniform(0.02, 0.12) * smooth_noise(rng, sigma=40.0))
    image = cv2.GaussianBlur(image * bias, (0, 0), rng.uniform(0.35, 0.75))
    sigma = np.float32(rng.uniform(0.008, 0.03))
    real = image + sigma * rng.standard_normal(image.shape, dtype=np.float32)
    other = sigma * rng.standard_normal(image.shape, dtype=np.float32)
    return np.sqrt(real * real + other * other) * np.float32(rng.uniform(0.85, 1.05))


def scanned_ct(image: Image, rng: np.random.Generator) -> Image:
    """Add the blur and the grainy noise of a brain window; what is outside it saturates."""
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 0.8))
    noise = smooth_noise(rng, sigma=0.7) * np.float32(rng.uniform(0.012, 0.03))
    return image + noise * (image > 0.05) + np.float32(rng.uniform(-0.02, 0.02))
