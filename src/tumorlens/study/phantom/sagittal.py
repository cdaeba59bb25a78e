"""Sagittal plan: a slice through the midline, the face to the left."""

from functools import cache

from tumorlens.study.phantom.anatomy import Part, Plan, curve, oval, skull, strand
from tumorlens.study.phantom.tissues import Tissue

_PROFILE = [
    (0.05, -1.14), (-0.35, -1.07), (-0.68, -0.82), (-0.86, -0.46), (-0.88, -0.18), (-0.86, -0.03),
    (-0.97, 0.14), (-1.09, 0.29), (-1.05, 0.36), (-0.94, 0.38), (-0.99, 0.48), (-0.95, 0.54),
    (-0.98, 0.62), (-0.92, 0.70), (-0.95, 0.84), (-0.86, 0.94), (-0.62, 0.98), (-0.40, 1.06),
    (-0.36, 1.30), (-0.40, 2.0), (0.60, 2.0), (0.54, 1.30), (0.53, 0.95), (0.64, 0.60),
    (0.90, 0.22), (1.03, -0.22), (0.92, -0.70), (0.55, -1.04),
]  # fmt: skip

_CAVITY = [
    (0.05, -1.02), (-0.30, -0.96), (-0.59, -0.72), (-0.74, -0.38), (-0.73, -0.14), (-0.64, -0.03),
    (-0.46, -0.04), (-0.35, -0.03), (-0.315, 0.05), (-0.25, 0.07), (-0.19, 0.0), (-0.13, 0.10),
    (0.0, 0.40), (0.14, 0.46), (0.30, 0.42), (0.58, 0.32), (0.81, 0.06), (0.885, -0.24),
    (0.77, -0.64), (0.45, -0.93),
]  # fmt: skip


def _nose() -> tuple[Part, ...]:
    cavity = [
        (-0.97, 0.30), (-0.84, 0.06), (-0.52, 0.06), (-0.34, 0.20), (-0.36, 0.34), (-0.62, 0.37),
    ]  # fmt: skip
    ethmoid = curve([(-0.66, 0.05), (-0.56, 0.05), (-0.56, 0.11), (-0.68, 0.11)])
    return (
        Part(Tissue.MUCOSA, curve(cavity)),
        strand(Tissue.AIR, [(-0.95, 0.31), (-0.70, 0.31), (-0.40, 0.29)], 0.035),
        strand(Tissue.AIR, [(-0.82, 0.19), (-0.62, 0.19), (-0.42, 0.21)], 0.025),
        Part(Tissue.AIR, ethmoid),
        strand(Tissue.BONE, [(-0.88, 0.41), (-0.64, 0.40), (-0.42, 0.41)], 0.045),
    )


def _mouth() -> tuple[Part, ...]:
    lips = curve([(-0.96, 0.44), (-0.88, 0.44), (-0.87, 0.68), (-0.95, 0.66)])
    floor = curve([(-0.75, 0.82), (-0.4, 0.88), (-0.33, 1.0), (-0.7, 0.92)])
    tongue = [
        (-0.80, 0.56), (-0.62, 0.45), (-0.40, 0.48), (-0.30, 0.68), (-0.42, 0.88), (-0.72, 0.80),
    ]  # fmt: skip
    throat = [
        (-0.30, 0.26), (-0.20, 0.42), (-0.19, 0.62), (-0.22, 0.86), (-0.17, 1.2), (-0.17, 2.0),
    ]  # fmt: skip
    return (
        Part(Tissue.MUSCLE, lips),
        Part(Tissue.MUSCLE, curve(tongue)),
        Part(Tissue.MUSCLE, floor),
        strand(Tissue.MUSCLE, [(-0.42, 0.41), (-0.30, 0.46), (-0.26, 0.56)], 0.05),
        strand(Tissue.AIR, throat, 0.06),
        Part(Tissue.BONE, oval(-0.85, 0.78, 0.06, 0.11)),
        Part(Tissue.MARROW, oval(-0.85, 0.79, 0.032, 0.07)),
        Part(Tissue.BONE, oval(-0.87, 0.49, 0.022, 0.05)),
        Part(Tissue.BONE, oval(-0.87, 0.62, 0.02, 0.05)),
    )


