"""One synthetic slice of a head, drawn from a seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorlens.study.phantom.anatomy import (
    Labels,
    Part,
    Plan,
    new_canvas,
    paint,
    unmoved,
)
from tumorlens.study.phantom.appearance import render
from tumorlens.study.phantom.axial import basal_plan, cerebral_plans
from tumorlens.study.phantom.coronal import coronal_plan
from tumorlens.study.phantom.fields import Image, coverage, resized
from tumorlens.study.phantom.findings import Mass, draw_mass, paint_mass, pushed_by
from tumorlens.study.phantom.marks import burn_marks
from tumorlens.study.phantom.sagittal import sagittal_plan
from tumorlens.study.phantom.scanners import scanned_ct, scanned_mri
from tumorlens.study.phantom.shapes import random_pose
from tumorlens.study.phantom.tissues import SEQUENCES, Tissue

MODALITIES = ("ct", "mri")
FINDINGS = ("healthy", "glioma", "meningioma", "pituitary")
SMALLEST = 32  # pixels per side; less shows nothing
PLANES = ("axial", "coronal", "sagittal")
CLASSES = (
    "ct_healthy",
    "ct_tumor",
    "mri_healthy",
    "mri_glioma",
    "mri_meningioma",
    "mri_pituitary",
)


@dataclass(frozen=True)
class Phantom:
    """A synthetic slice, and the exact extent of its tumor without edema."""

    pixels: NDArray[np.uint8]  # [side, side]
    mask: NDArray[np.bool_]  # [side, side], empty for a healthy head
    modality: str  # one of MODALITIES
    finding: str  # one of FINDINGS
    plane: str  # one of PLANES
    sequence: str  # "ct", or one of SEQUENCES

    @property
    def label(self) -> str:
        """The class, one of CLASSES: on CT any tumor is just a tumor."""
        if self.modality == "ct" and self.finding != "healthy":
            return "ct_tumor"
        return f"{self.modality}_{self.finding}"


@dataclass(frozen=True)
class _Scene:
    """Everything about a picture that must not depend on its finding."""

    plane: str
    sequence: str
    level: float  # 0..1, how high an axial slice lies
    rested: bool


def draw_phantom(
    modality: str, finding: str, *, seed: int, plane: str | None = None, side: int = 192
) -> Phantom:
    """Draw one slice; all but the tumor depends on the seed alone, never on the finding.

    The one exception is anatomy: an axial slice that shows the sella has to pass through it.
    """
    _require("modality", modality, MODALITIES)
    _require("finding", finding, FINDINGS)
    _require("plane", "axial" if plane is None else plane, PLANES)
    if side < SMALLEST:
        raise ValueError(f"side must be at least {SMALLEST}; got {side}")
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)]
    scene = _draw_scene(modality, plane, streams[0])
    plan = _choose_plan(scene, finding)
    mass = draw_mass(finding, plan, streams[1])
    labels, surface = _paint_head(plan, mass, rested=scene.rested, rng=streams[2])
    image = render(labels, surface, column=scene.sequence, folds=plan.folds, rng=streams[3])
    scan = scanned_ct if modality == "ct" else scanned_mri
    pixels = _developed(scan(resized(image, side), streams[3]))
    burn_marks(pixels, streams[4])
    mask = resized(coverage(labels, *(t for t in Tissue if t >= Tissue.RIM)), side) > 0.5
    return Phantom(pixels, mask, modality, finding, scene.plane, scene.sequence)


def _require(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def _draw_scene(modality: str, plane: str | None, rng: np.random.Generator) -> _Scene:
    drawn, sequence = str(rng.choice(PLANES)), str(rng.choice(SEQUENCES))
    rested = bool(rng.random() < 0.35)
    return _Scene(
        plane=plane or drawn,
        sequence="ct" if modality == "ct" else sequence,
        level=float(rng.random()),
        rested=rested and modality == "ct",
    )


def _choose_plan(scene: _Scene, finding: str) -> Plan:
    if scene.plane == "coronal":
        return coronal_plan()
    if scene.plane == "sagittal":
        return sagittal_plan()
    if finding == "pituitary" or scene.level < 0.4:
        return basal_plan()
    return cerebral_plans()[scene.level < 0.7]


def _paint_head(
    plan: Plan, mass: Mass | None, *, rested: bool, rng: np.random.Generator
) -> tuple[Labels, Labels]:
    """Paint a head and its tumor; also return the lobes alone, whose surface cortex follows."""
    pose = random_pose(rng, scale=plan.scale)
    size = rng.uniform(0.75, 1.35)
    canvas = new_canvas()
    rest = (Part(Tissue.REST, plan.rest, width=0.05, closed=False),) if rested else ()
    for part in (*rest, *plan.shell, *plan.lobes):
        paint(canvas, part, pose=pose, give=unmoved, ventricle_size=size)
    surface = canvas.copy()
    give = pushed_by(mass) if mass else unmoved
    for part in plan.deep:
        paint(canvas, part, pose=pose, give=give, ventricle_size=size)
    if mass:
        paint_mass(canvas, mass, pose=pose, cavity=plan.cavity)
    return canvas, surface


def _developed(image: Image) -> NDArray[np.uint8]:
    return np.rint(image.clip(0, 1) * 255).astype(np.uint8)
