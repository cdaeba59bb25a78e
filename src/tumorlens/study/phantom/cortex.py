"""Folds of the brain: cortex and sulci of the cerebrum, leaves of the cerebellum."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.study.phantom.fields import Image, blurred, smooth_noise

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
