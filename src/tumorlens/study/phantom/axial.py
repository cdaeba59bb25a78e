"""Axial plans (nose up): through the lateral ventricles, above them, and through the sella."""

from functools import cache

import numpy as np

from tumorlens.study.phantom.anatomy import Part, Plan, Points, curve, inset, oval, skull, symmetric
from tumorlens.study.phantom.tissues import Tissue

_REST = [(-0.80, 0.70), (-0.50, 1.00), (0.0, 1.10), (0.50, 1.00), (0.80, 0.70)]


def _head() -> Points:
    return symmetric(
        [
            (0.0, -0.98), (0.30, -0.91), (0.54, -0.70), (0.69, -0.38), (0.77, 0.02),
            (0.75, 0.38), (0.61, 0.74), (0.33, 0.94), (0.0, 0.99),
        ]
    )  # fmt: skip


def _fissures() -> tuple[Part, ...]:
    front = curve([(-0.022, -0.85), (0.022, -0.85), (0.008, -0.36), (-0.008, -0.36)])
    back = curve([(-0.008, 0.40), (0.008, 0.40), (0.022, 0.86), (-0.022, 0.86)])
    sylvian = [
        (0.65, -0.02), (0.57, -0.06), (0.49, -0.09), (0.44, -0.20), (0.42, -0.12), (0.415, 0.03),
        (0.435, 0.0), (0.45, -0.07), (0.50, -0.055), (0.58, -0.03), (0.65, 0.02),
    ]  # fmt: skip
    return (
        Part(Tissue.CSF, front),
        Part(Tissue.CSF, back),
        Part(Tissue.DURA, curve([(0, -0.86), (0, -0.46)], closed=False), width=0.012, closed=False),
        Part(Tissue.DURA, curve([(0, 0.48), (0, 0.86)], closed=False), width=0.012, closed=False),
        Part(Tissue.CSF, curve(sylvian), paired=True),
    )


def _at_horns() -> tuple[Part, ...]:
    frontal = [
        (0.018, -0.27), (0.09, -0.39), (0.19, -0.46), (0.22, -0.41),
        (0.14, -0.25), (0.06, -0.12), (0.02, -0.11),
    ]  # fmt: skip
    occipital = [
        (0.13, 0.20), (0.20, 0.17), (0.30, 0.30), (0.34, 0.48), (0.30, 0.60), (0.25, 0.50),
        (0.18, 0.34),
    ]  # fmt: skip
    return (
        Part(Tissue.DEEP, oval(0.20, -0.29, 0.07, 0.14), paired=True),
        Part(Tissue.DEEP, oval(0.34, -0.07, 0.07, 0.19), paired=True),
        Part(Tissue.TRACT, curve([(0.23, -0.32), (0.23, -0.05), (0.29, 0.20), (0.21, 0.02)]),
             paired=True),
        Part(Tissue.DEEP, oval(0.125, 0.06, 0.10, 0.15), paired=True),
        Part(Tissue.TRACT, oval(0.0, -0.34, 0.16, 0.05)),
        Part(Tissue.TRACT, oval(0.0, 0.30, 0.17, 0.06)),
        Part(Tissue.CSF, curve(frontal), paired=True, ventricle=True),
        Part(Tissue.CSF, curve(occipital), paired=True, ventricle=True),
        Part(Tissue.CSF, oval(0.0, 0.04, 0.018, 0.13), ventricle=True),
        Part(Tissue.PLEXUS, oval(0.245, 0.30, 0.025, 0.05), paired=True),
        Part(Tissue.PLEXUS, oval(0.0, 0.21, 0.02, 0.02)),
    )  # fmt: skip


def _above_horns() -> tuple[Part, ...]:
    body = [
        (0.02, -0.30), (0.08, -0.40), (0.16, -0.41), (0.17, -0.22), (0.15, 0.0), (0.19, 0.20),
        (0.27, 0.38), (0.25, 0.48), (0.17, 0.38), (0.08, 0.18), (0.03, 0.0),
    ]  # fmt: skip
    return (
        Part(Tissue.TRACT, oval(0.0, -0.40, 0.14, 0.05)),
        Part(Tissue.TRACT, oval(0.0, 0.32, 0.15, 0.06)),
        Part(Tissue.DEEP, curve([(0.18, -0.40), (0.23, -0.30), (0.21, 0.05), (0.15, 0.02)]),
             paired=True),
        Part(Tissue.CSF, curve(body), paired=True, ventricle=True),
        Part(Tissue.PLEXUS, oval(0.18, 0.26, 0.02, 0.06), paired=True),
    )  # fmt: skip


