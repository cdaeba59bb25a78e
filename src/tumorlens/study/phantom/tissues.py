"""What a head is made of and how an image shows it: brightness, folds, texture, scanners."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]  # [CANVAS, CANVAS], values of Tissue
Image = NDArray[np.float32]
SEQUENCES = ("t1", "t2", "flair", "t1ce")


class Tissue(IntEnum):
    """Value of a pixel on the label canvas; everything from `RIM` up belongs to a tumor."""

    AIR = 0
    REST = 1
    SKIN = 2
    FAT = 3
    MUSCLE = 4
    BONE = 5
    MARROW = 6
    DURA = 7
    VESSEL = 8
    CSF = 9
    WHITE = 10
    GRAY = 11
    DEEP = 12
    TRACT = 13
    FOLIA = 14
    GLAND = 15
    EYE = 16
    LENS = 17
    MUCOSA = 18
    PLEXUS = 19
    EDEMA = 20
    RIM = 21
    CORE = 22
    MENINGIOMA = 23
    PITUITARY = 24


# One row per tissue, in the order of the columns below: brightness in 0..1. Only the order of the
# tissues within a column is anatomy; the figures are chosen by eye from ordinary window settings.
_COLUMNS = ("t1", "t2", "flair", "t1ce", "ct")
_BRIGHTNESS: dict[Tissue, tuple[float, float, float, float, float]] = {
    Tissue.AIR: (0.01, 0.01, 0.01, 0.01, 0.0),
    Tissue.REST: (0.01, 0.01, 0.01, 0.01, 0.62),
    Tissue.SKIN: (0.46, 0.40, 0.40, 0.44, 0.40),
    Tissue.FAT: (0.92, 0.72, 0.66, 0.82, 0.10),
    Tissue.MUSCLE: (0.36, 0.22, 0.27, 0.36, 0.48),
    Tissue.BONE: (0.05, 0.04, 0.05, 0.05, 1.25),
    Tissue.MARROW: (0.50, 0.34, 0.32, 0.46, 1.10),
    Tissue.DURA: (0.30, 0.22, 0.30, 0.66, 0.52),
    Tissue.VESSEL: (0.10, 0.06, 0.10, 0.88, 0.52),
    Tissue.CSF: (0.10, 0.96, 0.08, 0.10, 0.16),
    Tissue.WHITE: (0.64, 0.36, 0.38, 0.54, 0.41),
    Tissue.GRAY: (0.44, 0.56, 0.52, 0.40, 0.49),
    Tissue.DEEP: (0.50, 0.46, 0.48, 0.45, 0.49),
    Tissue.TRACT: (0.69, 0.33, 0.35, 0.58, 0.42),
    Tissue.FOLIA: (0.59, 0.44, 0.43, 0.48, 0.45),
    Tissue.GLAND: (0.56, 0.50, 0.50, 0.70, 0.48),
    Tissue.EYE: (0.14, 0.94, 0.12, 0.14, 0.26),
    Tissue.LENS: (0.42, 0.16, 0.30, 0.42, 0.62),
    Tissue.MUCOSA: (0.40, 0.66, 0.58, 0.66, 0.44),
    Tissue.PLEXUS: (0.30, 0.62, 0.46, 0.80, 0.80),
    Tissue.EDEMA: (0.42, 0.82, 0.84, 0.36, 0.28),
    Tissue.RIM: (0.38, 0.68, 0.70, 0.96, 0.58),
    Tissue.CORE: (0.22, 0.92, 0.50, 0.18, 0.27),
    Tissue.MENINGIOMA: (0.38, 0.66, 0.68, 0.92, 0.68),
    Tissue.PITUITARY: (0.42, 0.62, 0.62, 0.88, 0.66),
}


def brightness_table(column: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Brightness of each label value as a [256] table, a little different for every patient."""
    index = _COLUMNS.index(column)
    table = np.zeros(256, np.float32)
    for tissue, row in _BRIGHTNESS.items():
        table[tissue] = row[index]
    table[: len(_BRIGHTNESS)] *= rng.normal(1.0, 0.03, len(_BRIGHTNESS)).clip(0.92, 1.08)
    fat, marrow = rng.uniform(0.6, 1.05), rng.uniform(0.5, 1.3)
    dense = rng.random() < 0.6
    if column == "ct" and not dense:
        table[Tissue.RIM] *= 0.52  # a glioma may be darker than brain as a whole
    if column != "ct":  # fat suppression, and diploe that is fatty in some and not in others
        table[Tissue.FAT] *= fat
        table[Tissue.MARROW] *= marrow
    return table


IMAGE_SIDE = 192  # pixels per side of the rendered image before it is resized


