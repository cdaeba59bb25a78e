"""Coronal plan: a slice through the sella, seen from in front."""

from functools import cache

from tumorlens.study.phantom.anatomy import Part, Plan, Points, curve, oval, skull, symmetric
from tumorlens.study.phantom.tissues import Tissue


def _head() -> Points:
    return symmetric(
        [
            (0.0, -1.02), (0.34, -0.95), (0.61, -0.71), (0.76, -0.32), (0.775, 0.04), (0.72, 0.34),
            (0.67, 0.60), (0.60, 0.86), (0.47, 1.08), (0.44, 1.40), (0.44, 2.0), (0.0, 2.1),
        ]
    )  # fmt: skip


def _cavity() -> Points:
    return symmetric(
        [
            (0.0, -0.905), (0.31, -0.84), (0.53, -0.63), (0.65, -0.30), (0.66, 0.0), (0.60, 0.21),
            (0.45, 0.31), (0.29, 0.29), (0.18, 0.20), (0.11, 0.17), (0.0, 0.165),
        ]
    )  # fmt: skip


def _face() -> tuple[Part, ...]:
    pterygoid = [(0.20, 0.46), (0.40, 0.40), (0.42, 0.70), (0.30, 0.80), (0.22, 0.66)]
    masseter = [(0.52, 0.44), (0.61, 0.50), (0.58, 0.84), (0.51, 0.86)]
    ramus = curve([(0.50, 0.36), (0.48, 0.60), (0.44, 0.92)], closed=False)
    neck = [(0.0, 1.06), (0.20, 1.08), (0.33, 1.12), (0.37, 1.40), (0.37, 2.0), (0.0, 2.0)]
    body = symmetric([(0.0, 0.13), (0.20, 0.19), (0.26, 0.36), (0.16, 0.46), (0.0, 0.44)])
    return (
        Part(Tissue.MUSCLE, oval(0.68, -0.02, 0.04, 0.26), paired=True),
        Part(Tissue.MUSCLE, curve(pterygoid), paired=True),
        Part(Tissue.MUSCLE, curve(masseter), paired=True),
        Part(Tissue.BONE, ramus, width=0.075, closed=False, paired=True),
        Part(Tissue.MARROW, ramus, width=0.03, closed=False, paired=True),
        Part(
            Tissue.MUSCLE,
            symmetric([(0, 0.72), (0.24, 0.76), (0.32, 0.94), (0.2, 1.06), (0, 1.05)]),
        ),
        Part(Tissue.MUSCLE, symmetric(neck)),
        Part(
            Tissue.MUCOSA,
            symmetric([(0, 0.44), (0.15, 0.46), (0.17, 0.62), (0.10, 0.72), (0, 0.70)]),
        ),
        Part(Tissue.AIR, oval(0.055, 0.56, 0.036, 0.08), paired=True),
        Part(Tissue.AIR, oval(0.0, 1.26, 0.055, 0.10)),
        Part(Tissue.MARROW, body),
        Part(Tissue.BONE, body, width=0.03),
        Part(Tissue.BONE, oval(0.082, 0.31, 0.07, 0.075), width=0.03, paired=True),
        Part(Tissue.AIR, oval(0.082, 0.31, 0.07, 0.075), paired=True),
    )


def _lobes() -> tuple[Part, ...]:
    brain = [
        (0.0, -0.875), (0.30, -0.81), (0.51, -0.61), (0.622, -0.29), (0.63, 0.0), (0.575, 0.19),
        (0.44, 0.28), (0.31, 0.26), (0.225, 0.15), (0.17, 0.03), (0.08, 0.01), (0.0, 0.0),
    ]  # fmt: skip
    sylvian = [
        (0.66, -0.10), (0.57, -0.10), (0.50, -0.08), (0.43, -0.12), (0.40, -0.20), (0.385, -0.08),
        (0.385, 0.03), (0.40, 0.02), (0.42, -0.06), (0.50, -0.05), (0.57, -0.07), (0.66, -0.06),
    ]  # fmt: skip
    fissure = curve([(-0.024, -0.90), (0.024, -0.90), (0.010, -0.42), (-0.010, -0.42)])
    falx = curve([(0, -0.89), (0, -0.50)], closed=False)
    return (
        Part(Tissue.WHITE, symmetric(brain)),
        Part(Tissue.CSF, fissure),
        Part(Tissue.DURA, falx, width=0.014, closed=False),
        Part(Tissue.CSF, curve(sylvian), paired=True),
    )


def _deep() -> tuple[Part, ...]:
    callosum = curve([(-0.24, -0.42), (0.0, -0.375), (0.24, -0.42)], closed=False)
    horn = [
        (0.016, -0.33),
        (0.10, -0.355),
        (0.21, -0.37),
        (0.17, -0.27),
        (0.07, -0.19),
        (0.018, -0.20),
    ]
    temporal = curve([(0.36, 0.10), (0.41, 0.07), (0.45, 0.11)], closed=False)
    capsule = curve([(0.25, -0.38), (0.22, -0.20), (0.14, -0.02)], closed=False)
    return (
        Part(Tissue.TRACT, callosum, width=0.06, closed=False),
        Part(Tissue.DEEP, oval(0.19, -0.27, 0.06, 0.08), paired=True),
        Part(Tissue.DEEP, oval(0.29, -0.11, 0.075, 0.12), paired=True),
        Part(Tissue.DEEP, oval(0.095, -0.13, 0.075, 0.07), paired=True),
        Part(Tissue.TRACT, capsule, width=0.04, closed=False, paired=True),
        Part(Tissue.CSF, curve(horn), paired=True, ventricle=True),
        Part(Tissue.CSF, oval(0.0, -0.10, 0.016, 0.09), ventricle=True),
        Part(Tissue.CSF, temporal, width=0.022, closed=False, paired=True),
        Part(Tissue.GRAY, oval(0.33, 0.14, 0.04, 0.03), paired=True),
        Part(Tissue.TRACT, oval(0.0, 0.055, 0.07, 0.016)),
        Part(Tissue.GLAND, oval(0.0, 0.128, 0.075, 0.034)),
        Part(Tissue.VESSEL, oval(0.125, 0.11, 0.03, 0.03), paired=True),
        Part(Tissue.VESSEL, curve([(-0.03, -0.905), (0.03, -0.905), (0, -0.86)])),
    )


@cache
def coronal_plan() -> Plan:
    """Slice through frontal horns, third ventricle, temporal lobes and sella."""
    head, cavity = _head(), _cavity()
    return Plan(
        scale=1.04,
        shell=(
            Part(Tissue.SKIN, oval(0.77, 0.28, 0.055, 0.15), paired=True),
            Part(Tissue.FAT, head),
            Part(Tissue.SKIN, head, width=0.024),
            *_face(),
            *skull(cavity),
        ),
        lobes=_lobes(),
        deep=_deep(),
        cavity=cavity,
        dura=cavity[:, 1] < 0.05,
        matter=((0.33, -0.50, 0.10, 0.14), (0.42, -0.40, 0.06, 0.1), (0.42, 0.12, 0.03, 0.03)),
        sella=(0.0, 0.09),
        rest=curve([(0.92, -0.40), (0.95, 0.0), (0.90, 0.40)], closed=False),
        folds=1.4,
    )