def _cerebral(deep: tuple[Part, ...]) -> Plan:
    head = _head()
    cavity = inset(head, 0.125)
    temporalis = curve([(0.59, -0.58), (0.68, -0.30), (0.71, -0.05)], closed=False)
    return Plan(
        scale=1.14,
        shell=(
            Part(Tissue.FAT, head),
            Part(Tissue.SKIN, head, width=0.024),
            Part(Tissue.MUSCLE, temporalis, width=0.07, closed=False, paired=True),
            *skull(cavity),
        ),
        lobes=(Part(Tissue.WHITE, inset(cavity, 0.026)), *_fissures()),
        deep=deep,
        cavity=cavity,
        dura=np.ones(len(cavity), np.bool_),
        matter=((0.33, -0.48, 0.10, 0.14), (0.36, 0.38, 0.10, 0.16), (0.42, 0.05, 0.06, 0.2)),
        sella=(0.0, -0.08),
        rest=curve(_REST, closed=False),
        folds=1.25,
    )


@cache
def cerebral_plans() -> tuple[Plan, ...]:
    """Slices through and just above the horns of the lateral ventricles."""
    return _cerebral(_at_horns()), _cerebral(_above_horns())


def _orbits() -> tuple[Part, ...]:
    fat = [(0.13, -0.76), (0.33, -0.83), (0.49, -0.68), (0.40, -0.46), (0.15, -0.24), (0.12, -0.45)]
    wall = curve([(0.56, -0.64), (0.42, -0.44), (0.22, -0.25)], closed=False)
    medial = curve([(0.18, -0.66), (0.15, -0.52), (0.135, -0.30)], closed=False)
    lateral = curve([(0.43, -0.62), (0.35, -0.44), (0.19, -0.28)], closed=False)
    nerve = curve([(0.29, -0.57), (0.23, -0.42), (0.14, -0.26)], closed=False)
    return (
        Part(Tissue.BONE, wall, width=0.07, closed=False, paired=True),
        Part(Tissue.FAT, curve(fat), paired=True),
        Part(Tissue.MUSCLE, medial, width=0.024, closed=False, paired=True),
        Part(Tissue.MUSCLE, lateral, width=0.024, closed=False, paired=True),
        Part(Tissue.TRACT, nerve, width=0.028, closed=False, paired=True),
        Part(Tissue.EYE, oval(0.305, -0.685, 0.115, 0.12), paired=True),
        Part(Tissue.MUSCLE, oval(0.305, -0.685, 0.115, 0.12), width=0.018, paired=True),
        Part(Tissue.LENS, oval(0.305, -0.775, 0.05, 0.022), paired=True),
    )


def _basal_shell(cavity: Points) -> tuple[Part, ...]:
    head = _head()
    ethmoid = curve([(-0.09, -0.80), (0.09, -0.80), (0.10, -0.40), (-0.10, -0.40)])
    muscle = [(0.54, -0.60), (0.66, -0.42), (0.70, -0.12), (0.69, 0.10), (0.62, -0.20)]
    septum = curve([(0, -0.86), (0, -0.3)], closed=False)
    return (
        Part(Tissue.SKIN, oval(0.0, -0.97, 0.11, 0.10)),
        Part(Tissue.FAT, head),
        Part(Tissue.SKIN, head, width=0.024),
        Part(Tissue.MUSCLE, curve(muscle), paired=True),
        Part(
            Tissue.BONE, symmetric([(0, -0.9), (0.11, -0.86), (0.14, -0.5), (0.2, -0.2), (0, -0.1)])
        ),
        *_orbits(),
        Part(Tissue.MUCOSA, ethmoid),
        Part(Tissue.AIR, oval(0.05, -0.70, 0.03, 0.07), paired=True),
        Part(Tissue.AIR, oval(0.05, -0.53, 0.035, 0.06), paired=True),
        Part(Tissue.BONE, septum, width=0.016, closed=False),
        Part(Tissue.AIR, oval(0.062, -0.31, 0.052, 0.06), paired=True),
        *skull(cavity),
    )


