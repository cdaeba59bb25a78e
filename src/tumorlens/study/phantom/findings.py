"""Where each kind of tumor lives, what shape it has, and how it is painted."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.study.phantom.anatomy import Labels, Plan, Points, Pose, Yielding, blob, fill, placed
from tumorlens.study.phantom.tissues import Tissue

_SOFT = (Tissue.WHITE, Tissue.GRAY, Tissue.DEEP, Tissue.TRACT, Tissue.FOLIA)
_INSIDE = (*_SOFT, Tissue.CSF, Tissue.DURA, Tissue.PLEXUS, Tissue.VESSEL, Tissue.EDEMA)


@dataclass(frozen=True)
class Layer:
    """One tissue of a tumor and the tissues it may replace; none named means all of them."""

    tissue: Tissue
    outline: Points
    over: tuple[Tissue, ...] = ()


@dataclass(frozen=True)
class Mass:
    """One tumor, with its surroundings, in painting order."""

    center: Points  # [2]
    radius: float
    layers: tuple[Layer, ...]
    inside_cavity: bool


def _reach(plan: Plan, point: Points) -> float:
    """Measure the distance from a point to the skull; negative outside the cavity."""
    contour = plan.cavity.astype(np.float32)
    return cv2.pointPolygonTest(contour, (float(point[0]), float(point[1])), True)


def _room(plan: Plan, point: Points) -> float:
    """Return the largest radius of a glioma about `point` that keeps clear of the skull."""
    return (_reach(plan, point) - 0.045) / 1.2


def _in_matter(plan: Plan, rng: np.random.Generator) -> Points:
    """Draw twelve points in one box of white matter, on either side where the plan has two."""
    x, y, dx, dy = plan.matter[rng.integers(len(plan.matter))]
    points = np.array([x, y]) + rng.uniform(-1, 1, (12, 2)) * (dx, dy)
    side = rng.choice((-1.0, 1.0)) if plan.mirrored else 1.0
    return points * (side, 1.0)


def draw_glioma(plan: Plan, rng: np.random.Generator) -> Mass:
    """Draw an irregular ring around a dead core inside white matter, in finger-like edema."""
    wanted = rng.uniform(0.14, 0.28)
    center, room = max(
        ((point, min(_room(plan, point), wanted)) for point in _in_matter(plan, rng)),
        key=lambda place: place[1],  # the first that is as large as wanted, or else the largest
    )
    radius = max(room, 0.12)
    ring = blob(center, radius, rng=rng, rough=0.20, aspect=rng.uniform(0.8, 1.25))
    core = blob(center, radius * rng.uniform(0.42, 0.62), rng=rng, rough=0.16)
    edema = blob(center, radius * rng.uniform(1.45, 1.9), rng=rng, rough=0.42)
    layers = (
        Layer(Tissue.EDEMA, edema, over=(Tissue.WHITE, Tissue.TRACT, Tissue.FOLIA)),
        Layer(Tissue.RIM, ring, over=_INSIDE),
        Layer(Tissue.CORE, core, over=(Tissue.RIM,)),
    )
    return Mass(center=center, radius=radius, layers=layers, inside_cavity=True)


def _on_dura(plan: Plan, rng: np.random.Generator) -> tuple[Points, Points]:
    """Draw a point of the inner table and the direction into the brain there."""
    outline = plan.cavity
    index = int(rng.choice(np.flatnonzero(plan.dura)))
    along = outline[(index + 1) % len(outline)] - outline[index - 1]
    inward = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    if _reach(plan, outline[index] + 0.05 * inward) < 0:
        inward = -inward
    return outline[index], inward


def draw_meningioma(plan: Plan, rng: np.random.Generator) -> Mass:
    """Draw a sharp hemisphere with a broad base on the dura, at times in a cleft of fluid."""
    base, inward = _on_dura(plan, rng)
    radius = rng.uniform(0.15, 0.30)
    center = base + inward * radius * rng.uniform(0.25, 0.5)
    body = blob(center, radius, rng=rng, rough=0.05, aspect=rng.uniform(0.85, 1.18))
    layers = []
    if rng.random() < 0.5:
        edema = blob(center + inward * 0.12 * radius, radius * 1.4, rng=rng, rough=0.25)
        layers.append(Layer(Tissue.EDEMA, edema, over=(Tissue.WHITE, Tissue.TRACT)))
    if rng.random() < 0.6:
        cleft = center + (body - center) * (1 + 0.022 / radius)
        layers.append(Layer(Tissue.CSF, cleft, over=(*_SOFT, Tissue.EDEMA)))
    layers.append(Layer(Tissue.MENINGIOMA, body, over=_INSIDE))
    return Mass(center=center, radius=radius, layers=tuple(layers), inside_cavity=True)


def draw_pituitary(plan: Plan, rng: np.random.Generator) -> Mass:
    """Draw a smooth round or oval mass that fills the sella and rises out of it."""
    radius = rng.uniform(0.11, 0.18)
    rise = np.array([rng.normal(0, 0.008), -rng.uniform(0.1, 0.55) * (radius - 0.04)])
    center = np.array(plan.sella) + rise
    body = blob(center, radius, rng=rng, rough=0.035, aspect=rng.uniform(0.85, 1.15))
    return Mass(
        center=center,
        radius=radius,
        layers=(Layer(Tissue.PITUITARY, body),),
        inside_cavity=False,
    )


def draw_mass(finding: str, plan: Plan, rng: np.random.Generator) -> Mass | None:
    """Draw the tumor of a finding, or nothing for a healthy head."""
    draw = {
        "glioma": draw_glioma,
        "meningioma": draw_meningioma,
        "pituitary": draw_pituitary,
    }.get(finding)
    return draw(plan, rng) if draw else None


def pushed_by(mass: Mass) -> Yielding:
    """Move deep structures away from a mass, none beyond 2.6 times its radius."""

    def give(points: Points) -> Points:
        away = points - mass.center
        distance = np.linalg.norm(away, axis=1, keepdims=True) + 1e-6
        fade = (1 - (distance / (2.6 * mass.radius)) ** 2).clip(0) ** 2
        return points + away / distance * (0.45 * mass.radius * fade)

    return give


def paint_mass(canvas: Labels, mass: Mass, *, pose: Pose, cavity: Points) -> None:
    """Paint a tumor over the finished anatomy, inside the skull where it belongs there."""
    inside = np.zeros_like(canvas)
    fill(inside, placed(pose, cavity), 1)
    for layer in mass.layers:
        stencil = np.zeros_like(canvas)
        fill(stencil, placed(pose, layer.outline), 1)
        if mass.inside_cavity:
            stencil &= inside
        canvas[_allowed(canvas, stencil, layer.over)] = layer.tissue


def _allowed(canvas: Labels, stencil: Labels, over: tuple[Tissue, ...]) -> NDArray[np.bool_]:
    """Keep the part of a stencil that lies over tissues that may be replaced."""
    if not over:
        return stencil.astype(bool)
    table = np.zeros(256, np.uint8)
    table[list(over)] = 1
    return (stencil & table[canvas]).astype(bool)
