"""A plan of one slice through the head, and how it is painted onto the label canvas."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.study.phantom.shapes import CANVAS, Points, Pose, curve, placed
from tumorlens.study.phantom.tissues import Tissue

Labels = NDArray[np.uint8]  # [CANVAS, CANVAS], values of Tissue
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
    folds: float = 1.0  # how deep the cortex reaches, relative to 12 picture pixels
    mirrored: bool = True  # left and right in the picture are left and right of the patient


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
    scale = np.sqrt(abs(np.linalg.det(pose.matrix)))
    for sign in (1.0, -1.0) if part.paired else (1.0,):
        pixels = placed(pose, give(outline * (sign, 1.0)))
        if part.width:
            thickness = max(1, round(part.width * scale))
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
