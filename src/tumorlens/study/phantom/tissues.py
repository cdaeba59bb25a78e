"""What a head is made of, and how bright each tissue is in each sequence."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

SEQUENCES = ("t1", "t2", "flair", "t1ce")


class Tissue(IntEnum):
    """Value of a pixel on the label canvas; everything from `RIM` up belongs to a tumor."""

    AIR = 0
    REST = 1
    SKIN = 2
    FAT = 3
    MUSCLE = 4
    BONE = 5
    MARROW = 6
    DURA = 7
    VESSEL = 8
    CSF = 9
    WHITE = 10
    GRAY = 11
    DEEP = 12
    TRACT = 13
    FOLIA = 14
    GLAND = 15
    EYE = 16
    LENS = 17
    MUCOSA = 18
    PLEXUS = 19
    EDEMA = 20
    RIM = 21
    CORE = 22
    MENINGIOMA = 23
    PITUITARY = 24


# One row per tissue, in the order of the columns below: brightness in 0..1. Only the order of the
# tissues within a column is anatomy; the figures are chosen by eye from ordinary window settings.
_COLUMNS = ("t1", "t2", "flair", "t1ce", "ct")
_BRIGHTNESS: dict[Tissue, tuple[float, float, float, float, float]] = {
    Tissue.AIR: (0.01, 0.01, 0.01, 0.01, 0.0),
    Tissue.REST: (0.01, 0.01, 0.01, 0.01, 0.62),
    Tissue.SKIN: (0.46, 0.40, 0.40, 0.44, 0.40),
    Tissue.FAT: (0.92, 0.72, 0.66, 0.82, 0.10),
    Tissue.MUSCLE: (0.36, 0.22, 0.27, 0.36, 0.48),
    Tissue.BONE: (0.05, 0.04, 0.05, 0.05, 1.25),
    Tissue.MARROW: (0.50, 0.34, 0.32, 0.46, 1.10),
    Tissue.DURA: (0.30, 0.22, 0.30, 0.66, 0.52),
    Tissue.VESSEL: (0.10, 0.06, 0.10, 0.88, 0.52),
    Tissue.CSF: (0.10, 0.96, 0.08, 0.10, 0.16),
    Tissue.WHITE: (0.64, 0.36, 0.38, 0.54, 0.41),
    Tissue.GRAY: (0.44, 0.56, 0.52, 0.40, 0.49),
    Tissue.DEEP: (0.50, 0.46, 0.48, 0.45, 0.49),
    Tissue.TRACT: (0.69, 0.33, 0.35, 0.58, 0.42),
    Tissue.FOLIA: (0.59, 0.44, 0.43, 0.48, 0.45),
    Tissue.GLAND: (0.56, 0.50, 0.50, 0.70, 0.48),
    Tissue.EYE: (0.14, 0.94, 0.12, 0.14, 0.26),
    Tissue.LENS: (0.42, 0.16, 0.30, 0.42, 0.62),
    Tissue.MUCOSA: (0.40, 0.66, 0.58, 0.66, 0.44),
    Tissue.PLEXUS: (0.30, 0.62, 0.46, 0.80, 0.80),
    Tissue.EDEMA: (0.42, 0.82, 0.84, 0.36, 0.28),
    Tissue.RIM: (0.38, 0.68, 0.70, 0.96, 0.58),
    Tissue.CORE: (0.22, 0.92, 0.50, 0.18, 0.27),
    Tissue.MENINGIOMA: (0.38, 0.66, 0.68, 0.92, 0.68),
    Tissue.PITUITARY: (0.42, 0.62, 0.62, 0.88, 0.66),
}


def brightness_table(column: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Brightness of each label value as a [256] table, a little different for every patient."""
    index = _COLUMNS.index(column)
    table = np.zeros(256, np.float32)
    for tissue, row in _BRIGHTNESS.items():
        table[tissue] = row[index]
    table[: len(_BRIGHTNESS)] *= rng.normal(1.0, 0.03, len(_BRIGHTNESS)).clip(0.92, 1.08)
    fat, marrow = rng.uniform(0.6, 1.05), rng.uniform(0.5, 1.3)
    dense = rng.random() < 0.6
    if column == "ct" and not dense:
        table[Tissue.RIM] *= 0.52  # a glioma may be darker than brain as a whole
    if column != "ct":  # fat suppression, and diploe that is fatty in some and not in others
        table[Tissue.FAT] *= fat
        table[Tissue.MARROW] *= marrow
    return table