def _petrous() -> tuple[Part, ...]:
    bone = [(0.15, 0.09), (0.34, 0.14), (0.66, 0.12), (0.70, 0.34), (0.50, 0.30), (0.28, 0.21)]
    return (
        Part(Tissue.BONE, curve(bone), paired=True),
        Part(Tissue.MARROW, oval(0.26, 0.155, 0.08, 0.026), paired=True),
        Part(Tissue.AIR, oval(0.55, 0.21, 0.05, 0.035), paired=True),
        Part(Tissue.AIR, oval(0.635, 0.25, 0.03, 0.05), paired=True),
        Part(Tissue.AIR, oval(0.40, 0.20, 0.03, 0.012), paired=True),
        Part(
            Tissue.BONE, curve([(-0.09, 0.0), (0.09, 0.0)], closed=False), width=0.04, closed=False
        ),
    )


def _basal_lobes() -> tuple[Part, ...]:
    temporal = [
        (0.175, -0.14), (0.30, -0.27), (0.46, -0.36), (0.56, -0.30), (0.625, -0.08), (0.62, 0.06),
        (0.50, 0.11), (0.34, 0.09), (0.19, 0.04),
    ]  # fmt: skip
    cerebellum = [
        (0.0, 0.38), (0.16, 0.32), (0.36, 0.31), (0.55, 0.38), (0.57, 0.50), (0.46, 0.67),
        (0.27, 0.79), (0.07, 0.81), (0.0, 0.75),
    ]  # fmt: skip
    return (
        Part(Tissue.WHITE, curve(temporal), paired=True),
        Part(Tissue.FOLIA, symmetric(cerebellum)),
        *_petrous(),
    )


def _basal_deep() -> tuple[Part, ...]:
    pons_and_arms = [
        (0.0, 0.075), (0.12, 0.10), (0.17, 0.19), (0.22, 0.28), (0.32, 0.37), (0.25, 0.41),
        (0.14, 0.34), (0.0, 0.33),
    ]  # fmt: skip
    return (
        Part(Tissue.TRACT, symmetric(pons_and_arms)),
        Part(Tissue.CSF, oval(0.0, 0.365, 0.06, 0.035), ventricle=True),
        Part(Tissue.VESSEL, oval(0.0, 0.05, 0.02, 0.018)),
        Part(Tissue.CSF, oval(0.40, -0.02, 0.014, 0.05), paired=True, ventricle=True),
        Part(Tissue.MUCOSA, oval(0.11, -0.075, 0.05, 0.085), paired=True),
        Part(Tissue.GLAND, oval(0.0, -0.085, 0.065, 0.05)),
        Part(Tissue.VESSEL, oval(0.115, -0.08, 0.032, 0.04), paired=True),
    )


@cache
def basal_plan() -> Plan:
    """Slice through orbits, sella, temporal lobes, pons and cerebellum."""
    cavity = symmetric(
        [
            (0.0, -0.19), (0.10, -0.18), (0.17, -0.22), (0.30, -0.32), (0.46, -0.40),
            (0.58, -0.33), (0.65, -0.10), (0.655, 0.15), (0.62, 0.38), (0.52, 0.63),
            (0.30, 0.81), (0.0, 0.865),
        ]
    )  # fmt: skip
    return Plan(
        scale=1.14,
        shell=_basal_shell(cavity),
        lobes=_basal_lobes(),
        deep=_basal_deep(),
        cavity=cavity,
        dura=(np.abs(cavity[:, 0]) > 0.36) & (np.abs(cavity[:, 1] - 0.16) > 0.31),
        matter=((0.42, -0.15, 0.04, 0.04), (0.26, 0.575, 0.04, 0.02)),
        sella=(0.0, -0.08),
        rest=curve(_REST, closed=False),
    )
