"""Masses painted into CT slices, and what is no mass: bleeds, infarcts, calcifications.

Public CT sets say "tumor" of slices that show a bleed, and hold no masks. So a network must be
told apart what it cannot learn from them. A painted mass makes a head a tumor; painted bleeds,
infarcts and calcifications leave its label. Both are painted equally often, by the same brush,
so that a brush stroke says nothing.

What each looks like (in a brain window) follows Osborn's Brain (2017): tumors are of mixed
density with edema around, or of even density at the dura, often with a brighter rim after
contrast; fresh blood is bright and even, in the tissue with a thin dark rim, under the skull as
a crescent; an infarct is dark, wedge-shaped and reaches the cortex, with little swelling;
calcifications are small, very bright and often paired.
"""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens import labels
from tumorlens.study.training.data.synthetic_lesions import dilated

Rng = np.random.Generator
Field = NDArray[np.float32]
MASS = "mass"
_MIN_BRAIN = 0.15  # of the image, below which a slice has too little brain to paint in
_SKULL = 235  # gray from which a prepared CT shows bone


def ct_view(
    image: NDArray[np.uint8], label: NDArray[np.float32], rng: Rng
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]:
    """Return a CT slice with a painted finding, where a mass lies [s, s], and its label [atoms].

    Where it shows too little brain, the slice itself.
    """
    brain = find_brain(image)
    if brain.mean() < _MIN_BRAIN:
        return image, np.zeros(image.shape, bool), label
    others = list(NO_MASSES)
    finding = MASS if rng.random() < 0.5 else others[int(rng.integers(len(others)))]
    painted, mass = paint_finding(image, brain, finding, rng)
    return painted, mass, labels.label_mask(["ct_tumor"])[0] if finding == MASS else label


def paint_finding(
    image: NDArray[np.uint8], brain: NDArray[np.bool_], finding: str, rng: Rng
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Paint MASS or a row of NO_MASSES; return the slice and where a mass lies, both [s, s]."""
    gray, mass = image.astype(np.float32), np.zeros(image.shape, bool)
    if finding == MASS:
        gray, mass = _mass(gray, brain, rng)
    else:
        gray = NO_MASSES[finding](gray, brain, rng)
    return _to_uint8(gray, image), mass


def find_brain(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return what lies inside the skull, [s, s]: the largest region that no bone cuts off."""
    inside = cv2.erode(((image > 8) & (image < _SKULL)).astype(np.uint8), np.ones((3, 3), np.uint8))
    count, regions, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    if count < 2:
        return np.zeros(image.shape, bool)
    return regions == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())


def _mass(gray: Field, brain: NDArray[np.bool_], rng: Rng) -> tuple[Field, NDArray[np.bool_]]:
    at_rim = rng.random() < 0.35
    center = _point(brain, rng, at_rim=at_rim)
    radius = _radius(brain, rng, low=0.07, high=0.28)
    region = _blob(gray.shape[0], center, radius, rng, ragged=0.1 if at_rim else 0.25) & brain
    level, spread = _tissue(gray, brain)
    if not at_rim and rng.random() < 0.75:  # edema
        halo = _blob(gray.shape[0], center, radius * rng.uniform(1.2, 1.9), rng, ragged=0.5) & brain
        gray = _filled(gray, halo, level - spread * rng.uniform(1.0, 2.5), rng, soft=3.0)
    contrast = rng.uniform(1.3, 4.0) * (1 if at_rim or rng.random() < 0.5 else -1)
    gray = _filled(gray, region, level + spread * contrast, rng, soft=rng.uniform(0.8, 2.0))
    if rng.random() < 0.45:  # a core of other density
        core = _shrunk(region, radius * rng.uniform(0.25, 0.6))
        gray = _filled(gray, core, level - spread * rng.uniform(0.5, 3.0), rng, soft=1.5)
    return gray, region


def _bleed(gray: Field, brain: NDArray[np.bool_], rng: Rng) -> Field:
    center, radius = _point(brain, rng), _radius(brain, rng, low=0.05, high=0.2)
    region = _blob(gray.shape[0], center, radius, rng, ragged=0.2) & brain
    level, spread = _tissue(gray, brain)
    rim = dilated(region, 2) & brain
    gray = _filled(gray, rim, level - spread * rng.uniform(0.5, 1.5), rng, soft=1.5)
    return _filled(gray, region, level + spread * rng.uniform(3.0, 5.0), rng, soft=0.8)


def _crescent(gray: Field, brain: NDArray[np.bool_], rng: Rng) -> Field:
    """Paint fluid between brain and skull on one side: bright when fresh, dark when old."""
    side = gray.shape[0]
    depth = cv2.distanceTransform(brain.astype(np.uint8), cv2.DIST_L2, 3)
    rows, columns = np.nonzero(brain)
    angle = rng.uniform(0, 2 * np.pi)
    row, column = np.mgrid[:side, :side].astype(np.float32)
    way = np.arctan2(row - rows.mean(), column - columns.mean()) - angle
    away = np.abs(np.angle(np.exp(1j * way)))
    width = rng.uniform(0.5, 1.3)
    thick = rng.uniform(0.02, 0.07) * side * np.clip(1 - (away / width) ** 2, 0, 1)
    level, spread = _tissue(gray, brain)
    contrast = rng.uniform(2.5, 4.5) if rng.random() < 0.6 else -rng.uniform(0.8, 2.0)
    return _filled(gray, brain & (depth < thick), level + spread * contrast, rng, soft=0.8)


