"""How far the answers hold when scans get worse: what scanners, exports and mail do to them.

Each perturbation works on the scan as it was stored, before the head is looked for: the whole
path is tested, and not the network alone.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from tumorlens.images.readers import attempt, read_scan
from tumorlens.json_records import as_record
from tumorlens.predictions.predictor import Predictor
from tumorlens.progress import Progress, silent
from tumorlens.records import Case, Prediction, Scan, Unusable
from tumorlens.reports.evaluation import DamagedRow, Robustness
from tumorlens.study.evaluation.labeled_predictions import label_predictions
from tumorlens.study.evaluation.subgroups import draw_sample
from tumorlens.study.stats.discrimination import detection_statistics
from tumorlens.study.stats.intervals import bootstrap_shares

MAX_SCANS = 200  # enough for intervals of a few points
BATCH = 16
AS_STORED = "as stored"
Damage = tuple[str, float]  # name and strength of a perturbation
Pixels = NDArray[np.float32]
Change = Callable[[Pixels, float, np.random.Generator], Pixels]  # pixels in 0 to 1, strength


@dataclass(frozen=True)
class Perturbation:
    """One row of PERTURBATIONS."""

    unit: str  # of the strength
    strengths: tuple[float, ...]
    neutral: float  # the strength that changes nothing
    change: Change


def perturbed(scan: Scan, name: str, strength: float, *, seed: int = 0) -> Scan:
    """Return a scan after one perturbation, in 0 to 1 between its darkest and brightest percentile.

    The random ones depend on the seed alone.
    """
    row = PERTURBATIONS[name]
    low, high = np.percentile(scan.pixels, [0.5, 99.5])
    if high <= low:
        low, high = float(scan.pixels.min()), float(scan.pixels.max())
    unit = ((scan.pixels - low) / max(high - low, 1e-12)).astype(np.float32)
    changed = row.change(unit, strength, np.random.default_rng(seed))
    return replace(scan, pixels=np.ascontiguousarray(changed, np.float32))


def _noise(pixels: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Add noise as magnitude images have it (Rician: never below the dark)."""
    real = pixels + rng.normal(0, strength, pixels.shape)
    return np.hypot(real, rng.normal(0, strength, pixels.shape)).astype(np.float32)


def _blur(pixels: Pixels, strength: float, _rng: np.random.Generator) -> Pixels:
    sigma = strength / 100 * max(pixels.shape)
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.float32)


def _contrast(pixels: Pixels, strength: float, _rng: np.random.Generator) -> Pixels:
    """Bend the gray scale; a straight stretch would be undone when the scan is prepared."""
    return (np.clip(pixels, 0, 1) ** strength).astype(np.float32)


def _rotation(pixels: Pixels, strength: float, _rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape
    middle = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, strength, 1.0)
    corners = np.abs(matrix[:, :2]) @ (width, height)
    size = tuple(int(np.ceil(length - 1e-6)) for length in corners)  # so that no corner is cut off
    matrix[:, 2] += (corners - (width, height)) / 2
    dark = float(np.percentile(pixels, 1))
    return np.asarray(cv2.warpAffine(pixels, matrix, size, borderValue=(dark,)), np.float32)


def _jpeg(pixels: Pixels, strength: float, _rng: np.random.Generator) -> Pixels:
    stored = (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)[..., None]
    data = simplejpeg.encode_jpeg(stored, quality=int(strength), colorspace="GRAY")
    read = simplejpeg.decode_jpeg(data, colorspace="GRAY")
    return read[..., 0].astype(np.float32) / 255


def _resolution(pixels: Pixels, strength: float, _rng: np.random.Generator) -> Pixels:
    size = tuple(max(16, round(length * strength)) for length in pixels.shape[::-1])
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)


def _inversion(pixels: Pixels, strength: float, _rng: np.random.Generator) -> Pixels:
    return ((1 - pixels) * strength + pixels * (1 - strength)).astype(np.float32)


PERTURBATIONS: Mapping[str, Perturbation] = {
    "noise": Perturbation("of the gray scale", (0.05, 0.1, 0.2), 0, _noise),
    "blur": Perturbation("% of the longer side", (0.5, 1, 2), 0, _blur),
    "contrast": Perturbation("exponent", (0.5, 0.7, 1.4, 2), 1, _contrast),
    "rotation": Perturbation("degrees", (10, 45, 90, 180), 0, _rotation),
    "JPEG": Perturbation("quality", (50, 20, 5), 100, _jpeg),
    "resolution": Perturbation("of the side", (0.5, 0.25, 0.125), 1, _resolution),
    "inversion": Perturbation("of the gray scale", (1,), 0, _inversion),
}


def robustness_figures(
    cases: Sequence[Case],
    predictor: Predictor,
    *,
    progress: Progress = silent,
) -> Robustness:
    """Measure a sample of `cases`, as stored and after each perturbation at each strength.

    A scan that can no longer be read after the damage counts as unanswered: `unread` says how
    many, and the figures are of the others.
    """
    sample = [cases[i] for i in draw_sample(cases, MAX_SCANS)]
    damages: list[Damage] = [(AS_STORED, 0.0)]
    damages += [(name, s) for name, row in PERTURBATIONS.items() for s in row.strengths]
    predictions: dict[Damage, list[Prediction]] = {damage: [] for damage in damages}
    batches = [sample[i : i + BATCH] for i in range(0, len(sample), BATCH)]
    kept: list[Case] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for read, found in pool.map(lambda b: _predict(b, predictor, damages), batches):
            kept += read
            for damage, answers in found.items():
                predictions[damage] += answers
            progress(len(kept), len(sample))
    rows = [row for d in damages for row in _rows(d, kept, predictions[d], predictor)]
    return Robustness(n=len(kept), of=len(cases), rows=tuple(rows))


def _predict(
    cases: Sequence[Case], predictor: Predictor, damages: Sequence[Damage]
) -> tuple[list[Case], Mapping[Damage, list[Prediction]]]:
    scans = [attempt(read_scan, case.path) for case in cases]
    read = [(c, s) for c, s in zip(cases, scans, strict=True) if not isinstance(s, Unusable)]
    return [case for case, _ in read], {
        (name, strength): predictor.predict_scans(
            [scan if name == AS_STORED else perturbed(scan, name, strength) for _, scan in read]
        )
        for name, strength in damages
    }


def _rows(
    damage: Damage, cases: Sequence[Case], predictions: Sequence[Prediction], predictor: Predictor
) -> list[DamagedRow]:
    """Return a row for each modality."""
    labeled = label_predictions(cases, predictions, predictor.bundle)
    outside = np.array(labeled.decisions) == "out of scope"

    def row(task: str, rows: NDArray[np.bool_]) -> DamagedRow:
        groups = labeled.groups[rows]
        rates = detection_statistics(
            labeled.truth[rows], labeled.scores[rows], thresholds=labeled.threshold, groups=groups
        )
        refused = bootstrap_shares(groups, out_of_scope=outside[rows])
        facts = {"perturbation": damage[0], "strength": damage[1], "task": task,
                 "unread": len(predictions) - len(labeled.labels)}  # fmt: skip
        return as_record(DamagedRow, rates | refused | labeled.counts(rows) | facts)

    return [row(task, rows) for task, rows in labeled.modality_rows().items()]
