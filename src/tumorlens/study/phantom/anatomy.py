"""A plan of one slice through the head, and how it is painted onto the label canvas.

Head coordinates: x to the right, y down, one unit is 100 mm, origin near the middle of the head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.study.phantom.tissues import Labels, Tissue

Points = NDArray[np.float64]  # [n, 2], head coordinates

CANVAS = 384  # pixels per side of the label canvas, twice the image that is rendered from it
PIXELS_PER_UNIT = 150.0
SAMPLES = 6  # of a spline, between two control points


@dataclass(frozen=True)
class Pose:
    """Where one patient lies on the canvas, and how this head differs from the plan."""

    matrix: NDArray[np.float64]  # [2, 2], head units to canvas pixels
    shift: NDArray[np.float64]  # [2], canvas pixels
    waves: NDArray[np.float64]  # [2, k], spatial frequencies of the deformation
    phases: NDArray[np.float64]  # [k]
    sway: NDArray[np.float64]  # [k, 2], amplitudes in head units

    @cached_property
    def scale(self) -> float:
        """Canvas pixels of one head unit."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))


def random_pose(rng: np.random.Generator, *, scale: float) -> Pose:
    """Draw size, aspect, rotation (about 10 degrees at most), shift and a smooth deformation."""
    turn = np.deg2rad(np.clip(rng.normal(0, 4.0), -10, 10))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    size = scale * rng.uniform(0.91, 1.07)
    aspect = rng.uniform(0.96, 1.04)
    return Pose(
        matrix=PIXELS_PER_UNIT * size * rotation @ np.diag([aspect, 1 / aspect]),
        shift=CANVAS / 2 + rng.uniform(-8, 8, 2),
        waves=rng.normal(0, 2.0, (2, 4)),
        phases=rng.uniform(0, 2 * np.pi, 4),
        sway=rng.normal(0, 0.011, (4, 2)),
    )


def placed(pose: Pose, points: Points) -> Points:
    """Carry head coordinates to canvas pixels."""
    bent = points + np.sin(points @ pose.waves + pose.phases) @ pose.sway
    return bent @ pose.matrix.T + pose.shift


def curve(control: Sequence[tuple[float, float]], *, closed: bool = True) -> Points:
    """Pass a Catmull-Rom spline through control points."""
    knots = np.asarray(control, dtype=np.float64)
    if closed:
        before, after, beyond = np.roll(knots, 1, 0), np.roll(knots, -1, 0), np.roll(knots, -2, 0)
    else:
        padded = np.vstack([knots[:1], knots, knots[-1:]])
        before, knots, after, beyond = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = (np.arange(SAMPLES) / SAMPLES)[None, :, None]
    p0, p1, p2, p3 = (p[:, None, :] for p in (before, knots, after, beyond))
    bend = 2 * p0 - 5 * p1 + 4 * p2 - p3
    dense = p1 + 0.5 * t * ((p2 - p0) + t * (bend + t * (3 * (p1 - p2) + p3 - p0)))
    points = dense.reshape(-1, 2)
    return points if closed else np.vstack([points, np.asarray(control[-1])[None]])


def symmetric(half: Sequence[tuple[float, float]]) -> Points:
    """Close the right half of an outline, given from midline to midline, with its mirror image."""
    return curve([*half, *((-x, y) for x, y in reversed(half[1:-1]))])


def oval(x: float, y: float, rx: float, ry: float) -> Points:
    """Sample an ellipse."""
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], axis=1)