def _vertebra(x: float, y: float) -> tuple[Part, ...]:
    outline = curve([(x - 0.075, y - 0.052), (x + 0.06, y - 0.055), (x + 0.06, y + 0.055),
                     (x - 0.075, y + 0.052)])  # fmt: skip
    return Part(Tissue.MARROW, outline), Part(Tissue.BONE, outline, width=0.014)


def _neck() -> tuple[Part, ...]:
    dens = curve([(-0.03, 0.56), (0.03, 0.56), (0.05, 0.80), (-0.07, 0.80)])
    spine = curve([(-0.02, 0.5), (0.01, 0.9), (0.06, 1.3), (0.06, 2.0)], closed=False)
    canal = curve([(0.13, 0.38), (0.15, 0.70), (0.20, 1.05), (0.20, 2.0)], closed=False)
    nape = [(0.32, 0.52), (0.60, 0.42), (0.50, 0.80), (0.46, 2.0), (0.28, 2.0), (0.26, 0.90)]
    return (
        Part(Tissue.MUSCLE, curve(nape)),
        Part(Tissue.MUSCLE, curve([(-0.13, 0.5), (-0.15, 0.9), (-0.09, 2.0)], closed=False),
             width=0.07, closed=False),
        Part(Tissue.MUSCLE, spine, width=0.17, closed=False),
        Part(Tissue.MARROW, dens),
        Part(Tissue.BONE, dens, width=0.02),
        Part(Tissue.BONE, oval(-0.10, 0.57, 0.03, 0.045)),
        *_vertebra(0.02, 0.935),
        *_vertebra(0.05, 1.10),
        *_vertebra(0.06, 1.265),
        Part(Tissue.BONE, oval(0.30, 0.60, 0.035, 0.04)),
        Part(Tissue.BONE, oval(0.37, 0.82, 0.08, 0.035)),
        Part(Tissue.BONE, oval(0.38, 1.02, 0.07, 0.03)),
        Part(Tissue.BONE, oval(0.39, 1.20, 0.07, 0.03)),
        Part(Tissue.CSF, canal, width=0.15, closed=False),
    )  # fmt: skip


def _base() -> tuple[Part, ...]:
    clivus = curve(
        [(-0.20, 0.02), (-0.13, 0.12), (0.0, 0.42), (-0.07, 0.44), (-0.22, 0.24), (-0.27, 0.10)]
    )
    sphenoid = curve(
        [(-0.50, 0.03), (-0.36, 0.05), (-0.29, 0.13), (-0.25, 0.25), (-0.37, 0.23), (-0.48, 0.15)]
    )
    frontal = curve([(-0.79, -0.24), (-0.77, -0.06), (-0.81, -0.02), (-0.835, -0.14)])
    return (
        Part(Tissue.BONE, sphenoid, width=0.03),
        Part(Tissue.AIR, sphenoid),
        Part(Tissue.MARROW, clivus),
        Part(Tissue.BONE, clivus, width=0.018),
        Part(Tissue.BONE, frontal, width=0.03),
        Part(Tissue.AIR, frontal),
    )


def _lobes() -> tuple[Part, ...]:
    cerebrum = [
        (0.05, -0.99), (-0.28, -0.93), (-0.57, -0.70), (-0.71, -0.37), (-0.70, -0.15),
        (-0.60, -0.07), (-0.42, -0.08), (-0.22, -0.07), (-0.10, -0.05), (0.02, -0.06),
        (0.16, -0.17), (0.32, -0.12), (0.52, -0.05), (0.76, -0.02), (0.85, -0.24), (0.74, -0.62),
        (0.43, -0.90),
    ]  # fmt: skip
    cerebellum = [
        (0.22, 0.10), (0.27, 0.0), (0.42, -0.03), (0.62, 0.04), (0.76, 0.06), (0.68, 0.19),
        (0.54, 0.31), (0.36, 0.37), (0.25, 0.31),
    ]  # fmt: skip
    cingulate = [
        (-0.47, -0.20), (-0.50, -0.34), (-0.41, -0.45), (-0.33, -0.56), (-0.17, -0.59),
        (-0.04, -0.64), (0.12, -0.60), (0.24, -0.62), (0.31, -0.72),
    ]  # fmt: skip
    parietal = curve(
        [(0.40, -0.27), (0.45, -0.37), (0.52, -0.45), (0.53, -0.56), (0.60, -0.66)], closed=False
    )
    calcarine = curve(
        [(0.40, -0.27), (0.50, -0.22), (0.58, -0.24), (0.68, -0.18), (0.78, -0.22)], closed=False
    )
    tentorium = curve([(0.30, -0.07), (0.52, -0.01), (0.80, 0.05)], closed=False)
    return (
        Part(Tissue.WHITE, curve(cerebrum)),
        Part(Tissue.FOLIA, curve(cerebellum)),
        Part(Tissue.CSF, curve(cingulate, closed=False), width=0.014, closed=False),
        Part(Tissue.CSF, parietal, width=0.015, closed=False),
        Part(Tissue.CSF, calcarine, width=0.012, closed=False),
        Part(Tissue.DURA, tentorium, width=0.018, closed=False),
    )


