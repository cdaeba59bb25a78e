"""The same patient and scanner with and without a tumor: one half of the head reflected.

Where a tumor's place is known and the slice is nearly its own mirror image, each half can take
the place of the other: the tumor is then gone, or there twice. A network that knows the scanner
instead of the tumor cannot part the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorlens.inputs.cache import prepare_files
from tumorlens.predictions.predictor import Predictor
from tumorlens.records import Case, Estimate, PreparedScan
from tumorlens.study.data.masks import prepared_masks
from tumorlens.study.stats.discrimination import areas
from tumorlens.study.stats.intervals import bootstrap, estimate_of
from tumorlens.study.training.data.counterfactuals import MaskedScan, reflected_half
from tumorlens.study.training.data.midline_symmetry import find_midline

AT_ONCE = 32


@dataclass(frozen=True)
class Reflected:
    """Made images, two of each slice where both have a clear label."""

    images: NDArray[np.uint8]  # [n, side, side]
    truth: NDArray[np.bool_]  # [n] whether a tumor is left
    patients: NDArray[np.str_]  # [n]


def reflect_cases(cases: Sequence[Case], predictor: Predictor, *, cache: Path) -> Reflected:
    """Reflect the halves of the cases that have a mask and a plain midline."""
    spec = predictor.bundle.spec
    masks = prepared_masks(cases, spec)
    made = prepare_files([cases[row].path for row in masks], spec, cache=cache)
    images, truth, patients = [], [], []
    for image, (row, mask) in zip(made.pixels, masks.items(), strict=True):
        scan = MaskedScan(image, mask, find_midline(image))
        if not scan.midline.is_plain:
            continue
        halves = [reflected_half(scan, left=left) for left in (True, False)]
        for changed in filter(None, halves):
            images.append(changed.image)
            truth.append(bool(changed.mask.any()))
            patients.append(cases[row].patient or cases[row].key)
    size = (0, spec.side, spec.side)
    stacked = np.stack(images) if images else np.zeros(size, np.uint8)
    return Reflected(stacked, np.array(truth, bool), np.array(patients))


@dataclass(frozen=True)
class ReflectedFigures:
    """How well a bundle tells made images with a tumor from those without."""

    auc: Estimate  # with an interval by patient
    n_without: int
    n_patients: int


def reflected_figures(made: Reflected, predictor: Predictor) -> ReflectedFigures:
    """Return the area under the ROC curve on made images."""
    scans = [PreparedScan(str(number), image) for number, image in enumerate(made.images)]
    scores = np.array([
        found.tumor_probability
        for start in range(0, len(scans), AT_ONCE)
        for found in predictor.predict_prepared(scans[start : start + AT_ONCE])
    ], float)  # fmt: skip
    found = bootstrap(
        lambda weights: {"auc": areas(made.truth, scores, weights)["auc"]}, made.patients
    )
    return ReflectedFigures(
        estimate_of(found, "auc", len(scores)),
        n_without=int((~made.truth).sum()),
        n_patients=len(np.unique(made.patients)),
    )
