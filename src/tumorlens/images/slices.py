"""What headers say of slices, and the geometry of their planes; mm, in patient axes (LPS).

LPS: x to the patient's left, y to the back, z to the head, as DICOM counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tumorlens.records import Modality, Plane

MAX_TILT_DEGREES = 20.0  # of a normal against its axis; beyond it a plane is oblique
_PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")  # normal along x, y, z
_ENDS = ("LR", "PA", "HF")  # of x, y, z: towards plus, towards minus


@dataclass(frozen=True)
class SliceHeader:
    """What a file says of one slice, without its pixels."""

    path: str
    frame: int | None = None  # of a file that holds several, from 0
    study: str = ""  # unique identifiers
    series: str = ""
    instance: str = ""
    patient: str = ""  # a hash of the id, never the id itself
    modality: Modality | None = None
    storage: str = ""  # name of the storage class
    image_type: tuple[str, ...] = ()
    sequence: str = ""  # the series' description
    matrix: tuple[int, int] = (0, 0)  # rows, columns
    orientation: tuple[float, ...] | None = None  # along a row, then down a column: 6 cosines
    corner: tuple[float, ...] | None = None  # center of the first pixel
    spacing_mm: tuple[float, float] | None = None  # between rows, between columns
    number: int | None = None  # of the instance
    acquisition: str = ""
    kind: tuple[str, ...] = ()  # echo, b-value, temporal position: what parts one series

    @property
    def plane(self) -> Plane | None:
        """The plane it was cut in; None where the file does not say."""
        return None if self.orientation is None else plane_of(normal_of(self.orientation))

    @property
    def position(self) -> float | None:
        """Where it lies along the normal of its plane."""
        if self.orientation is None or self.corner is None:
            return None
        return float(normal_of(self.orientation) @ np.array(self.corner))


def normal_of(orientation: Sequence[float]) -> NDArray[np.float64]:
    """Return the unit normal, [3], of a row's and a column's direction; it is not to be changed."""
    return _normal_of(tuple(orientation))


@lru_cache(maxsize=4096)  # the slices of a stack share theirs
def _normal_of(orientation: tuple[float, ...]) -> NDArray[np.float64]:
    normal = np.cross(np.array(orientation[:3], float), orientation[3:])
    normal /= np.linalg.norm(normal)
    normal.flags.writeable = False
    return normal


def plane_of(normal: NDArray[np.float64]) -> Plane:
    """Name the plane of a unit normal, [3]."""
    axis = int(np.abs(normal).argmax())
    tilt = np.degrees(np.arccos(min(1.0, abs(float(normal[axis])))))
    return _PLANES[axis] if tilt <= MAX_TILT_DEGREES else "oblique"


def side_letters(orientation: Sequence[float]) -> dict[str, str]:
    """Name the sides of an image by the patient's: left, posterior, head and so on.

    >>> side_letters((1, 0, 0, 0, 1, 0))
    {'right': 'L', 'left': 'R', 'bottom': 'P', 'top': 'A'}
    """
    named = {}
    for (plus, minus), cosines in (
        (("right", "left"), orientation[:3]),
        (("bottom", "top"), orientation[3:]),
    ):
        axis = int(np.abs(cosines).argmax())
        named[plus], named[minus] = _ENDS[axis] if cosines[axis] > 0 else _ENDS[axis][::-1]
    return named