def _midbrain_up() -> tuple[Part, ...]:
    callosum = [
        (-0.28, -0.22), (-0.37, -0.27), (-0.36, -0.38), (-0.20, -0.465), (0.02, -0.48),
        (0.20, -0.42), (0.29, -0.32), (0.27, -0.27),
    ]  # fmt: skip
    ventricle = [
        (-0.30, -0.28), (-0.30, -0.37), (-0.16, -0.43), (0.03, -0.44), (0.18, -0.37),
        (0.23, -0.29), (0.08, -0.345), (-0.10, -0.34), (-0.20, -0.25),
    ]  # fmt: skip
    cistern = curve([(-0.20, -0.10), (-0.12, -0.13), (-0.06, -0.10), (-0.18, -0.06)])
    return (
        strand(Tissue.TRACT, callosum, 0.065),
        Part(Tissue.CSF, curve(ventricle), ventricle=True),
        Part(Tissue.DEEP, oval(-0.02, -0.225, 0.15, 0.085)),
        Part(Tissue.CSF, cistern),
        Part(Tissue.TRACT, oval(-0.26, -0.055, 0.035, 0.014)),
        strand(Tissue.GLAND, [(-0.20, -0.06), (-0.24, 0.01)], 0.016),
        Part(Tissue.GLAND, oval(-0.25, 0.035, 0.05, 0.03)),
    )


def _hindbrain() -> tuple[Part, ...]:
    stem = [
        (-0.05, -0.09), (0.08, -0.13), (0.13, -0.06), (0.15, 0.08), (0.16, 0.22), (0.17, 0.34),
        (0.19, 0.50), (0.11, 0.50), (0.07, 0.36), (0.0, 0.28), (-0.05, 0.18), (-0.03, 0.05),
    ]  # fmt: skip
    fourth_ventricle = curve([(0.15, 0.04), (0.235, 0.15), (0.17, 0.28)])
    return (
        Part(Tissue.TRACT, curve(stem)),
        strand(Tissue.TRACT, [(0.15, 0.44), (0.165, 0.70), (0.21, 1.05), (0.21, 2.0)], 0.085),
        strand(Tissue.TRACT, [(0.24, 0.16), (0.42, 0.14), (0.56, 0.14)], 0.045),
        Part(Tissue.CSF, fourth_ventricle, ventricle=True),
        strand(Tissue.CSF, [(0.09, -0.13), (0.14, -0.02)], 0.012),
        strand(Tissue.VESSEL, [(-0.08, 0.12), (-0.02, 0.26)], 0.018),
    )


@cache
def sagittal_plan() -> Plan:
    """Slice through face, sella, callosum, brainstem, cerebellum and cervical spine."""
    head, cavity = curve(_PROFILE), curve(_CAVITY)
    bone, *inside = skull(cavity)
    return Plan(
        scale=0.99,
        shell=(
            Part(Tissue.FAT, head),
            Part(Tissue.SKIN, head, width=0.024),
            *_nose(),
            *_mouth(),
            bone,
            *inside[:-2],
            *_neck(),
            *_base(),
            *inside[-2:],
            Part(Tissue.CSF, oval(0.15, 0.44, 0.07, 0.05)),
        ),
        lobes=_lobes(),
        deep=(*_midbrain_up(), *_hindbrain()),
        cavity=cavity,
        dura=cavity[:, 1] < -0.08,
        matter=((-0.42, -0.55, 0.12, 0.10), (0.20, -0.68, 0.20, 0.06), (0.52, -0.40, 0.08, 0.10)),
        sella=(-0.25, 0.01),
        rest=curve([(1.06, -0.62), (1.15, -0.20), (1.12, 0.15), (0.98, 0.45)], closed=False),
        folds=2.1,
        mirrored=False,
    )
