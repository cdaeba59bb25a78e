"""The plane of a slice, estimated from the outline and the symmetry of the prepared head.

No public set of slices records its planes. A small logistic regression learns them from planes.csv:
192 slices of figshare that were looked at one by one, and phantoms, whose planes are known. The
halves of the slices looked at tell each other's planes right in about nine of ten cases; a
subgroup by plane means "slices that look axial", not more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tumorlens.files import read_table

PLANES = ("axial", "coronal", "sagittal")
NOT_TOLD = "not told"
MIN_PROBABILITY = 0.5  # of the likeliest plane, below which none is told
PHANTOM = "phantom"
EXAMPLES = Path(__file__).with_name("planes.csv")
FEATURES = ("elongation", "neck", "lean", "mirror", "mirror_detail", "upside_down")
SIDE = 48  # pixels: outline and symmetry, no detail
_PHANTOM_WEIGHT = 0.5  # of a slice looked at: real heads count most
_DARK = 0.02
_SHIFTS = (-2, -1, 0, 1, 2)  # of the mirror's axis, in pixels
Flip = Callable[[NDArray], NDArray]


@dataclass(frozen=True)
class Example:
    """A slice whose plane is known; a row of planes.csv."""

    key: str  # of the case, or "phantom/<modality>/<finding>/<seed>"
    plane: str
    features: tuple[float, ...]


def estimate_planes(features: NDArray[np.float64]) -> list[str]:
    """Name the plane of each slice by its `plane_features`, [n, 6]; NOT_TOLD where it is open."""
    if not len(features):
        return []
    model = plane_model()
    found = model.predict_proba(features)
    return [
        str(model.classes_[row.argmax()]) if row.max() >= MIN_PROBABILITY else NOT_TOLD
        for row in found
    ]


@lru_cache(maxsize=1)
def plane_model() -> Pipeline:
    """Learn the planes from planes.csv, the same at every call."""
    return teach_planes(read_examples())


def teach_planes(examples: Sequence[Example]) -> Pipeline:
    """Fit the regression."""
    weights = [_PHANTOM_WEIGHT if e.key.startswith(PHANTOM) else 1.0 for e in examples]
    model = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
    )
    return model.fit(
        np.array([e.features for e in examples]),
        [e.plane for e in examples],
        logisticregression__sample_weight=weights,
    )


def read_examples() -> list[Example]:
    """Read planes.csv."""
    return [
        Example(row["key"], row["plane"], tuple(float(row[name]) for name in FEATURES))
        for row in read_table(EXAMPLES)
    ]


def plane_features(prepared: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Describe a prepared head by its outline and its likeness to its mirror images, [6]."""
    small = cv2.resize(prepared, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    pixels = np.asarray(small, np.float64) / 255
    head = pixels > _DARK
    fine, coarse = (cv2.GaussianBlur(pixels, (0, 0), sigma) for sigma in (1.0, 5.0))
    detail = np.asarray(fine - coarse, np.float64)
    rows, columns = np.flatnonzero(head.any(1)), np.flatnonzero(head.any(0))
    if not len(rows):
        return np.zeros(len(FEATURES))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    pixels, head, detail = pixels[box], head[box], detail[box]
    height, width = head.shape
    lower, half = head[2 * height // 3 :], width // 2
    return np.array([
        np.log(height / width),
        head[-2:].mean(),  # a neck goes on below the image
        abs(lower[:, :half].mean() - lower[:, half:].mean()),
        _likeness(pixels, head, np.fliplr, axis=1),
        _likeness(detail, head, np.fliplr, axis=1),
        _likeness(pixels, head, np.flipud, axis=0),
    ])  # fmt: skip


def _likeness(
    values: NDArray[np.float64], head: NDArray[np.bool_], flip: Flip, *, axis: int
) -> float:
    """Correlate an image with its mirror image inside both heads, at the best of a few shifts."""
    found = []
    for shift in _SHIFTS:
        both = head & np.roll(flip(head), shift, axis)
        a, b = values[both], np.roll(flip(values), shift, axis)[both]
        if len(a) > 2 and a.std() > 0 and b.std() > 0:
            found.append(float(np.corrcoef(a, b)[0, 1]))
    return max(found, default=0.0)