def inset(points: Points, depth: float) -> Points:
    """Move a convex outline inward by `depth`; a kink sharper than `depth` folds over."""
    tangent = np.roll(points, -1, 0) - np.roll(points, 1, 0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    inward = np.sign(((points.mean(0) - points) * normal).sum())
    return points + depth * inward * normal


def blob(
    center: Points, radius: float, *, rng: np.random.Generator, rough: float, aspect: float = 1.0
) -> Points:
    """Draw a star-shaped outline about `center` whose radius varies by the share `rough`."""
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    orders = np.arange(2, 9)
    amplitude = rng.normal(0, 1, (2, orders.size)) / orders**0.6
    wave = amplitude[0] @ np.cos(np.outer(orders, t)) + amplitude[1] @ np.sin(np.outer(orders, t))
    r = radius * (1 + rough * np.tanh(wave / 1.4))
    turn = rng.uniform(0, np.pi)
    ring = np.stack([r * np.cos(t) * aspect**0.5, r * np.sin(t) / aspect**0.5], axis=1)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return center + ring @ rotation.T


Yielding = Callable[[Points], Points]

_FRACTION_BITS = 4  # OpenCV draws at a sixteenth of a pixel with coordinates scaled by 2**4


@dataclass(frozen=True)
class Part:
    """One structure: a filled outline, or with `width` (head units) a stroke along it."""

    tissue: Tissue
    outline: Points
    width: float = 0.0
    closed: bool = True
    paired: bool = False  # also drawn mirrored in the midline
    ventricle: bool = False  # its size differs between patients


@dataclass(frozen=True)
class Plan:
    """One slice through the head, in painting order from the skin inward."""

    scale: float
    shell: tuple[Part, ...]
    lobes: tuple[Part, ...]
    deep: tuple[Part, ...]
    cavity: Points  # [n, 2], inner table of the skull
    dura: NDArray[np.bool_]  # [n], where on the cavity a meningioma may sit
    matter: tuple[tuple[float, float, float, float], ...]  # x, y, dx, dy: boxes of white matter
    sella: tuple[float, float]
    rest: Points  # head-rest of a CT table, an open curve outside the head
    folds: float = 1.0  # how deep the cortex reaches, relative to 12 image pixels
    mirrored: bool = True  # left and right in the image are left and right of the patient


def fill(canvas: Labels, pixels: Points, value: int) -> None:
    """Fill a polygon given in canvas pixels."""
    fixed = np.rint(pixels * 2**_FRACTION_BITS).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], [value], cv2.LINE_8, _FRACTION_BITS)


def stroke(canvas: Labels, pixels: Points, value: int, *, thickness: int, closed: bool) -> None:
    """Stroke a curve given in canvas pixels."""
    fixed = np.rint(pixels * 2**_FRACTION_BITS).astype(np.int32)
    cv2.polylines(canvas, [fixed], closed, [value], thickness, cv2.LINE_8, _FRACTION_BITS)


def paint(canvas: Labels, part: Part, *, pose: Pose, give: Yielding, ventricle_size: float) -> None:
    """Paint one structure; `give` moves what yields to a mass."""
    outline = part.outline
    if part.ventricle:
        middle = outline.mean(0)
        outline = middle + (outline - middle) * ventricle_size
    for sign in (1.0, -1.0) if part.paired else (1.0,):
        pixels = placed(pose, give(outline * (sign, 1.0)))
        if part.width:
            thickness = max(1, round(part.width * pose.scale))
            stroke(canvas, pixels, part.tissue, thickness=thickness, closed=part.closed)
        else:
            fill(canvas, pixels, part.tissue)


def strand(tissue: Tissue, control: Sequence[tuple[float, float]], width: float) -> Part:
    """Stroke an open curve through control points."""
    return Part(tissue, curve(control, closed=False), width=width, closed=False)


def skull(cavity: Points) -> tuple[Part, ...]:
    """Lay outer table, marrow, inner table, dura and the fluid inside around a cavity."""
    return (
        Part(Tissue.BONE, cavity, width=0.14),
        Part(Tissue.MARROW, cavity, width=0.096),
        Part(Tissue.BONE, cavity, width=0.046),
        Part(Tissue.CSF, cavity),
        Part(Tissue.DURA, cavity, width=0.012),
    )


def new_canvas() -> Labels:
    """Start with nothing but air."""
    return np.zeros((CANVAS, CANVAS), np.uint8)


def unmoved(points: Points) -> Points:
    """Leave everything in place, as where there is no mass."""
    return points
