"""Lesions painted in gray values no training set shows: brighter, darker, ragged, with a core.

The tumors whose place is known come from one hospital and one sequence. What holds for others
is that a tumor is a mass that differs from its surroundings, whichever way. So a region shaped
like a known tumor is painted over a healthy head with random gray values, or a known tumor is
painted over: both are tumors of unknown type. Not every spot is one: many small ones, or two
that mirror each other, as in disease of the white matter, leave a head without a tumor.

Related: synthetic images of random contrast (SynthSeg, Billot et al., 2023) and synthetic
anomalies (DRAEM, Zavrtanik et al., 2021).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Field = NDArray[np.float32]
_MIN_CONTRAST = 0.5  # deviations of the head's gray, below which a lesion would not be seen
_MIN_AREA = 0.015  # of the head: a mass, not a spot
_MIN_SMALL = 0.004  # the same, of a small one
_MAX_SPOTS = 14
_CHANCE_BRIGHT = 0.75  # edema on FLAIR and T2, and enhancement, are bright


def paint(
    image: NDArray[np.uint8], region: NDArray[np.bool_], rng: Rng
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
    """Paint a lesion over about this region of a head, both [s, s]; return it and its mask.

    None where too little of it lies in the head, or it would hardly be seen. Where it comes out
    brighter than white the whole head is darkened, as preparing such a scan would.
    """
    head = image > 0
    inside = int((region & head).sum())
    if inside == 0 or inside < 0.8 * region.sum():
        return None
    depth = _ragged_depth(region, rng)
    gray = image.astype(np.float32)
    spread = float(gray[head].std())
    soft = rng.uniform(0.6, 2.5)
    cover = _sigmoid(depth / soft) * rng.uniform(0.55, 0.95) * head
    mask = (cover > 0.25) & head
    if mask.sum() < 12:
        return None
    if rng.random() < 0.35:  # edema spreads in one tissue more than in the other
        cover *= _one_tissue(gray, mask, spread, rng)
    painted = gray + cover * (_filling(gray, mask, depth, spread, rng) - gray)
    ring = dilated(mask, 5) & ~mask & head
    if not ring.any() or abs(painted[mask].mean() - gray[ring].mean()) < _MIN_CONTRAST * spread:
        return None
    top = float(np.percentile(painted[head], 99.5))
    painted *= 255.0 / max(255.0, top)
    # A lesion darker than air is still a part of the head.
    return np.clip(painted, head.astype(np.float32), 255).astype(np.uint8), mask


def moved_region(
    shape: NDArray[np.bool_], image: NDArray[np.uint8], rng: Rng, *, is_small: bool = False
) -> NDArray[np.bool_]:
    """Turn, scale and mirror the region of a tumor, and set it somewhere deep in a head, [s, s].

    What comes out is as large as a mass; a small one may also lie at the rim, as meningiomas do.
    """
    side = len(image)
    rows, columns = np.nonzero(shape)
    deep = _deep_pixels(image, depth=0.04 if is_small else 0.1)
    if not len(rows) or not len(deep):
        return np.zeros_like(shape)
    goal = deep[int(rng.integers(len(deep)))]
    min_scale = np.sqrt((_MIN_SMALL if is_small else _MIN_AREA) * (image > 0).sum() / len(rows))
    angle, scale = rng.uniform(0, 2 * np.pi), max(min_scale, np.exp(rng.normal(0.1, 0.3)))
    if is_small:
        scale = min_scale * rng.uniform(1.0, 2.0)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn[:, 0] *= rng.choice([-1, 1])
    offset = goal - turn @ [columns.mean(), rows.mean()]
    matrix = np.column_stack([turn, offset])
    return cv2.warpAffine(shape.astype(np.uint8), matrix, (side, side)) > 0


def scattered_spots(image: NDArray[np.uint8], rng: Rng) -> NDArray[np.bool_]:
    """Scatter small discs deep in a head, [s, s]."""
    deep = _deep_pixels(image)
    spots = np.zeros(image.shape, np.uint8)
    for _ in range(int(rng.integers(1, _MAX_SPOTS + 1)) if len(deep) else 0):
        center = tuple(deep[int(rng.integers(len(deep)))].tolist())
        cv2.circle(spots, center, max(1, round(len(image) * rng.uniform(0.006, 0.025))), 1, -1)
    return spots > 0


def _deep_pixels(image: NDArray[np.uint8], *, depth: float = 0.1) -> NDArray[np.int64]:
    """List the pixels (x, y) that lie deep in a head, [k, 2]."""
    inside = cv2.distanceTransform(np.pad((image > 0).astype(np.uint8), 1), cv2.DIST_L2, 3)
    return np.argwhere(inside[1:-1, 1:-1] > depth * len(image))[:, ::-1]


def _ragged_depth(region: NDArray[np.bool_], rng: Rng) -> Field:
    """Return how deep in the region a pixel lies, negative outside, with a ragged border."""
    inside = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 3)
    outside = cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 3)
    size = len(region)
    fingers = _smooth_noise(size, rng.uniform(0.015, 0.06) * size, rng)
    ragged = inside - outside + fingers * (rng.uniform(0, 0.05) * size)
    return np.asarray(ragged, np.float32)


def _filling(gray: Field, mask: NDArray[np.bool_], depth: Field, spread: float, rng: Rng) -> Field:
    """Return the gray values of the lesion, sometimes with a core of others, [s, s]."""
    level = float(gray[mask].mean())
    filling = np.full_like(gray, level + spread * _contrast(rng))
    if rng.random() < 0.4:
        core = _sigmoid((depth - rng.uniform(0.25, 0.7) * float(depth.max())) / 0.8)
        filling += core * (level + spread * _contrast(rng) - filling)
    grain = _smooth_noise(len(gray), rng.uniform(0.8, 5.0), rng)
    return np.asarray(filling + grain * (rng.uniform(0, 0.4) * spread), np.float32)


def _contrast(rng: Rng) -> float:
    """Draw how far a lesion lies from its surroundings, in deviations of the head's gray."""
    size = float(rng.uniform(0.7, 3.0))
    return size if rng.random() < _CHANCE_BRIGHT else -size


def _one_tissue(gray: Field, mask: NDArray[np.bool_], spread: float, rng: Rng) -> Field:
    """Return how much of the lesion each pixel takes by its gray, [s, s]."""
    sign = rng.choice([-1.0, 1.0])
    return _sigmoid(1 + 2 * sign * (gray - float(gray[mask].mean())) / max(1.0, spread))


def _smooth_noise(size: int, grain: float, rng: Rng) -> Field:
    """Draw noise of about this grain in pixels, of zero mean and a deviation of 1, [size, size]."""
    coarse = max(3, round(size / (2 * grain)))
    noise = rng.standard_normal((coarse, coarse), dtype=np.float32)
    smooth = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray((smooth - smooth.mean()) / max(1e-6, float(smooth.std())), np.float32)


def _sigmoid(values: Field) -> Field:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))), np.float32)


def dilated(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Grow a mask by this many pixels all around."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0
