"""Phantoms: slices of drawn heads with marks and masks, one by one and as a labeled folder."""

import csv
import itertools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorlens.files import replacing, write_file
from tumorlens.images.raster import encode_png
from tumorlens.progress import Progress, silent
from tumorlens.study.phantom.anatomy import (
    Labels,
    Part,
    Plan,
    new_canvas,
    paint,
    random_pose,
    unmoved,
)
from tumorlens.study.phantom.axial import basal_plan, cerebral_plans
from tumorlens.study.phantom.coronal import coronal_plan
from tumorlens.study.phantom.findings import Mass, draw_mass, paint_mass, pushed_by
from tumorlens.study.phantom.sagittal import sagittal_plan
from tumorlens.study.phantom.tissues import (
    SEQUENCES,
    Tissue,
    coverage,
    render,
    resized,
    scanned_ct,
    scanned_mri,
)

SHARE = 0.3  # of all images, whatever they show
_WORDS = ("L", "R", "A12", "5 cm", "P", "H", "S 07", "W80", "3 mm", "IM 41")


def burn_marks(pixels: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Write two or three words into corners, and at times a scale bar, in three of ten images."""
    drawn = rng.random() < SHARE
    corners = rng.permutation(4)[: rng.integers(1, 4)]
    words = rng.choice(_WORDS, size=corners.size, replace=False)
    level, bar = int(rng.integers(170, 256)), rng.random() < 0.5
    if not drawn:
        return
    for corner, word in zip(corners, words, strict=True):
        _write(pixels, str(word), corner=int(corner), level=level)
    if bar:
        _scale_bar(pixels, level)


def _write(pixels: NDArray[np.uint8], word: str, *, corner: int, level: int) -> None:
    side = pixels.shape[0]
    size = side / 192 * 0.65
    (width, height), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_PLAIN, size, 1)
    margin = max(2, side // 48)
    x = margin if corner % 2 == 0 else side - margin - width
    y = margin + height if corner < 2 else side - margin
    cv2.putText(pixels, word, (x, y), cv2.FONT_HERSHEY_PLAIN, size, [level], 1, cv2.LINE_AA)


def _scale_bar(pixels: NDArray[np.uint8], level: int) -> None:
    side = pixels.shape[0]
    x, top, bottom = side - max(2, side // 64), side * 3 // 8, side * 5 // 8
    cv2.line(pixels, (x, top), (x, bottom), [level], 1)
    for y in np.linspace(top, bottom, 6).round().astype(int):
        cv2.line(pixels, (x - max(1, side // 64), int(y)), (x, int(y)), [level], 1)


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
    """Everything about an image that must not depend on its finding."""

    plane: str
    sequence: str
    level: float  # 0..1, how high an axial slice lies
    rested: bool


def draw_phantom(
    modality: str, finding: str, *, seed: int, plane: str | None = None, side: int = 192
) -> Phantom:
    """Draw one slice; all but the tumor depends on the seed alone, never on the finding.

    The one exception is anatomy: an axial slice that shows the sella has to pass through it. Marks
    are burned into some.
    """
    phantom = draw_clean(modality, finding, seed=seed, plane=plane, side=side)
    burn_marks(phantom.pixels, _streams(seed)[4])
    return phantom


def _streams(seed: int) -> list[np.random.Generator]:
    return [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)]


def draw_clean(
    modality: str, finding: str, *, seed: int, plane: str | None = None, side: int = 192
) -> Phantom:
    """Draw one slice as `draw_phantom` does, without marks."""
    _require("modality", modality, MODALITIES)
    _require("finding", finding, FINDINGS)
    _require("plane", "axial" if plane is None else plane, PLANES)
    if side < SMALLEST:
        raise ValueError(f"side must be at least {SMALLEST}; got {side}")
    streams = _streams(seed)
    scene = _draw_scene(modality, plane, streams[0])
    plan = _choose_plan(scene, finding)
    mass = draw_mass(finding, plan, streams[1])
    labels, surface = _paint_head(plan, mass, rested=scene.rested, rng=streams[2])
    image = render(labels, surface, column=scene.sequence, folds=plan.folds, rng=streams[3])
    scan = scanned_ct if modality == "ct" else scanned_mri
    seen = scan(resized(image, side), streams[3]).clip(0, 1)
    pixels = np.rint(seen * 255).astype(np.uint8)
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


HEADER = ("path", "label", "modality", "patient", "mask")

README = """Synthetic phantoms, not scans of anybody.

Every image here was drawn by tumorlens from random numbers. They look like head slices so that
software can be tried and tested; they say nothing about how well anything works on patients.
Do not train, tune or judge a medical tool on them.

<class>/         the images, 8-bit grayscale
masks/           the exact extent of each tumor (0 or 255), without edema
cases.csv        path, label, modality, patient, mask
"""


def write_phantoms(
    out: Path,
    *,
    per_class: int = 40,
    seed: int = 0,
    side: int = 192,
    progress: Progress = silent,
) -> Path:
    """Write `per_class` images of each class, masks and `cases.csv`; return `out`.

    `cases.csv` comes last, so a folder that has one is complete. `progress` is told how many
    images are done and how many there will be.
    """
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1; got {per_class}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "cases.csv").unlink(missing_ok=True)
    rows = []
    for label, number in itertools.product(CLASSES, range(1, per_class + 1)):
        phantom = _draw_numbered(label, number, seed=seed, side=side)
        rows.append(_write_case(out, phantom, number=number))
        progress(len(rows), per_class * len(CLASSES))
    write_file(out / "README.txt", README)
    _write_cases(out / "cases.csv", rows)
    return out


def _draw_numbered(label: str, number: int, *, seed: int, side: int) -> Phantom:
    """Draw the n-th image of a class, whose seed belongs to it alone."""
    number_seed, modality, finding = numbered_seed(label, number, seed=seed)
    return draw_phantom(modality, finding, seed=number_seed, side=side)


def numbered_seed(label: str, number: int, *, seed: int) -> tuple[int, str, str]:
    """Return the seed of the n-th image of a class, its modality and its finding."""
    source = np.random.SeedSequence([seed, CLASSES.index(label), number])
    number_seed = int(source.generate_state(1, np.uint64)[0])
    modality, finding = label.split("_")
    if finding == "tumor":
        finding = str(np.random.default_rng(source.spawn(1)[0]).choice(FINDINGS[1:]))
    return number_seed, modality, finding


def _write_case(out: Path, phantom: Phantom, *, number: int) -> tuple[str, ...]:
    """Write an image and, where there is a tumor, its mask; return the row of `cases.csv`."""
    label = phantom.label
    path = f"{label}/{label}_{number:04d}.png"
    write_file(out / path, encode_png(phantom.pixels))
    mask = ""
    if phantom.finding != "healthy":
        mask = f"masks/{label}_{number:04d}.png"
        write_file(out / mask, encode_png(phantom.mask.astype(np.uint8) * 255))
    return path, label, phantom.modality, f"phantom-{label}-{number}", mask


def _write_cases(path: Path, rows: list[tuple[str, ...]]) -> None:
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows)