def _infarct(gray: Field, brain: NDArray[np.bool_], rng: Rng) -> Field:
    """Darken a wedge that reaches the cortex."""
    side = gray.shape[0]
    rows, columns = np.nonzero(brain)
    middle = np.array([columns.mean(), rows.mean()])
    angle, opening = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.8)
    reach = float(side)
    ends = [middle + reach * np.array([np.cos(a), np.sin(a)])
            for a in (angle - opening / 2, angle + opening / 2)]  # fmt: skip
    start = middle + rng.uniform(0.05, 0.2) * side * np.array([np.cos(angle), np.sin(angle)])
    wedge = np.zeros((side, side), np.uint8)
    cv2.fillPoly(wedge, [np.round(np.stack([start, *ends])).astype(np.int32)], 1)
    level, spread = _tissue(gray, brain)
    dark = level - spread * rng.uniform(1.2, 2.8)
    return _filled(gray, (wedge > 0) & brain, dark, rng, soft=rng.uniform(1.5, 3.5))


def _calcifications(gray: Field, brain: NDArray[np.bool_], rng: Rng) -> Field:
    """Paint one to four small, very bright spots, often with a partner on the other side."""
    spots = np.zeros(gray.shape, np.uint8)
    middle = int(np.nonzero(brain)[1].mean())
    for _ in range(int(rng.integers(1, 5))):
        column, row = _point(brain, rng)
        radius = max(1, round(len(gray) * rng.uniform(0.006, 0.02)))
        cv2.circle(spots, (column, row), radius, 1, -1)
        if rng.random() < 0.6:
            cv2.circle(spots, (2 * middle - column, row), radius, 1, -1)
    level, spread = _tissue(gray, brain)
    bright = level + spread * rng.uniform(4.0, 8.0)
    return _filled(gray, (spots > 0) & brain, bright, rng, soft=0.6)


NO_MASSES: Mapping[str, Callable[[Field, NDArray[np.bool_], Rng], Field]] = {
    "bleed": _bleed,
    "fluid under the skull": _crescent,
    "infarct": _infarct,
    "calcifications": _calcifications,
}


def _tissue(gray: Field, brain: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the middle gray of the brain and how far its tissues lie apart."""
    low, middle, high = np.percentile(gray[brain], (20, 50, 80))
    return float(middle), max(6.0, float(high - low) / 2)


def _point(brain: NDArray[np.bool_], rng: Rng, *, at_rim: bool = False) -> tuple[int, int]:
    """Draw a pixel (x, y) of the brain, deep in it or at its rim."""
    depth = cv2.distanceTransform(brain.astype(np.uint8), cv2.DIST_L2, 3)
    limit = 0.3 * float(depth.max())
    rows, columns = np.nonzero((depth > 0) & (depth < limit) if at_rim else depth >= limit)
    pick = int(rng.integers(len(rows)))
    return int(columns[pick]), int(rows[pick])


def _radius(brain: NDArray[np.bool_], rng: Rng, *, low: float, high: float) -> float:
    """Draw a radius, as a share of that of a disc as large as the brain."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))) * np.sqrt(brain.sum() / np.pi))


def _blob(
    side: int, center: tuple[int, int], radius: float, rng: Rng, *, ragged: float
) -> NDArray[np.bool_]:
    """Draw a tilted ellipse with a wavy border, [side, side]."""
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    waves = sum(
        rng.normal(0, ragged / order) * np.cos(order * turn + rng.uniform(0, 2 * np.pi))
        for order in range(2, 7)
    )
    stretch, tilt = rng.uniform(0.65, 1.5), rng.uniform(0, np.pi)
    reach = radius * np.clip(1 + waves, 0.3, 2.0)
    x, y = reach * np.cos(turn) * np.sqrt(stretch), reach * np.sin(turn) / np.sqrt(stretch)
    points = np.stack([x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)], 1)
    blob = np.zeros((side, side), np.uint8)
    cv2.fillPoly(blob, [np.round(points + center).astype(np.int32)], 1)
    return blob > 0


def _shrunk(region: NDArray[np.bool_], depth: float) -> NDArray[np.bool_]:
    return cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 3) > depth


def _filled(
    gray: Field, region: NDArray[np.bool_], level: float, rng: Rng, *, soft: float
) -> Field:
    """Bring a region to a gray level, with a soft border and the grain that was there."""
    cover = cv2.GaussianBlur(region.astype(np.float32), (0, 0), soft) * rng.uniform(0.75, 1.0)
    grain = gray - cv2.GaussianBlur(gray, (0, 0), 3.0)
    return np.asarray(gray + cover * (level + 0.7 * grain - gray), np.float32)


def _to_uint8(painted: Field, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Round, and keep the head where it was: black is air."""
    floor = (image > 0).astype(np.float32)
    return np.clip(painted, floor, np.where(image > 0, 255, 0)).astype(np.uint8)