def blurred(field: NDArray[Any], sigma: float) -> Image:
    """Blur with a Gaussian of `sigma` pixels."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)


def smooth_noise(rng: np.random.Generator, *, sigma: float, side: int = IMAGE_SIDE) -> Image:
    """Draw a smooth random field of zero mean and unit variance."""
    field = blurred(rng.standard_normal((side, side), dtype=np.float32), sigma)
    return (field - field.mean()) / field.std()


def resized(field: NDArray[Any], side: int) -> Image:
    """Bring a square field to `side` pixels, averaging on the way down."""
    if field.shape[0] == side:
        return np.asarray(field, np.float32)
    method = cv2.INTER_AREA if side < field.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(field, (side, side), interpolation=method), np.float32)


def coverage(labels: Labels, *tissues: int) -> Image:
    """Measure the share of every image pixel that the tissues cover."""
    table = np.zeros(256, np.float32)
    table[list(tissues)] = 1
    return resized(cv2.LUT(labels, table), IMAGE_SIDE)


_STRAIGHT = 0.45  # 0 makes every sulcus straight, 1 makes a maze without direction


@dataclass(frozen=True)
class Folds:
    """Share of cortex and of sulcal fluid in every pixel, 0..1."""

    gray: Image
    sulcus: Image


def fold_cortex(surface: NDArray[np.bool_], rng: np.random.Generator, *, depth: float) -> Folds:
    """Fold a ribbon of cortex along the edge of `surface`, sulci about `depth` pixels deep.

    A random field is looked up near the closest point of the edge, so that its zero crossings run
    inward as sulci.
    """
    distance, map_x, map_y = _toward_edge(surface)
    field = cv2.remap(_banded_noise(rng, sigma=2.0), map_x, map_y, cv2.INTER_LINEAR)
    closeness = np.abs(blurred(field, 0.6)) * 1.6
    reach = depth * (1 + 0.3 * smooth_noise(rng, sigma=5.0)).clip(0.55, 1.6)
    left = (1 - distance / reach).clip(0, 1)
    sulcus = ((0.75 * left - closeness) * 2.2).clip(0, 1)
    ribbon = ((1.75 * np.sqrt(left) - closeness) * 1.6).clip(0, 1)
    rind = (2.8 - distance).clip(0, 1)
    return Folds(gray=np.maximum(ribbon, rind), sulcus=sulcus)


def fold_leaves(surface: NDArray[np.bool_], rng: np.random.Generator) -> Image:
    """Draw leaves as broken bands along the edge of `surface`, 0..1."""
    distance = cv2.distanceTransform(surface.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    wander = 1.1 * smooth_noise(rng, sigma=5.0)
    bands = (0.5 + 0.5 * np.cos(np.asarray(distance, np.float32) * 1.5 + wander)) ** 2
    broken = (0.55 + 0.45 * smooth_noise(rng, sigma=3.0)).clip(0, 1)
    return np.asarray(bands * broken, np.float32)


def _toward_edge(surface: NDArray[np.bool_]) -> tuple[Image, Image, Image]:
    """Measure the distance to the edge, and name a place most of the way there, as x and y."""
    solid = surface.astype(np.uint8)
    distance, labels = cv2.distanceTransformWithLabels(
        solid, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.asarray(labels, np.int64)
    outside = np.flatnonzero(solid == 0)
    place = np.zeros(int(nearest.max()) + 1, np.int64)
    place[nearest.ravel()[outside]] = outside
    rows, columns = np.divmod(place[nearest], surface.shape[1])
    grid_y, grid_x = np.indices(surface.shape, dtype=np.float32)
    map_x = (columns + _STRAIGHT * (grid_x - columns)).astype(np.float32)
    map_y = (rows + _STRAIGHT * (grid_y - rows)).astype(np.float32)
    return np.asarray(distance, np.float32), map_x, map_y


def _banded_noise(rng: np.random.Generator, *, sigma: float) -> Image:
    """Draw noise without its slow part, so that its zero crossings lie evenly spaced."""
    fine = smooth_noise(rng, sigma=sigma)
    fine -= blurred(fine, 2 * sigma)
    return fine / fine.std()


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
    image = resized(cv2.LUT(labels, table), IMAGE_SIDE)
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


def scanned_mri(image: Image, rng: np.random.Generator) -> Image:
    """Add coil bias, blur and Rician noise, as a magnitude image has."""
    side = image.shape[0]
    bias = np.exp(rng.uniform(0.02, 0.12) * resized(smooth_noise(rng, sigma=6.0, side=32), side))
    image = blurred(image * bias, rng.uniform(0.35, 0.75) * side / IMAGE_SIDE)
    sigma = rng.uniform(0.008, 0.03)
    real = image + sigma * rng.standard_normal(image.shape, dtype=np.float32)
    other = sigma * rng.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, other) * rng.uniform(0.85, 1.05), np.float32)


def scanned_ct(image: Image, rng: np.random.Generator) -> Image:
    """Add the blur and the grainy noise of a brain window; what is outside it saturates."""
    side = image.shape[0]
    image = blurred(image, rng.uniform(0.5, 0.8) * side / IMAGE_SIDE)
    grain = smooth_noise(rng, sigma=0.7, side=side) * rng.uniform(0.012, 0.03)
    # Air lies below the window and stays black.
    return np.asarray(image + grain * (image > 0.05) + rng.uniform(-0.02, 0.02), np.float32)
